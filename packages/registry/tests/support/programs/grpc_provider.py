"""A provider over gRPC that answers every call with its name: ``PORT NAME``."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc  # type: ignore[import-untyped]

PORT, NAME = sys.argv[1], sys.argv[2].encode()

server = grpc.server(ThreadPoolExecutor(4))
health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
name: Any = grpc.unary_unary_rpc_method_handler(lambda request, context: NAME)
handler = grpc.method_handlers_generic_handler("test.Echo", {"Name": name})
server.add_generic_rpc_handlers((handler,))
assert server.add_insecure_port(f"127.0.0.1:{PORT}")
server.start()
server.wait_for_termination()
