"""What is wrong with settings for xDS is found before anything starts."""

import sys

import pytest

from modularity_registry import config, integrations
from modularity_registry.errors import BadSetting


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"xds_port": "18000"}, "no effect without --integrations envoy"),
        ({"integrations": "envoy", "xds_port": "5000"}, "is the HTTP port already"),
        (
            {"integrations": "envoy", "xds_port": "53", "dns_port": "53"},
            "is the DNS port already",
        ),
        ({"integrations": "envoy", "xds_port": "70000"}, "from 0 to 65535"),
    ],
)
def test_contradictions_are_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(BadSetting, match=message):
        config.load(given, {})


def test_without_a_port_there_is_rest_alone() -> None:
    assert config.load({"integrations": "envoy"}, {}).xds_port == 0


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    part = "modularity_registry.integrations.envoy.part"
    monkeypatch.delitem(sys.modules, part, raising=False)
    # As where there is no such package.
    monkeypatch.setitem(sys.modules, part, None)
    settings = config.load({"integrations": "envoy"}, {})
    with pytest.raises(BadSetting, match=r"modularity-registry\[envoy\]"):
        integrations.check(settings)
