"""Tokens and owners, with a registry that asks for them."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from client_support.harness import Asker, RegistryProcess, ScriptedServer, problem
from client_support.tokens import FIELDS, KEY, OTHER_KEY, Closed
from modularity_client import (
    AsyncRegistry,
    Conflict,
    Forbidden,
    Registry,
    Unauthorized,
)
from modularity_client.errors import OwnedByAnother, TokenConflict, TokenNotFound
from modularity_client.http import credentials

Asking = Callable[..., Asker]
Scripted = Callable[..., ScriptedServer]


def test_tokens_are_made_listed_rotated_and_revoked(
    closed: Closed, asking: Asking, name: str
) -> None:
    ask = asking(closed.url, token=closed.admin)
    made = ask(
        "create_token",
        name,
        rights=["register", "read"],
        ids=["weather-*"],
        capabilities="weather.*",
        expires_in=3600,
    )
    assert made.text not in repr(made)
    assert (made.token.name, made.token.rights) == (name, ("read", "register"))
    assert (made.token.ids, made.token.capabilities) == (("weather-*",), ("weather.*",))
    assert made.token.expires_at > datetime.now(UTC)
    own = asking(closed.url, token=made.text)("own_token")
    assert (own.name, own.rights, own.created_at) == (name, made.token.rights, None)
    assert made.token in ask("tokens")
    rotated = ask("rotate_token", name, grace=60)
    assert rotated.text != made.text and rotated.token.former_until is not None
    assert asking(closed.url, token=made.text)("own_token").name == name
    assert ask("revoke_token", name) == name
    assert name not in [each.name for each in ask("tokens")]
    for text in (made.text, rotated.text):
        with pytest.raises(Unauthorized):
            asking(closed.url, token=text)("services")


def test_what_goes_wrong_with_tokens_has_its_type(
    closed: Closed, asking: Asking, name: str, shared: RegistryProcess
) -> None:
    ask = asking(closed.url, token=closed.admin)
    ask("create_token", name, rights=["read"])
    with pytest.raises(TokenConflict, match=name):
        ask("create_token", name, rights=["read"])
    with pytest.raises(TokenConflict, match="last"):
        ask("revoke_token", "boss")
    for call in ("rotate_token", "revoke_token"):
        with pytest.raises(TokenNotFound):
            ask(call, "nobody")
    with pytest.raises(TokenNotFound, match="--auth"):
        asking(shared.url, token="some")("own_token")
    with pytest.raises(ValueError, match="name"):
        ask("revoke_token", "..")


def test_a_token_opens_what_it_has_the_right_to(
    closed: Closed, asking: Asking, name: str
) -> None:
    with pytest.raises(Unauthorized):
        asking(closed.url, token="")("services")
    ask = asking(closed.url, token=closed.token(name, "register", ids=[f"{name}-*"]))
    with pytest.raises(Forbidden, match="'read'"):
        ask("services")
    fields = {**FIELDS, "id": f"{name}-1"}
    assert ask("register", **fields).created
    with pytest.raises(Forbidden, match="id 'other'"):
        ask("register", **{**fields, "id": "other"})
    assert closed.found(f"{name}-1").owner == name
    other = asking(closed.url, token=closed.token(f"{name}z", "register"))
    for call in ("unregister", "drain", "undrain", "heartbeat"):
        with pytest.raises(OwnedByAnother) as caught:
            other(call, f"{name}-1")
        assert isinstance(caught.value, Conflict)
    ask("unregister", f"{name}-1")


def test_an_owner_key_keeps_others_out(
    shared: RegistryProcess, asking: Asking, name: str
) -> None:
    ask, fields = asking(shared.url, token=""), {**FIELDS, "id": name}
    ask("put", **fields, owner_key=KEY)
    assert ask("service", name).owner == "owner_key"
    for call in ("unregister", "drain", "undrain", "heartbeat"):
        for key in (None, OTHER_KEY):
            with pytest.raises(OwnedByAnother):
                ask(call, name, owner_key=key)
    for call in ("put", "register"):
        with pytest.raises(OwnedByAnother):
            ask(call, **fields)
    assert ask("drain", name, reason="r", owner_key=KEY).status == "draining"
    assert ask("undrain", name, owner_key=KEY).status == "healthy"
    assert ask("heartbeat", name, owner_key=KEY).ttl == 1.5
    assert ask("register", **fields, owner_key=KEY).created is False
    assert ask("unregister", name, owner_key=KEY).status == "unregistered"
    for bad in (
        "short",
        "x" * 257,
        "with a blank inside",
        "line\nbreak-------",
        "é" * 20,
    ):
        with pytest.raises(ValueError, match="16-256") as refused:
            ask("drain", name, owner_key=bad)
        assert bad not in str(refused.value)
        with pytest.raises(ValueError, match="16-256"):
            ask("put", **fields, owner_key=bad)


def test_a_rotated_token_is_read_from_its_file_again(
    closed: Closed, asking: Asking, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{closed.token(name, 'read', 'register')}\n")
    ask = asking(closed.url, token_file=file)
    ask("services")
    rotated = asking(closed.url, token=closed.admin)("rotate_token", name)
    with pytest.raises(Unauthorized):
        ask("services")
    file.write_text(rotated.text)
    # Even one that must not be sent twice: who is refused has done nothing.
    assert ask("register", **{**FIELDS, "id": name}).created
    file.write_text("")
    assert len(ask("services")) >= 1
    ask("unregister", name)


def test_a_refused_token_is_sent_once_more_only_if_it_is_another(
    asking: Asking, scripted: Scripted, tmp_path: Path
) -> None:
    server = scripted(problem(401, "unauthorized"))
    file = tmp_path / "token"
    file.write_text("first")
    ask = asking(server.url, token_file=file)
    with pytest.raises(Unauthorized):
        ask("stats")
    assert len(server.requests) == 1
    file.write_text("second")
    with pytest.raises(Unauthorized):
        ask("stats")
    sent = [each.headers["authorization"] for each in server.requests]
    assert sent == ["Bearer first", "Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "does not contain exactly one token"),
        (b"one two", "does not contain exactly one token"),
        (b"one\ntwo\n", "does not contain exactly one token"),
        (
            "t\N{LATIN SMALL LETTER E WITH ACUTE}".encode(),
            "does not contain exactly one token",
        ),
        (b"x" * 8_193, "does not contain exactly one token"),
        (b"x" * 9_000_000, "does not contain exactly one token"),
    ],
)
def test_a_file_that_holds_no_token_is_told_at_once(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    for kind in (Registry, AsyncRegistry):
        with pytest.raises(ValueError, match=said) as caught:
            kind("http://x", token_file=file)
        assert "one" not in str(caught.value).replace("one token", "")


def test_the_environment_names_a_token_or_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(" xyzzy\r\n")

    def found(token: str | None = None, path: Any = None, **environ: str) -> str:
        return credentials.find_credentials(token, path, environ).token

    assert found() == ""
    assert found(REGISTRY_TOKEN="t-0") == "t-0"
    assert found(REGISTRY_TOKEN_FILE=str(file)) == "xyzzy"
    # What is given wins over all of the environment.
    assert found("t-2", REGISTRY_TOKEN_FILE=str(file)) == "t-2"
    assert found("", REGISTRY_TOKEN="t-0") == ""
    assert found(None, file, REGISTRY_TOKEN="t-0") == "xyzzy"
    with pytest.raises(ValueError, match="REGISTRY_TOKEN_FILE"):
        found(REGISTRY_TOKEN="t-0", REGISTRY_TOKEN_FILE=str(file))
    with pytest.raises(ValueError, match="token_file"):
        found("t", file)
    with pytest.raises(ValueError, match="blanks") as caught:
        found("secret one")
    assert "secret" not in str(caught.value)
    assert "xyzzy" not in repr(credentials.find_credentials(None, file))
