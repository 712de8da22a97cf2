"""The same module in Flask and in FastAPI; the tests start it and call it."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from flask import Flask

from modularity_client import fastapi, flask
from modularity_client.module import InvocationError, ModuleBase

FIELDS: dict[str, Any] = {"id": "hello-service", "name": "Hello World"}
unwell: list[str] = []


def provide(module: ModuleBase) -> None:
    @module.capability("greet")
    def greet(name: str = "world") -> dict[str, str]:
        return {"message": f"Hello, {name}!"}

    @module.capability("fail")
    def fail() -> None:
        raise ZeroDivisionError("nobody's business")

    @module.capability("refuse")
    def refuse(why: str) -> None:
        raise InvocationError(why, status=409, code="busy")

    @module.capability("strange")
    def strange() -> object:
        return object()

    @module.capability("fall-ill")
    def fall_ill(reason: str) -> None:
        unwell.append(reason)

    @module.health
    def well() -> str | None:
        return unwell[0] if unwell else None


def run_flask(port: int) -> None:
    module = flask.Module(Flask("hello"), **FIELDS)
    provide(module)
    module.run(port=port)


def run_fastapi(port: int) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"kept": "yes"}
        print("the application's own lifespan has ended", flush=True)

    app = FastAPI(lifespan=lifespan)
    module = fastapi.Module(app, **FIELDS)
    provide(module)

    @module.capability("later")
    async def later(name: str) -> str:
        return name

    module.run(port=port)


if __name__ == "__main__":
    {"flask": run_flask, "fastapi": run_fastapi}[sys.argv[1]](int(sys.argv[2]))
