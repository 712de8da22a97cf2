"""The HTTP server: processes, sockets, TLS, request bodies."""
