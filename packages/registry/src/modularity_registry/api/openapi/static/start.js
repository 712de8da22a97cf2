// Starts Swagger UI with this registry's own OpenAPI document.
window.ui = window.SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#ui",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // By default Swagger UI sends the document's address to an online validator.
  validatorUrl: null,
});
