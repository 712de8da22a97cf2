"""Envoy's first configuration: how it knows the registry."""

from typing import Any

from modularity_registry.cli.mesh.bootstrap import Plan, RegistryAccess, bootstrap

PLAN = Plan("web", ("web",), "http", 80, "10.0.0.1", 0, 15001, "/health", "", "")


def test_each_url_of_the_registry_is_verified_by_its_own_host() -> None:
    urls = [f"https://{host}:5000" for host in ("10.0.0.9", "one.test", "two.test")]
    access = RegistryAccess(urls, 18000, "", "/ca.pem", None, None)
    content: Any = bootstrap(PLAN, access)
    tls = content["static_resources"]["clusters"][0]["transport_socket"]["typed_config"]
    names = tls["common_tls_context"]["validation_context"]
    assert [
        (each["san_type"], each["matcher"]["exact"])
        for each in names["match_typed_subject_alt_names"]
    ] == [("IP_ADDRESS", "10.0.0.9"), ("DNS", "one.test"), ("DNS", "two.test")]
    assert tls["sni"] == "one.test"
