// Questions before anything is changed, the access token, and short notes of results.

import { hasToken, send, servicePath } from "./api.js";
import { apart, facts, h, icon } from "./dom.js";

const NOTE = 6_000;

/** Tell the outcome of something; a `bad` one stays until it is closed. */
export function note(text, bad = false) {
  const close = h("button", { class: "icon", type: "button", "aria-label": "Close" }, icon("close"));
  const toast = h("div", { class: "toast", "data-bad": bad, role: bad ? "alert" : null }, h("p", null, text), close);
  close.addEventListener("click", () => toast.remove());
  document.getElementById("toasts").append(toast);
  if (!bad) setTimeout(() => toast.remove(), NOTE);
}

function field(label, input, hint) {
  return h("label", { class: "labelled" }, h("span", null, label), input, hint ? h("small", null, hint) : null);
}

/**
 * Ask in a dialog of its own; `act(value)` does it and returns what to tell. An error
 * is shown in the dialog, which stays open.
 */
function ask({ title, text, input, label, hint, verb, danger, act, other = null }) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const cancel = h("button", { class: "button", type: "button" }, "Cancel");
  const go = h("button", { class: `button ${danger ? "danger" : "primary"}`, type: "button" }, verb);
  const dialog = h(
    "dialog",
    { "aria-labelledby": "dialog-title" },
    h("h2", { id: "dialog-title" }, title),
    text.map((each) => (each instanceof Element ? each : h("p", null, each))),
    input ? field(label, input, hint) : null,
    problem,
    h("div", { class: "choices" }, other, cancel, go),
  );
  const perform = async () => {
    go.disabled = true;
    problem.hidden = true;
    try {
      const told = await act(input?.value ?? "");
      dialog.close();
      if (told) note(told);
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
    go.disabled = false;
  };
  cancel.addEventListener("click", () => dialog.close());
  go.addEventListener("click", perform);
  input?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    // Or the button that gets the focus back would be pressed by the same key.
    event.preventDefault();
    if (!go.disabled) perform();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  (input ?? cancel).focus();
  return dialog;
}

/** Say who one is and ask for a token; `unasked` if it is the page that wants one. */
export function askToken(me, unasked = false) {
  const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", maxlength: 512 });
  // With the page goes all that was read with the token.
  const forget = h("button", { class: "button apart", type: "button", onclick: () => location.reload() }, "Forget");
  const who = h("div", { class: "whoami" });
  const show = () => who.replaceChildren(me.lost ? h("p", null, me.lost) : facts(me.facts()));
  const unlisten = me.listen(show);
  show();
  const dialog = ask({
    title: unasked ? "Enter an access token" : "Access token",
    text: [who, "This page sends the token with every request and keeps it in memory only. Closing or reloading the page forgets it."],
    input,
    label: "Token",
    verb: "Use token",
    other: hasToken() ? forget : null,
    act: async (value) => {
      await me.use(value);
      return me.name ? `You are signed in as ${me.name}.` : "This page now sends the token.";
    },
  });
  dialog.addEventListener("close", unlisten);
}

export function askDrain(service, done) {
  ask({
    title: ["Drain ", apart(service.name), "?"],
    text: [`The registry stops returning ${service.id} to callers until you undrain it. The service stays registered, and health checks go on.`],
    input: h("input", { type: "text", maxlength: 200, autocomplete: "off", placeholder: "Upgrade to 2.1" }),
    label: "Reason",
    hint: "Optional. Everyone who can view the service sees it.",
    verb: "Drain",
    act: async (reason) => {
      const body = reason.trim() ? { reason: reason.trim() } : undefined;
      await send("PUT", `${servicePath(service.id)}/drain`, { body });
      done();
      return [apart(service.name), " is draining."];
    },
  });
}

export function askUndrain(service, done) {
  ask({
    title: ["Undrain ", apart(service.name), "?"],
    text: [`The registry returns ${service.id} to callers again as soon as it is healthy.`],
    verb: "Undrain",
    act: async () => {
      await send("DELETE", `${servicePath(service.id)}/drain`);
      done();
      return [apart(service.name), " is back in discovery."];
    },
  });
}

export function askUnregister(service, done) {
  ask({
    title: ["Unregister ", apart(service.name), "?"],
    text: [
      `This removes ${service.id} and its capabilities from the registry. You can't undo this here: the service has to register again.`,
    ],
    verb: "Unregister",
    danger: true,
    act: async () => {
      await send("DELETE", servicePath(service.id));
      done();
      return [apart(service.name), " is unregistered."];
    },
  });
}
