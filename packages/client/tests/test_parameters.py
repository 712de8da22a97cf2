"""The parameters of a call, and what its handler is annotated with."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pytest

from modularity_client.module import Contract, InvocationError
from modularity_client.parameters import mismatch, signature_of


def add(a: int, b: int = 1) -> int:
    return a + b


def several(
    text: str = "",
    number: float = 0,
    flag: bool = False,
    maybe: int | None = None,
    names: list[str] | None = None,
    rates: Mapping[str, float] = {},  # nobody changes it
    size: Literal["s", "l"] = "s",
    items: Sequence[Annotated[int, "a count"]] = (),
    anything: Any = None,
    other: "Contract | None" = None,
    **more: int,
) -> None:
    """Takes one of each."""


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"text": "x", "number": 1, "flag": True, "maybe": None, "names": ["a"]},
        {"number": 1.5, "rates": {"a": 1, "b": 2.5}, "size": "l", "items": [1, 2]},
        {"anything": [1], "other": {"x": 1}, "more_of_it": 3},
    ],
)
def test_what_fits_fits(params: dict[str, Any]) -> None:
    assert mismatch(signature_of(several), params) is None


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"text": 1}, "text must be a string"),
        ({"number": "1"}, "number must be a number"),
        ({"number": True}, "number must be a number"),
        ({"flag": 1}, "flag must be true or false"),
        ({"maybe": "x"}, "maybe must be a whole number or null"),
        ({"maybe": 1.5}, "maybe must be a whole number or null"),
        ({"names": [1]}, "names must be a list, each item a string or null"),
        ({"rates": {"a": "x"}}, "rates must be an object, each value a number"),
        ({"size": "m"}, "size must be 's' or 'l'"),
        ({"items": [1, True]}, "items must be a list, each item a whole number"),
        ({"more_of_it": "x"}, "more_of_it must be a whole number"),
    ],
)
def test_what_does_not_is_named(params: dict[str, Any], reason: str) -> None:
    assert mismatch(signature_of(several), params) == reason


@pytest.mark.parametrize(
    ("params", "name"),
    [({"a": 1, "b": "x"}, "b must be"), ({}, "'a'"), ({"a": 1, "c": 1}, "'c'")],
)
def test_a_call_that_does_not_fit_is_a_400(params: dict[str, Any], name: str) -> None:
    contract = Contract("m")
    contract.add("add", add)
    body = f'{{"capability": "add", "params": {params}}}'.replace("'", '"')
    with pytest.raises(InvocationError, match=name) as caught:
        contract.read(body.encode(), "application/json")
    assert caught.value.status == 400


def test_an_annotation_that_cant_be_read_fits_everything() -> None:
    def handler(a: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
        """Its annotation names nothing."""

    assert mismatch(signature_of(handler), {"a": 1}) is None
