"""An application with py-eureka-client; its settings are the first argument, as JSON.

It takes commands as lines and answers each with one of JSON: the applications that the
client has, as statuses by instance.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable

# The client logs to standard output, where the answers go.
answers, sys.stdout = sys.stdout, sys.stderr

from py_eureka_client import eureka_client  # noqa: E402


def applications(client: eureka_client.EurekaClient) -> dict[str, dict[str, str]]:
    return {
        application.name: {
            instance.instanceId: instance.status for instance in application.instances
        }
        for application in client.applications.applications
    }


async def awake(wanted: Awaitable[object]) -> None:
    """Wait for what another thread's loop may end: that alone wakes no loop.

    The client's heartbeats share a lock of asyncio with the main thread.
    """
    waiting = asyncio.ensure_future(wanted)
    while not waiting.done():
        await asyncio.sleep(0.05)
    await waiting


if __name__ == "__main__":
    client = eureka_client.init(**json.loads(sys.argv[1]))
    loop = eureka_client.get_event_loop()
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        match command:
            case "status":
                loop.run_until_complete(awake(client.status_update(argument)))
            case "own-status":
                loop.run_until_complete(awake(client.delete_status_override()))
            case "stop":
                loop.run_until_complete(awake(client.stop()))
                # It would soon register again: its heartbeats go on.
                os._exit(0)
        print(json.dumps(applications(client)), file=answers, flush=True)
