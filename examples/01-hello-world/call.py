"""Finds a provider of ``greet`` in the registry, calls it, and prints the result."""

import os
import sys

import requests

CAPABILITY = "greet"


def provider(registry: str) -> str:
    """Return the location of a healthy provider."""
    try:
        reply = requests.get(f"{registry}/api/capabilities/{CAPABILITY}", timeout=5)
    except requests.ConnectionError:
        raise SystemExit(f"no registry answers at {registry}; start it first") from None
    if not reply.ok:
        # 404: no service offers it. 503: no provider is healthy.
        raise SystemExit(reply.json()["detail"])
    return str(reply.json()["location"])


def main() -> None:
    registry = os.environ.get("REGISTRY_URL", "http://127.0.0.1:5000").rstrip("/")
    params = {"name": sys.argv[1]} if len(sys.argv) > 1 else {}
    call = {"capability": CAPABILITY, "params": params}
    reply = requests.post(f"{provider(registry)}/_module/invoke", json=call, timeout=5)
    reply.raise_for_status()
    print(reply.json()["result"]["message"])


if __name__ == "__main__":
    main()
