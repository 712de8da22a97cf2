// Shows the document that this registry serves, and nothing from anywhere else.
window.ui = window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#ui",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // Or it would send the document's address to a validator elsewhere.
  validatorUrl: null,
});
