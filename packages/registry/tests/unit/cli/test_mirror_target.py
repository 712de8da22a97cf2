"""What the mirror remembers, and how it makes ids of Consul's."""

import logging
from typing import Any, cast

import pytest

from modularity_registry.cli.mirror import target
from modularity_registry.cli.mirror.consul_source import _fitting
from modularity_registry.cli.mirror.target import Target


def test_ids_that_are_too_long_stay_apart() -> None:
    one, other = (_fitting("web/" * 60 + end) for end in ("1", "2"))
    assert one != other
    assert len(one) == len(other) == 128
    assert _fitting("web/" * 60 + "1") == one
    assert _fitting("web/1") == "consul-web_2f1"


def test_warnings_are_logged_once_and_not_remembered_without_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(target, "MOST_TOLD", 10)
    mirror = Target(cast(Any, None), "consul://here")
    with caplog.at_level(logging.WARNING):
        for text in ("a", "a", *(str(number) for number in range(25))):
            mirror._tell(text)
    assert len(caplog.records) == 26
    assert len(mirror._told) <= 10
