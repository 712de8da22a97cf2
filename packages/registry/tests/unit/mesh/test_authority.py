"""The authority's roots over time, and the names in certificates."""

from datetime import UTC, datetime, timedelta

import pytest

from modularity_registry.integrations.envoy.resources.places import server_name
from modularity_registry.integrations.mesh.authority import certificates, record
from modularity_registry.integrations.mesh.authority.record import Authority, Root

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def root(name: str, signs_from: datetime = NOW) -> Root:
    return Root(name, "key", signs_from)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def names(roots: list[Root]) -> list[str]:
    return [each.certificate for each in roots]


def test_a_new_root_is_trusted_at_once_and_signs_after_the_overlap() -> None:
    first = Authority("mesh", (root("old"),))
    both = first.rotated(lambda signs: root("new", signs), NOW, overlap=60, last=600)
    assert names(both.trusted(NOW)) == ["old", "new"]
    assert both.signing(at(59)).certificate == "old"
    assert both.signing(at(60)).certificate == "new"
    assert both.signing(at(60), careful=300).certificate == "old"
    assert both.signing(at(400), careful=300).certificate == "new"
    assert names(both.trusted(at(659))) == ["old", "new"]
    assert names(both.trusted(at(660))) == ["new"]
    assert both.rotating(at(659)) == at(660)
    assert both.rotating(at(660)) is None
    assert first.rotating(NOW) is None


def test_the_next_rotation_forgets_who_is_trusted_no_more() -> None:
    authority = Authority("mesh", (root("first"),))
    for number, seconds in enumerate((0, 1_000, 2_000)):
        authority = authority.rotated(
            lambda signs, n=number: root(f"root-{n}", signs),  # type: ignore[misc]
            at(seconds),
            overlap=60,
            last=600,
        )
    assert names(list(authority.roots)) == ["root-1", "root-2"]


def test_what_is_stored_is_read_as_it_was() -> None:
    authority = Authority("mesh", (root("old"),))
    assert record.decode(record.encode(authority)) == authority


def test_a_signer_needs_the_password_of_its_key() -> None:
    kept = certificates.new_root("mesh", NOW, NOW, b"a password")
    assert certificates.signer(kept, b"a password")
    for password in (None, b"another one"):
        with pytest.raises(ValueError):
            certificates.signer(kept, password)


@pytest.mark.parametrize(
    ("capability", "is_same"),
    [
        ("billing", True),
        ("shop.Cart_2-x", True),
        ("a:80", False),
        ("a/b", False),
        ("10.0.0.1", False),
        ("ends.", False),
        ("two..dots", False),
        ("capability-" + "0" * 32, False),
    ],
)
def test_a_capability_that_is_no_host_has_another_name_in_certificates(
    capability: str, is_same: bool
) -> None:
    name = server_name(capability)
    assert (name == capability) is is_same
    assert ":" not in name
    assert "/" not in name
    assert name == server_name(capability)
