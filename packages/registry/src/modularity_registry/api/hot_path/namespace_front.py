"""The fronts of all namespaces as one."""

from collections.abc import Awaitable, Callable, Mapping

from flask import Flask

from modularity_registry.api.hot_path.front import RegistryFront
from modularity_registry.api.namespaces import NAMESPACE, PREFIX, apps_of, enter
from modularity_registry.api.tracing import Tracing
from modularity_registry.config import DEFAULT_NAMESPACE
from modularity_registry.errors import RegistryError
from modularity_registry.runtime import Registry
from modularity_registry.serving.front import Connection, Front, Send
from modularity_registry.serving.head import Answer, Environ, Head, PathAnswer


class NamespaceFront(Front):
    """Hands each call to the front of its namespace, by what its path begins with.

    Heads are remembered with their answers, so a call whose head came before costs
    nothing here.
    """

    def __init__(self, fronts: Mapping[str, Front]) -> None:
        self._fronts = fronts
        self._default = fronts[DEFAULT_NAMESPACE]

    def refusal(self, error: RegistryError) -> bytes:
        return self._default.refusal(error)

    def plan(self, head: Head) -> Answer | None:
        environ = head.environ
        if not environ["PATH_INFO"].startswith(PREFIX):
            return self._default.plan(head)
        before = len(environ["PATH_INFO"])
        name = enter(environ, self._fronts)
        if name is None:
            return None
        if head.path is not None:
            cut = before - len(environ["PATH_INFO"]) + len("/api/")
            head.path = "/api/" + head.path[cut:]
        return self._fronts[name].plan(head)

    def plan_paths(self, head: Head) -> PathAnswer | None:
        answers = {name: front.plan_paths(head) for name, front in self._fronts.items()}
        default = answers[DEFAULT_NAMESPACE]
        if len(answers) == 1:
            return default

        def answer(connection: Connection, path: str) -> bytes | None:
            found = default
            if path.startswith(PREFIX):
                name, _, rest = path[len(PREFIX) :].partition("/")
                found, path = answers.get(name), f"/api/{rest}"
            return None if found is None else found(connection, path)

        return answer

    def wants_body(self, environ: Environ) -> bool:
        return self._of(environ).wants_body(environ)

    def client(self, environ: Environ) -> str:
        return self._of(environ).client(environ)

    def wait(self, environ: Environ) -> Awaitable[None] | None:
        return self._of(environ).wait(environ)

    def stream(self, environ: Environ) -> Callable[[Send], Awaitable[None]] | None:
        return self._of(environ).stream(environ)

    def _of(self, environ: Environ) -> Front:
        name = environ.get(NAMESPACE)
        return self._default if name is None else self._fronts[name]


def front_of(
    registry: Registry,
    app: Flask,
    tracing: Tracing | None = None,
    logged: bool = False,
) -> Front:
    """Return what stands in front of ``app`` and those of all other namespaces.

    See `RegistryFront`.
    """
    registries = registry.by_name
    return NamespaceFront(
        {
            name: RegistryFront(registries[name], one, tracing, logged)
            for name, one in apps_of(app).items()
        }
    )
