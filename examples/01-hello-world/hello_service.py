"""A module with one capability, ``greet``, that keeps itself registered."""

import argparse
import os
import signal
import threading
from typing import Any

import requests
from flask import Flask, request
from werkzeug.serving import make_server

ID = "hello-service"
CAPABILITIES = ["greet"]
HOST = "127.0.0.1"
RETRY_SECONDS = 1.0
HEARTBEAT_SECONDS = 3.0

Reply = tuple[dict[str, Any], int]

app = Flask(__name__)


@app.get("/_module/health")
def health() -> dict[str, Any]:
    return {"status": "healthy"}


@app.get("/_module/capabilities")
def capabilities() -> dict[str, Any]:
    return {"id": ID, "capabilities": CAPABILITIES}


@app.post("/_module/invoke")
def invoke() -> Reply:
    call = request.get_json(silent=True)
    call = call if isinstance(call, dict) else {}
    params = call.get("params", {})
    if "capability" not in call or not isinstance(params, dict):
        return {"error": 'send {"capability": ..., "params": {...}} as JSON'}, 400
    if call["capability"] != "greet":
        return {"error": f"this module provides only {', '.join(CAPABILITIES)}"}, 404
    message = f"Hello, {params.get('name', 'world')}!"
    return {"capability": "greet", "result": {"message": message}}, 200


def register(registry: str, location: str) -> None:
    """Register the service with its capabilities and its location."""
    registration = {
        "id": ID,
        "name": "Hello World",
        "version": "1.0.0",
        "capabilities": CAPABILITIES,
        "location": location,
        "mode": "http",
        "metadata": {"runtime": "python"},
    }
    reply = requests.post(f"{registry}/api/register", json=registration, timeout=5)
    if reply.status_code == 400:
        raise SystemExit(f"the registry refuses the registration: {reply.text}")
    reply.raise_for_status()
    print(f"registered at {registry} as {ID}", flush=True)


def unregister(registry: str) -> None:
    """Unregister, so that no more calls come."""
    try:
        requests.delete(f"{registry}/api/services/{ID}", timeout=5)
        print("unregistered", flush=True)
    except requests.RequestException:
        print("could not unregister: the registry does not answer", flush=True)


def keep_registered(registry: str, location: str, stop: threading.Event) -> None:
    """Stay registered until ``stop`` is set.

    Retries while the registry does not answer. Registers again when a heartbeat gets
    a 404: the registry has restarted and forgotten the service.
    """
    registered = False
    pause = 0.0
    while not stop.wait(pause):
        try:
            if registered:
                heartbeat = requests.post(f"{registry}/api/heartbeat/{ID}", timeout=5)
                registered = heartbeat.status_code != 404
            if not registered:
                register(registry, location)
                registered = True
            pause = HEARTBEAT_SECONDS
        except requests.RequestException:
            print(f"no answer from {registry}; retrying", flush=True)
            pause = RETRY_SECONDS
    if registered:
        unregister(registry)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    port = int(os.environ.get("HELLO_PORT", "9001"))
    parser.add_argument("--port", type=int, default=port, help="HELLO_PORT, 9001")
    arguments = parser.parse_args()
    registry = os.environ.get("REGISTRY_URL", "http://127.0.0.1:5000").rstrip("/")

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    # Listen first: the registry's first check comes right after the registration.
    server = make_server(HOST, arguments.port, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        keep_registered(registry, f"http://{HOST}:{arguments.port}", stop)
    finally:
        server.shutdown()


if __name__ == "__main__":
    main()
