// Dialogs that confirm a change or take the access token, and toasts with the result.

import { forgetKeptToken, hasToken, send, servicePath } from "./api.js";
import { factList, h, icon, isolated } from "./dom.js";

const TOAST_TIME = 6_000;

/** Show a short message; an error stays until it is closed. */
export function showToast(text, isError = false) {
  const close = h("button", { class: "icon", type: "button", "aria-label": "Close" }, icon("close"));
  const toast = h("div", { class: "toast", "data-bad": isError, role: isError ? "alert" : null }, h("p", null, text), close);
  close.addEventListener("click", () => toast.remove());
  document.getElementById("toasts").append(toast);
  if (!isError) setTimeout(() => toast.remove(), TOAST_TIME);
}

function field(label, input, hint) {
  return h("label", { class: "labelled" }, h("span", null, label), input, hint ? h("small", null, hint) : null);
}

/**
 * Open a dialog. `action(value)` returns the toast's message; if it throws, the dialog
 * shows the error and stays open.
 */
function openDialog({ title, text, input, label, hint, option = null, verb, danger, action, extraButton = null }) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const cancel = h("button", { class: "button", type: "button" }, "Cancel");
  const confirm = h("button", { class: `button ${danger ? "danger" : "primary"}`, type: "button" }, verb);
  const dialog = h(
    "dialog",
    { "aria-labelledby": "dialog-title" },
    h("h2", { id: "dialog-title" }, title),
    text.map((paragraph) => (paragraph instanceof Element ? paragraph : h("p", null, paragraph))),
    input ? field(label, input, hint) : null,
    option,
    problem,
    h("div", { class: "choices" }, extraButton, cancel, confirm),
  );
  const submit = async () => {
    confirm.disabled = true;
    problem.hidden = true;
    try {
      const message = await action(input?.value ?? "");
      dialog.close();
      if (message) showToast(message);
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
    confirm.disabled = false;
  };
  cancel.addEventListener("click", () => dialog.close());
  confirm.addEventListener("click", submit);
  input?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    // Else the same key press would also activate the button that gets the focus back.
    event.preventDefault();
    if (!confirm.disabled) submit();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  (input ?? cancel).focus();
  return dialog;
}

/** Show the current token and take another; `requested` if a call was refused. */
export function openTokenDialog(access, requested = false) {
  const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", maxlength: 512 });
  // A reload drops everything that was read with the token.
  const forget = () => {
    forgetKeptToken();
    location.reload();
  };
  const forgetButton = h("button", { class: "button apart", type: "button", onclick: forget }, "Forget");
  const keep = h("input", { type: "checkbox", checked: true });
  const caller = h("div", { class: "whoami" });
  const update = () => caller.replaceChildren(access.tokenPrompt ? h("p", null, access.tokenPrompt) : factList(access.facts()));
  const unlisten = access.listen(update);
  update();
  const dialog = openDialog({
    title: requested ? "Enter an access token" : "Access token",
    text: [caller, "This page sends the token with every request. Closing the tab forgets it."],
    input,
    label: "Token",
    option: h("label", { class: "option" }, keep, "Keep it when this tab is reloaded"),
    verb: "Use token",
    extraButton: hasToken() ? forgetButton : null,
    action: async (value) => {
      await access.use(value, keep.checked);
      return access.name ? `You are signed in as ${access.name}.` : "This page now sends the token.";
    },
  });
  dialog.addEventListener("close", unlisten);
}

export function openDrainDialog(service, done) {
  openDialog({
    title: ["Drain ", isolated(service.name), "?"],
    text: [`The registry stops returning ${service.id} to callers until you undrain it. The service stays registered, and health checks continue.`],
    input: h("input", { type: "text", maxlength: 200, autocomplete: "off", placeholder: "Upgrade to 2.1" }),
    label: "Reason",
    hint: "Optional. Everyone who can view the service sees it.",
    verb: "Drain",
    action: async (reason) => {
      const body = reason.trim() ? { reason: reason.trim() } : undefined;
      await send("PUT", `${servicePath(service.id)}/drain`, { body });
      done();
      return [isolated(service.name), " is draining."];
    },
  });
}

export function openUndrainDialog(service, done) {
  openDialog({
    title: ["Undrain ", isolated(service.name), "?"],
    text: [`The registry returns ${service.id} to callers again as soon as it is healthy.`],
    verb: "Undrain",
    action: async () => {
      await send("DELETE", `${servicePath(service.id)}/drain`);
      done();
      return [isolated(service.name), " is back in discovery."];
    },
  });
}

export function openUnregisterDialog(service, done) {
  openDialog({
    title: ["Unregister ", isolated(service.name), "?"],
    text: [
      `This removes ${service.id} and its capabilities from the registry. You can't undo this here: the service has to register again.`,
    ],
    verb: "Unregister",
    danger: true,
    action: async () => {
      await send("DELETE", servicePath(service.id));
      done();
      return [isolated(service.name), " is unregistered."];
    },
  });
}
