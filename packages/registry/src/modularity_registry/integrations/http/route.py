"""The routes of another registry's API, each with the right that it needs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from modularity_registry.api.route_policy import Cost
from modularity_registry.integrations.http.call import Call, Reply
from modularity_registry.model.rights import Caller, Right
from modularity_registry.runtime import Registry

Handler = Callable[[Call], Reply | Awaitable[Reply]]
"""Answers a call: at once, or when what it returns has been awaited.

Raises a `RegistryError` for the error to reply with.
"""


class Pending(Protocol):
    """A reply that comes when something has changed."""

    def begin(
        self, caller: Caller, client: str, done: Callable[[Reply], None]
    ) -> Callable[[], None]:
        """Call ``done`` with the reply, later; return what to call if nobody waits.

        Raises a `RegistryError` if there is no place for the ``client``.
        """


Ready = Callable[[], Reply | Pending | None]
"""Returns the reply to a call that came before, None to leave it to the handler.

It is the same object as long as nothing has changed.
"""

Plan = Callable[
    [Registry, Mapping[str, Any], Sequence[tuple[str, str]]], "Ready | None"
]
"""Reads a call once, however often it comes: see `Route.plan`."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a rule, as Flask has it, and what answers such calls.

    A caller without the ``right`` is refused; None is for what shows and changes
    nothing. ``waits`` says that a call may wait for a change: it ends when its caller
    goes away. Any other, once begun, is carried out.

    ``plan`` is for the most frequent calls by `GET`, which cost nothing towards a rate:
    it gets the registry, the parameters in the path and those behind it, and returns
    what answers each such call at once. None leaves them to the handler.
    """

    method: str
    rule: str
    handler: Handler
    right: Right | None = Right.READ
    cost: Cost = Cost.LOOKUP
    waits: bool = False
    plan: Plan | None = None
