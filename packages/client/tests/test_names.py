"""What the package offers at its top, and where the rest is."""

import pytest

import modularity_client
from modularity_client import AsyncRegistry, Registry, Resolver, errors, tokens


def test_the_top_has_few_names_and_all_of_them_exist() -> None:
    assert len(modularity_client.__all__) <= 29
    for name in modularity_client.__all__:
        getattr(modularity_client, name)


@pytest.mark.parametrize("name", sorted(modularity_client._MOVED))
def test_what_has_moved_can_be_imported_with_a_warning(name: str) -> None:
    module = tokens if modularity_client._MOVED[name] == "tokens" else errors
    with pytest.warns(DeprecationWarning, match=module.__name__):
        assert getattr(modularity_client, name) is getattr(module, name)


def test_a_name_that_never_was_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        modularity_client.Nothing  # noqa: B018  # reading it is the test


def test_objects_show_where_they_lead_and_no_secret() -> None:
    registry = Registry("http://a:1,http://b:2", token="secret-text")
    assert repr(registry) == "Registry(http://a:1, http://b:2)"
    with_token = AsyncRegistry("http://a:1", token="secret-text")
    assert repr(with_token) == "AsyncRegistry(http://a:1)"
    resolver = Resolver(registry)
    assert repr(resolver) == "Resolver(idle, 0 capabilities)"
    stream = registry.events()
    assert repr(stream) == "EventStream(http://a:1, http://b:2)"
    for shown in (stream, registry, with_token, resolver, registry.settings):
        assert "secret-text" not in repr(shown)
