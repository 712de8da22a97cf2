"""No value of a secret is printed: URLs that hold one, right and wrong."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from modularity_registry.cli.main import main
from modularity_registry.config import OPTIONS, load
from modularity_registry.errors import BadSetting
from modularity_registry.ratelimit.counters import open_counters

SECRET = "hunter2X9z"

STORES = [
    f"postgresql://h/db?password={SECRET}",
    f"postgresql://h/db?sslpassword={SECRET}",
    f"postgresql://u:{SECRET}@h:99999/db",
    f"redis://:{SECRET}",
    f"redis://u:{SECRET}@h/x",
    f"redis:{SECRET}",
    f"consul://h?token={SECRET}",
    f"etcd://h/{SECRET}",
    SECRET,
]
REGISTRIES = [
    f"http://u:{SECRET}@127.0.0.1:1",
    f"http://:{SECRET}@127.0.0.1:1",
    f"http://{SECRET}@127.0.0.1:1",
    f"http://u:{SECRET},x@127.0.0.1:1",
    f"http://u:x#{SECRET}@127.0.0.1:1",
    f"http://u:x/{SECRET}@127.0.0.1:1",
    f"u:{SECRET}@127.0.0.1:1",
    f"http://127.0.0.1:1?token={SECRET}",
    f"http://127.0.0.1:1/#{SECRET}",
]


def output_of(*line: str, **environ: str) -> str:
    result = CliRunner().invoke(main, line, env=environ)
    assert result.exit_code != 0
    assert isinstance(result.exception, SystemExit)
    return result.output + result.stderr


@pytest.mark.parametrize("url", STORES)
@pytest.mark.parametrize(
    "command", ["serve", "export", "import", "doctor", "token list", "store new-epoch"]
)
def test_a_store_that_is_refused(command: str, url: str) -> None:
    assert SECRET not in output_of(*command.split(), "--store", url)
    if command in ("serve", "export"):
        assert SECRET not in output_of(command, REGISTRY_STORE=url)


@pytest.mark.parametrize("url", STORES)
@pytest.mark.parametrize("setting", ["rate-store", "otel-endpoint"])
def test_another_setting_that_is_refused(setting: str, url: str) -> None:
    # Without a rate to count, a valid one is refused as well.
    flag = f"--{setting}"
    refused = "http:/" + url if setting == "otel-endpoint" else url
    assert SECRET not in output_of("serve", flag, refused)


def test_origins_that_are_refused() -> None:
    origins = f"http://a,http://u:{SECRET}@h"
    assert SECRET not in output_of("serve", "--allowed-origins", origins)


@pytest.mark.parametrize("url", REGISTRIES)
@pytest.mark.parametrize("command", ["ls", "doctor", "token list", "watch"])
def test_a_registry_that_is_refused(command: str, url: str) -> None:
    assert SECRET not in output_of(*command.split(), "--url", url)
    assert SECRET not in output_of(*command.split(), REGISTRY_URL=url)


def test_settings_show_no_url_that_may_hold_one() -> None:
    texts = {
        "store": f"etcd://u:{SECRET}@h",
        "rate_store": f"redis://:{SECRET}@h",
        "otel_endpoint": f"http://u:{SECRET}@h",
        "write_rate": "1/second",
    }
    settings = load(texts, {})
    assert settings.store == texts["store"]
    assert SECRET not in repr(settings)
    assert {option.field for option in OPTIONS if option.secret} == texts.keys() - {
        "write_rate"
    }


def test_what_a_driver_says_of_a_url_is_not_repeated() -> None:
    with pytest.raises(BadSetting) as caught:
        open_counters(f"redis://h:6379/0?socket_timeout={SECRET}", lambda: 0.0)
    assert SECRET not in caught.value.detail
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", STORES)
@pytest.mark.parametrize("setting", ["store", "rate_store", "otel_endpoint", "host"])
def test_a_file_that_is_refused(setting: str, url: str, tmp_path: Path) -> None:
    file = tmp_path / "registry.toml"
    for line in (
        f"{setting} = '{url}'",
        f"{setting} = ['{url}']",
        f"port = 0\nstoer = '{url}'",
        f"{setting} '{url}'",
        f"{setting} = {url}",
        f"{setting} = '{url}",
    ):
        file.write_text(f"{line}\nworkers = 0\n")
        assert SECRET not in output_of("serve", "--config", str(file))
