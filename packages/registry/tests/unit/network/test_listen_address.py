import pytest

from modularity_registry.network.listen_address import browser_url


@pytest.mark.parametrize(
    ("host", "https", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:5000"),
        ("0.0.0.0", False, "http://127.0.0.1:5000"),
        ("::", True, "https://[::1]:5000"),
        ("registry.internal", True, "https://registry.internal:5000"),
    ],
)
def test_a_browser_on_this_machine_opens_an_address_that_works(
    host: str, https: bool, url: str
) -> None:
    assert browser_url(host, 5000, https) == url
