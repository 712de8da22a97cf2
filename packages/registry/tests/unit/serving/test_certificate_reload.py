"""Which renewal of a certificate is taken up, and when."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from modularity_registry.api.metrics import Expiries
from modularity_registry.errors import BadSetting
from modularity_registry.serving import certificate_reload
from modularity_registry.serving.certificate_reload import Certificates
from modularity_registry.serving.certificates import Files
from support.access.tls import DAY, Authority, renew, shake_hands


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Clock:
    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def certificates(authority: Authority, clock: Clock) -> Certificates:
    cert, key = authority.write("served", name="first")
    return Certificates(Files(str(cert), str(key), None, "1.2"), clock)


def subject(certificates: Certificates, authority: Authority) -> str:
    """The name in the certificate that a new connection gets."""
    shown: Any = shake_hands(certificates.context, authority.context()).getpeercert()
    return str(shown["subject"][0][0][1])


def test_a_change_is_taken_when_it_was_seen_twice(
    certificates: Certificates, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate_reload, "_LOOK_SECONDS", 0.0)
    assert not certificates.look()
    renew(authority, "second")
    assert not certificates.look()
    assert subject(certificates, authority) == "first"
    assert certificates.look()
    assert subject(certificates, authority) == "second"
    assert not certificates.look()


def test_files_are_not_read_at_every_look(
    certificates: Certificates, authority: Authority
) -> None:
    assert not certificates.look()
    renew(authority, "second")
    assert not any(certificates.look() for _ in range(5))
    assert certificates.look(at_once=True)


def test_a_key_of_another_kind_leaves_nothing_of_the_one_before(
    certificates: Certificates, authority: Authority
) -> None:
    renew(authority, "second", key=rsa.generate_private_key(65537, 2048))
    assert certificates.look(at_once=True)
    # A caller who would take either is not given the former.
    assert subject(certificates, authority) == "second"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_former_ca_counts_no_more_not_even_for_sessions_that_it_began(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    cert, key = authority.write("served")
    ca = authority.folder / "ca.pem"
    ca.write_bytes(authority.path.read_bytes())
    certificates = Certificates(Files(str(cert), str(key), str(ca), "1.2"))
    caller = authority.context(authority.write("caller"))
    caller.maximum_version = version
    session = shake_hands(certificates.context, caller).session
    assert shake_hands(certificates.context, caller, session).session_reused

    folder = authority.folder / "other"
    folder.mkdir()
    other = Authority(folder)
    ca.write_bytes(other.path.read_bytes())
    assert certificates.look(at_once=True)
    for former in (session, None):
        with pytest.raises(ssl.SSLError):
            shake_hands(certificates.context, caller, former)
    shake_hands(certificates.context, authority.context(other.write("new")))


def test_one_that_is_not_valid_yet_is_taken_once_it_is(
    certificates: Certificates,
    authority: Authority,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    renew(authority, "second", begins=clock.time + DAY / 2)
    assert not certificates.look(at_once=True)
    assert "is not valid before" in caplog.text
    clock.time += DAY
    assert certificates.look(at_once=True)


def test_an_expired_one_does_not_replace_a_good_one(
    certificates: Certificates,
    authority: Authority,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    past = clock.time - DAY
    renew(authority, "second", begins=past - DAY, ends=past)
    assert not certificates.look(at_once=True)
    assert "expired on" in caplog.text


def test_the_same_fault_is_said_once(
    certificates: Certificates, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    (authority.folder / "served.key").unlink()
    for _ in range(3):
        assert not certificates.look(at_once=True)
    assert caplog.text.count("was not renewed") == 1


def test_there_is_nothing_to_begin_with_without_files(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(BadSetting, match="can't be read"):
        Certificates(Files(nowhere, nowhere, None, "1.2"))


def test_days_are_counted_to_the_first_of_a_chain_to_expire(
    authority: Authority,
) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + 10 * DAY
    cert, key = authority.write("served", ends=ends)
    soon = authority.sign("intermediate", ends=ends - 5 * DAY)[0]
    cert.write_bytes(cert.read_bytes() + soon)
    certificates = Certificates(Files(str(cert), str(key), str(authority.path), "1.2"))
    moments, days = (
        {sample.labels["certificate"]: sample.value for sample in family.samples}
        for family in Expiries(certificates).collect()
    )
    assert moments == {
        "server": (ends - 5 * DAY).timestamp(),
        "client_ca": authority.ends.timestamp(),
    }
    assert days["server"] == pytest.approx(5, abs=0.01)
    assert days["client_ca"] == pytest.approx(20, abs=0.01)


def test_without_tls_there_are_no_days() -> None:
    assert [list(each.samples) for each in Expiries(None).collect()] == [[], []]
