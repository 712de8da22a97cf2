"""Clients of a registry that record every call, and a reader of its stream."""

import http.client
import json
import socket
import threading
import time
from contextlib import closing, suppress
from typing import Any

from support.faults.history import SOMETHING, History, Outcome, Read, Signal, Write
from support.registry import registration
from support.serving import HOST

CAPABILITY = "greet"
TIMEOUT = 30.0
"""Seconds that a client waits: far more than the registry lets a caller wait."""

MARK = "write"
"""The field of the metadata that says which write a registration is of."""

_REFUSALS = {
    *("store_unavailable", "revision_mismatch", "service_not_found"),
    *("not_registered", "too_many_requests", "too_many_connections"),
}


class Replica:
    """A registry that clients call: its name in the history, and its port."""

    def __init__(self, name: str, port: int, host: str = HOST) -> None:
        self.name = name
        self.host = host
        self.port = port


class Client:
    """One client of one replica, with one call at a time; not for several threads."""

    def __init__(self, name: str, replica: Replica, history: History) -> None:
        self.name = name
        self.replica = replica
        self._history = history
        self._connection: http.client.HTTPConnection | None = None
        self._number = 0

    def close(self) -> None:
        """Close its connection. Idempotent; the next call opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def register(self, service_id: str, expected: int | None = None) -> Outcome:
        """Register a service: whatever it is, or at a revision, or if it is new (0)."""
        self._number += 1
        value = f"{self.name}-{self._number}"
        body = registration(service_id, mode="standalone", metadata={MARK: value})
        return self._write("POST", "/api/register", service_id, value, expected, body)

    def unregister(self, service_id: str, expected: int | None = None) -> Outcome:
        """Unregister a service."""
        path = f"/api/services/{service_id}"
        return self._write("DELETE", path, service_id, None, expected)

    def read(self, service_id: str, final: bool = False) -> int | None:
        """Read a service by its id; return its revision, None if there is none."""
        reply = self._get(f"/api/services/{service_id}")
        services = [reply.body] if reply.status == 200 else []
        if reply.status in (200, 404):
            self._saw(reply, [service_id], services, final)
        return services[0]["revision"] if services else None

    def heartbeat(self, service_id: str) -> Outcome:
        """Send a heartbeat: it shows whether the service is registered."""
        reply = self._call("POST", f"/api/heartbeat/{service_id}")
        begun, ended = reply.begun, reply.ended
        known = {200: SOMETHING, 404: None}
        if reply.status in known:
            value = known[reply.status]
            read = Read(service_id, self.replica.name, begun, ended, value)
            self._history.read(begun, ended, [read])
            return Outcome.OK
        return reply.outcome

    def read_all(self, service_ids: list[str], final: bool = False) -> int | None:
        """List all services: of these, each is in the list or not registered.

        Return the revision of the list, None if there was no answer.
        """
        reply = self._get(f"/api/capabilities/{CAPABILITY}/services")
        empty = reply.code in ("capability_not_found", "no_healthy_provider")
        if reply.status == 200 or empty:
            services = [] if empty else reply.body["services"]
            self._saw(reply, service_ids, services, final)
        return reply.view

    def look_up(self) -> None:
        """Ask for one provider, whichever it is."""
        reply = self._get(f"/api/capabilities/{CAPABILITY}")
        if reply.status == 200:
            self._saw(reply, [reply.body["id"]], [reply.body])
        elif reply.code in ("capability_not_found", "no_healthy_provider"):
            self._history.read(reply.begun, reply.ended, [])

    def _get(self, path: str) -> "_Reply":
        reply = self._call("GET", path)
        if reply.status not in (200, 404) and reply.code != "no_healthy_provider":
            reason = reply.error or f"{reply.status} {reply.code}"
            self._history.failed(reply.begun, reply.ended, f"{path}: {reason}")
        return reply

    def _saw(
        self,
        reply: "_Reply",
        service_ids: list[str],
        services: list[dict[str, Any]],
        final: bool = False,
    ) -> None:
        by_id = {service["id"]: service for service in services}
        reads = []
        for service_id in service_ids:
            service = by_id.get(service_id)
            value = service["metadata"].get(MARK, "") if service else None
            revision = service["revision"] if service else None
            times = reply.begun, reply.ended
            name, view = self.replica.name, reply.view
            reads.append(Read(service_id, name, *times, value, revision, view, final))
        self._history.read(reply.begun, reply.ended, reads)

    def _write(
        self,
        method: str,
        path: str,
        service_id: str,
        value: str | None,
        expected: int | None,
        body: dict[str, Any] | None = None,
    ) -> Outcome:
        headers = {}
        if expected is not None:
            name, text = ("If-Match", f'"{expected}"') if expected else _NEW
            headers[name] = text
        reply = self._call(method, path, body, headers)
        existed = {201: False, 200: True}.get(reply.status) if body else None
        self._history.wrote(
            Write(
                service_id,
                self.replica.name,
                reply.begun,
                reply.ended,
                reply.outcome,
                value,
                reply.body.get("revision") if reply.outcome is Outcome.OK else None,
                expected,
                existed,
            )
        )
        return reply.outcome

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> "_Reply":
        headers = dict(headers or {})
        text = None
        if body is not None:
            text = json.dumps(body)
            headers["Content-Type"] = "application/json"
        begun = time.monotonic()
        sent = False
        try:
            connection = self._connect()
            sent = True
            connection.request(method, path, text, headers)
            reply = connection.getresponse()
            content = reply.read()
            if reply.will_close:
                self.close()
            return _Reply(begun, time.monotonic(), reply, json.loads(content))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            return _Reply(begun, time.monotonic(), None, {}, repr(error), sent)

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None or self._connection.sock is None:
            connection = http.client.HTTPConnection(
                self.replica.host, self.replica.port, timeout=TIMEOUT
            )
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = connection
        return self._connection


_NEW = "If-None-Match", "*"


class _Reply:
    """A reply, or none."""

    def __init__(
        self,
        begun: float,
        ended: float,
        reply: http.client.HTTPResponse | None,
        body: dict[str, Any],
        error: str = "",
        sent: bool = True,
    ) -> None:
        self.begun, self.ended = begun, ended
        self.status = reply.status if reply is not None else 0
        self.body = body
        self.error = error
        self.code = str(body.get("code", ""))
        view = reply.getheader("X-Registry-Revision") if reply is not None else None
        self.view = int(view) if view else None
        if reply is None:
            self.outcome = Outcome.UNKNOWN if sent else Outcome.REFUSED
        elif self.status < 300:
            self.outcome = Outcome.OK
        else:
            refused = self.code in _REFUSALS
            self.outcome = Outcome.REFUSED if refused else Outcome.UNKNOWN


class StreamReader:
    """Reads the events of all services, and resumes the stream whenever it ends.

    It turns to the next of several replicas with each new connection.
    """

    def __init__(self, name: str, replicas: list[Replica], history: History) -> None:
        self.name = name
        self.last = ""
        self.revision = 0
        self._replicas = replicas
        self._history = history
        self._ending = threading.Event()
        # The connection forgets it while a reply without an end is read.
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def break_off(self) -> None:
        """Cut its connection, as a network would; it resumes by itself."""
        with suppress(OSError):  # it has ended by itself
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it, and wait until it has."""
        self._ending.set()
        while self._thread.is_alive():
            self.break_off()
            self._thread.join(0.05)

    def _run(self) -> None:
        number = 0
        while not self._ending.is_set():
            replica = self._replicas[number % len(self._replicas)]
            number += 1
            connection = http.client.HTTPConnection(
                replica.host, replica.port, timeout=TIMEOUT
            )
            # What broke it is what the test is about.
            with (
                suppress(OSError, http.client.HTTPException, ValueError),
                closing(connection),
            ):
                self._follow(connection)
            self._ending.wait(0.05)

    def _follow(self, connection: http.client.HTTPConnection) -> None:
        fresh = not self.last
        connection.connect()
        self._socket = connection.sock
        headers = {} if fresh else {"Last-Event-ID": self.last}
        connection.request("GET", "/api/events", headers=headers)
        reply = connection.getresponse()
        if reply.status != 200:
            return
        fields: dict[str, str] = {}
        while line := reply.readline().decode():
            if not line.endswith("\n"):
                return  # cut off in the midst of a line
            line = line.rstrip("\n")
            name, _, value = line.partition(": ")
            if line and name:
                fields[name] = value
            elif not line and fields:
                self._take(fields, fresh)
                fields = {}

    def _take(self, fields: dict[str, str], fresh: bool) -> None:
        if "data" in fields:
            event = json.loads(fields["data"])
            kind = event["event"]
            if kind in ("connected", "resync") or kind.startswith("service."):
                self._record(kind, fields["id"], event, fresh)
        self.last = fields.get("id", self.last)

    def _record(
        self, kind: str, position: str, event: dict[str, Any], fresh: bool
    ) -> None:
        service = event["data"] if kind.startswith("service.") else {}
        gone = kind == "service.unregistered"
        value = None if gone else service.get("metadata", {}).get(MARK)
        self._history.heard(
            Signal(
                self.name,
                kind,
                position,
                service.get("id", ""),
                value,
                event["revision"],
                fresh and kind == "connected",
            )
        )
        self.revision = event["revision"]
