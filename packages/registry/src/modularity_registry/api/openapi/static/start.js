// Starts Swagger UI with this registry's own OpenAPI document.
(async () => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const applyTheme = () => root.classList.toggle("dark-mode", (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark");
  dark.addEventListener("change", applyTheme);
  applyTheme();

  const document_ = await (await fetch("openapi.json")).json();
  hideNeedlessLocks(document_, root.dataset.anonymous.split(" "));
  window.ui = window.SwaggerUIBundle({
    spec: document_,
    dom_id: "#ui",
    deepLinking: true,
    displayRequestDuration: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    // By default Swagger UI sends the document's address to an online validator.
    validatorUrl: null,
    syntaxHighlight: false,
    plugins: [accessible],
  });
})();

/** A plugin of Swagger UI: landmarks, headings and labels where it leaves them out. */
function accessible({ React: { createElement } }) {
  const unseen = (tag, text) => createElement(tag, { className: "unseen" }, text);
  const after = (heading) => (Original) => (properties) => createElement("div", null, heading, createElement(Original, properties));
  const labelled = (text) => (Original) => (properties) => createElement("label", null, unseen("span", text), createElement(Original, properties));
  return {
    wrapComponents: {
      // There is one server, this registry.
      ServersContainer: () => () => null,
      // Links within the buttons that open calls, which a keyboard can't reach.
      DeepLink: () => ({ text }) => createElement("span", null, text),
      InfoContainer: (Original) => (properties) => createElement("div", { role: "banner" }, createElement(Original, properties)),
      operations: after(unseen("h2", "Calls")),
      ExamplesSelect: labelled("Example"),
      TextArea: labelled("Value"),
      Select: labelled("Value"),
    },
  };
}

/** Show locks only at calls that need a token here; `anonymous` are the rights without one. */
function hideNeedlessLocks(document_, anonymous) {
  let locks = 0;
  for (const operations of Object.values(document_.paths)) {
    for (const operation of Object.values(operations)) {
      if (anonymous.includes(operation["x-right"])) delete operation.security;
      locks += operation.security?.length ? 1 : 0;
    }
  }
  if (!locks) delete document_.components.securitySchemes;
}
