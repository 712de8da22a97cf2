"""A Flask application as a module: needs ``modularity-client[flask]``."""

from collections.abc import Mapping
from typing import Unpack

from flask import Flask, Response, request
from werkzeug.serving import make_server

from modularity_client.client import Registry
from modularity_client.module import (
    Handler,
    HealthWarning,
    InvocationError,
    ModuleBase,
    ModuleFields,
    ModuleReply,
    address,
)

__all__ = ["HealthWarning", "InvocationError", "Module"]


class Module(ModuleBase):
    """Adds the three calls of a module to ``app``, and joins the registry.

    `run` joins by itself. With any other server, call `start` in the server's hook, in
    the process that should hold the membership: Flask has no startup event.
    """

    def __init__(
        self,
        app: Flask,
        registry: Registry | None = None,
        *,
        capabilities: Mapping[str, Handler] | None = None,
        **fields: Unpack[ModuleFields],
    ) -> None:
        super().__init__(registry, capabilities, fields)
        self.app = app
        contract = self.contract
        add = app.add_url_rule
        add("/_module/health", "_module_health", lambda: _send(contract.health()))
        add(
            "/_module/capabilities",
            "_module_capabilities",
            lambda: _send(contract.capabilities()),
        )
        add("/_module/invoke", "_module_invoke", self._invoke, methods=["POST"])

    def run(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Join, and serve until Ctrl-C or SIGTERM; port 0 picks a free one.

        For development: Flask's own server, one thread for each call. Raises
        `RuntimeError` if the host is a wildcard such as 0.0.0.0 and there is no
        location.
        """
        server = make_server(host, port, self.app, threaded=True)
        try:
            # The server already listens: the registry's first check comes at once.
            membership = self.start(address(host, server.port))
            try:
                server.serve_forever()
            finally:
                membership.leave()
        finally:
            server.server_close()

    def _invoke(self) -> Response:
        try:
            call = self.contract.read(request.get_data(), request.mimetype)
            value = self.app.ensure_sync(call.handler)(**call.params)
            return _send(self.contract.result(call, value))
        except Exception as error:
            return _send(self.contract.refusal(error))


def _send(reply: ModuleReply) -> Response:
    return Response(reply.body, reply.status, content_type=reply.content_type)
