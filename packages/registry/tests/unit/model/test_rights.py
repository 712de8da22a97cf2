"""Who may do what, decided from values alone."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modularity_registry import schema
from modularity_registry.errors import Forbidden, OwnedByAnother, Unauthorized
from modularity_registry.model import rights as access
from modularity_registry.model.rights import (
    ALL,
    OPEN,
    Caller,
    Claim,
    Patterns,
    Right,
    Token,
)
from support.registry import ManualClock

NOW = ManualClock().now()


def caller(
    name: str,
    *rights: Right,
    ids: tuple[str, ...] = ("*",),
    capabilities: tuple[str, ...] = ("*",),
) -> Caller:
    return Caller.of(Token(name, "0", rights, NOW, ids, capabilities), "0", None)


@pytest.mark.parametrize(
    ("patterns", "good", "bad"),
    [
        (("*",), ["", "a", "a\nb"], []),
        (("weather-*",), ["weather-", "weather-1"], ["weather", "a-weather-1"]),
        (("a.b",), ["a.b"], ["aXb", "a.b.c", ""]),
        (("*-eu", "x"), ["x", "a-eu"], ["xx", "a-eu-1"]),
        (("a*c*e",), ["ace", "abcde", "a/c/e"], ["ac", "eca"]),
        (("ab*ba",), ["abba", "ab-ba"], ["aba"]),
        (("a**b", "*x*"), ["ab", "a-b", "x", "axb"], ["ba", ""]),
        (("*ab*b",), ["abb", "aabab"], ["ab", "aba"]),
        ((), [], ["", "a"]),
    ],
)
def test_patterns(patterns: tuple[str, ...], good: list[str], bad: list[str]) -> None:
    made = Patterns(patterns)
    assert [name for name in good if not made.match(name)] == []
    assert [name for name in bad if made.match(name)] == []


@given(st.text("ab*", min_size=1, max_size=8), st.text("ab", max_size=12))
def test_patterns_mean_what_a_regular_expression_would(glob: str, name: str) -> None:
    expression = ".*".join(map(re.escape, glob.split("*")))
    assert Patterns((glob,)).match(name) == bool(re.fullmatch(expression, name))


def test_a_pattern_takes_no_longer_for_more_wildcards() -> None:
    # A regular expression would try more ways than there are atoms in the universe.
    assert not Patterns(("*.*" * 60 + "x",)).match(".a" * 64)
    assert not Patterns(("*a" * 60 + "b",)).match("a" * 128)


def test_an_admin_has_every_right() -> None:
    assert caller("a", Right.ADMIN).rights == ALL
    assert caller("a", Right.READ).rights == {Right.READ}


def test_no_token_a_bad_one_and_one_without_the_right_are_told_apart() -> None:
    with pytest.raises(Unauthorized, match="needs a token") as none:
        Caller().require(Right.READ)
    assert not none.value.shown
    with pytest.raises(Unauthorized, match="expired") as bad:
        Caller(refused="it has expired").require(Right.READ)
    assert bad.value.shown
    with pytest.raises(Forbidden, match="'a' does not have the right 'read'"):
        caller("a", Right.TRACK).require(Right.READ)
    caller("a", Right.READ).require(Right.READ)
    OPEN.require(Right.ADMIN)


def test_a_service_takes_the_right_and_both_patterns() -> None:
    team = caller("t", Right.REGISTER, ids=("w-*",), capabilities=("w.*", "echo"))
    team.require_service("w-1", ("w.now", "echo"))
    team.require_service("w-1")
    with pytest.raises(Forbidden, match="not allow the id 'x-1'"):
        team.require_service("x-1", ("w.now",))
    with pytest.raises(Forbidden, match="not allow the capability 'pay'"):
        team.require_service("w-1", ("w.now", "pay"))
    with pytest.raises(Forbidden, match="right 'register'"):
        caller("t", Right.READ).require_service("w-1")
    # Patterns bound what a token may register; an admin's may do everything.
    caller("a", Right.ADMIN, ids=("w-*",)).require_service("x-1", ("pay",))


def test_what_belongs_to_a_token_is_for_it_and_for_admins() -> None:
    one, other = caller("one", Right.REGISTER), caller("other", Right.REGISTER)
    owner = Claim(one).owner("a")
    assert owner == "one"
    Claim(one).check(owner, "a")
    Claim(caller("boss", Right.ADMIN)).check(owner, "a")
    with pytest.raises(OwnedByAnother, match="'a' belongs to another"):
        Claim(other).check(owner, "a")
    with pytest.raises(OwnedByAnother):
        Claim(Caller(rights=frozenset({Right.REGISTER}))).check(owner, "a")
    # Where there are no tokens any more, nobody can show one.
    Claim(OPEN).check(owner, "a")


def test_what_belongs_to_a_key_is_for_those_who_show_it() -> None:
    key = "a-long-and-secret-text"
    owner = Claim(OPEN, key).owner("a")
    assert key not in owner and owner != Claim(OPEN, key).owner("b")
    Claim(OPEN, key).check(owner, "a")
    Claim(caller("x", Right.REGISTER), key).check(owner, "a")
    Claim(caller("boss", Right.ADMIN)).check(owner, "a")
    for shown in (None, "", "another-and-secret-text", key + " "):
        with pytest.raises(OwnedByAnother, match="owner_key"):
            Claim(OPEN, shown).check(owner, "a")
    # The same key for another id is another owner.
    with pytest.raises(OwnedByAnother):
        Claim(OPEN, key).check(owner, "b")


def test_what_belongs_to_nobody_is_everybodys() -> None:
    Claim(caller("x", Right.REGISTER)).check("", "a")
    assert Claim(OPEN).owner("a") == ""


def test_a_token_can_not_have_the_name_that_is_shown_for_keys() -> None:
    with pytest.raises(Exception, match="name must be"):
        schema.parse_token(b'{"name": "owner_key", "rights": ["read"]}')


def test_texts_of_tokens_are_long_and_never_the_same() -> None:
    texts = {access.new_text() for _ in range(1000)}
    assert len(texts) == 1000
    assert all(len(each) == 48 and each.startswith("mreg_") for each in texts)


def test_a_token_is_stored_without_its_text() -> None:
    text = access.new_text()
    made = Token("a", access.digest_of(text), (Right.READ,), NOW)
    stored = msgspec.json.encode(made).decode()
    assert text not in stored and text.removeprefix("mreg_") not in stored
    assert msgspec.json.decode(stored, type=Token) == made
