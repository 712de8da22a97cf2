"""The HTTP API: routes, authorization, errors, the hot path, OpenAPI, the dashboard."""
