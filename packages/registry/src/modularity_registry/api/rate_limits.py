"""Counts calls towards a client's rates, and says who a client is."""

from typing import TYPE_CHECKING

from flask import Flask, Response, request

from modularity_registry.api import authorization, problems, route_policy
from modularity_registry.api.route_policy import Cost
from modularity_registry.errors import (
    RegistryError,
    TooManyRequests,
    Unauthorized,
)
from modularity_registry.model.rights import Caller, network_of
from modularity_registry.ratelimit import Rate, Rates

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

COUNTED = "modularity.waited"
"""In an environment: the call has been counted; true if it has also waited."""


def client_of(environ: "WSGIEnvironment", caller: Caller) -> str:
    """Return whose call it is: the token's, else the address's, as people read it.

    An IPv6 address stands for its /64, which is what one host gets.
    """
    if caller.name is not None:
        return f"the token {caller.label}"
    return "the address " + network_of(environ.get("REMOTE_ADDR", ""))


def admits(rate: Rate | None, environ: "WSGIEnvironment", caller: Caller) -> bool:
    """Count a call on the event loop, and say whether it may be answered there.

    Not if it is over the rate: it is not counted, so Flask can ask again and write the
    error. Nor if another program counts, for which no loop may wait.
    """
    if rate is None:
        return True
    return not rate.waits and rate.takes(client_of(environ, caller))


def take(rate: Rate | None) -> None:
    """Count the call that Flask is at; raise `TooManyRequests` if it is over."""
    if rate is not None:
        rate.take(client_of(request.environ, authorization.caller_of(request)))


def install(app: Flask, rates: Rates) -> None:
    """Count the calls of ``app`` that authorization let through."""

    @app.before_request
    def count() -> None:
        if COUNTED in request.environ:
            return
        cost = route_policy.current().cost
        if cost is Cost.LOOKUP and "wait" in request.args:
            cost = Cost.READ
        if cost is Cost.WRITE:
            take(rates.writes)
        elif cost is Cost.READ:
            take(rates.reads)

    @app.errorhandler(Unauthorized)
    def refuse(error: Unauthorized) -> Response:
        return problems.of(unauthorized(rates, error, request.environ))


def unauthorized(
    rates: Rates, error: Unauthorized, environ: "WSGIEnvironment"
) -> RegistryError:
    """Return ``error``, or another where an address has sent too many bad tokens.

    Good tokens from the same address still pass: nobody can lock others out.
    """
    if error.shown:
        address = network_of(environ.get("REMOTE_ADDR", ""))
        try:
            rates.failures.take("the address " + address)
        except TooManyRequests as over:
            return over
    return error
