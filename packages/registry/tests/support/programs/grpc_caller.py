"""Calls a target by gRPC again and again; prints each answer or error as a line."""

import sys
import time
from typing import Any

import grpc

with grpc.insecure_channel(sys.argv[1]) as channel:
    call: Any = channel.unary_unary("/test.Echo/Name")
    while True:
        try:
            print(call(b"", timeout=5, wait_for_ready=True).decode(), flush=True)
        except grpc.RpcError as error:
            print("failed:", error.code().name, error.details(), flush=True)
        time.sleep(0.01)
