"""A FastAPI module for a server with several workers; each of them joins."""

import os

from fastapi import FastAPI

from modularity_client.fastapi import Module

app = FastAPI()
module = Module(app, id="web", name="Web", location=os.environ["MODULE_LOCATION"])


@module.capability("pid")
async def pid() -> int:
    return os.getpid()
