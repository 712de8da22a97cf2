"""Settings: flags over environment over defaults, and one line for what is wrong."""

import re
from dataclasses import fields

import pytest
from click.testing import CliRunner

from modularity_registry import config
from modularity_registry.cli import main
from modularity_registry.config import OPTIONS, Option, Settings, load, warnings
from modularity_registry.errors import BadSetting
from modularity_registry.serving import bind_warnings


def test_every_setting_has_an_option() -> None:
    assert [option.field for option in OPTIONS] == [
        each.name for each in fields(Settings)
    ]


def test_defaults_are_the_documented_ones() -> None:
    settings = load({}, {})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.debug) == ("127.0.0.1", 5000, False)
    assert settings.health_check_interval == 5
    assert settings.health_check_timeout == 5
    assert (settings.health_check_fall, settings.health_check_rise) == (3, 1)
    assert settings.store == "memory://"
    assert settings.allowed_origins == (
        "http://localhost:3000",
        "http://localhost:8080",
        "http://127.0.0.1:3000",
    )


def test_flags_win_over_the_environment() -> None:
    environ = {"REGISTRY_PORT": "6000", "REGISTRY_HOST": "127.0.0.2"}
    settings = load({"port": "7000", "host": None}, environ)
    assert (settings.port, settings.host) == (7000, "127.0.0.2")


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("REGISTRY_DEBUG", "true", "debug", True),
        ("REGISTRY_DEBUG", "0", "debug", False),
        ("REGISTRY_DEBUG", "", "debug", False),
        ("HEALTH_CHECK_INTERVAL", "2.5", "health_check_interval", 2.5),
        ("REGISTRY_STORE", "sqlite:///r.db", "store", "sqlite:///r.db"),
        ("REGISTRY_ALLOWED_ORIGINS", "*", "allowed_origins", ("*",)),
        ("REGISTRY_ALLOWED_ORIGINS", "off", "allowed_origins", ()),
        (
            "REGISTRY_ALLOWED_ORIGINS",
            "https://a.example, http://b.example:81",
            "allowed_origins",
            ("https://a.example", "http://b.example:81"),
        ),
        ("REGISTRY_ALLOWED_NETWORKS", "10.0.0.0/8", "allowed_networks", "10.0.0.0/8"),
        ("REGISTRY_NAMESPACES", "off", "namespace", ()),
        ("REGISTRY_NAMESPACES", "team-a, b2", "namespace", ("team-a", "b2")),
        ("REGISTRY_UPSTREAM", "off", "upstream", ()),
        (
            "REGISTRY_UPSTREAM",
            "west=http://a:1, east-2=https://b.example/registry/",
            "upstream",
            ("west=http://a:1", "east-2=https://b.example/registry"),
        ),
    ],
)
def test_good_values(name: str, value: str, field: str, expected: object) -> None:
    assert getattr(load({}, {name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REGISTRY_HOST", " "),
        ("REGISTRY_PORT", "http"),
        ("REGISTRY_PORT", "0"),
        ("REGISTRY_PORT", "65536"),
        ("REGISTRY_PORT", "-1"),
        ("REGISTRY_PORT", "5000.0"),
        ("REGISTRY_PORT", "\u0665"),
        ("REGISTRY_DEBUG", "maybe"),
        ("HEALTH_CHECK_INTERVAL", "0"),
        ("HEALTH_CHECK_INTERVAL", "nan"),
        ("HEALTH_CHECK_INTERVAL", "inf"),
        ("HEALTH_CHECK_TIMEOUT", "soon"),
        ("HEALTH_CHECK_FALL", "0"),
        ("HEALTH_CHECK_RISE", "1.5"),
        ("REGISTRY_ZONE", "eu/1a"),
        ("REGISTRY_REGION", "-"),
        ("REGISTRY_ZONE_THRESHOLD", "1.1"),
        ("REGISTRY_ZONE_THRESHOLD", "-0"),
        ("REGISTRY_ZONE_THRESHOLD", "70%"),
        ("REGISTRY_STORE", "mysql://x"),
        ("REGISTRY_ALLOWED_ORIGINS", "localhost:3000"),
        ("REGISTRY_ALLOWED_ORIGINS", "http://a.example/path"),
        ("REGISTRY_ALLOWED_NETWORKS", "10.0.0.1/8"),
        ("REGISTRY_ALLOWED_NETWORKS", "everything"),
        ("REGISTRY_NAMESPACES", "Team-A"),
        ("REGISTRY_NAMESPACES", "-a"),
        ("REGISTRY_NAMESPACES", "a/b"),
        ("REGISTRY_NAMESPACES", "a b"),
        ("REGISTRY_NAMESPACES", "default"),
        ("REGISTRY_NAMESPACES", "a,b,a"),
        ("REGISTRY_NAMESPACES", "n" * 64),
        ("REGISTRY_NAMESPACES", ",".join(f"n{number}" for number in range(65))),
        ("REGISTRY_UPSTREAM", "http://a:1"),
        ("REGISTRY_UPSTREAM", "west="),
        ("REGISTRY_UPSTREAM", "we st=http://a:1"),
        ("REGISTRY_UPSTREAM", "west=ftp://a:1"),
        ("REGISTRY_UPSTREAM", "west=http://a:1?x=y"),
        ("REGISTRY_UPSTREAM", "west=http://a:1,west=http://b:1"),
        ("REGISTRY_UPSTREAM_TOKEN_FILE", "west.token"),
    ],
)
def test_bad_values_are_one_clear_line(name: str, value: str) -> None:
    with pytest.raises(BadSetting) as caught:
        load({}, {name: value})
    assert name in caught.value.detail
    assert "\n" not in caught.value.detail


def test_a_password_in_the_store_url_is_not_repeated() -> None:
    with pytest.raises(BadSetting) as caught:
        load({}, {"REGISTRY_STORE": "mysql://user:secret@db/x"})
    assert "secret" not in caught.value.detail


def test_a_password_in_an_upstream_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadSetting) as caught:
        load({}, {"REGISTRY_UPSTREAM": "west=http://user:secret@a:1"})
    assert "secret" not in caught.value.detail
    assert "token" in caught.value.detail


def test_a_slip_in_a_name_is_found() -> None:
    with pytest.raises(BadSetting, match="did you mean REGISTRY_PORT"):
        load({}, {"REGISTRY_PROT": "80"})
    with pytest.raises(BadSetting, match="did you mean HEALTH_CHECK_INTERVAL"):
        load({}, {"HEALTH_CHECK_INTERVALL": "80"})


@pytest.mark.parametrize(
    "name", ["REGISTRY_SERVICE_PORT", "REGISTRY_PORT_5000_TCP", "REGISTRY_URL", "PATH"]
)
def test_what_others_set_is_left_alone(name: str) -> None:
    assert load({}, {name: "x"}) == Settings()


def test_kubernetes_own_variable_is_explained() -> None:
    with pytest.raises(BadSetting, match="enableServiceLinks"):
        load({}, {"REGISTRY_PORT": "tcp://10.0.0.1:5000"})


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.env)
def test_an_empty_variable_is_as_if_it_were_not_set(option: Option) -> None:
    assert load({}, {option.env: ""}) == Settings()


@pytest.mark.parametrize("host", ["::1", "::", "2001:db8::1"])
def test_an_ipv6_address_may_have_brackets(host: str) -> None:
    assert load({"host": f"[{host}]"}, {}).host == host


def test_a_former_name_counts_with_a_warning_and_the_present_one_wins() -> None:
    former = {"ALLOWED_ORIGINS": "https://a.example"}
    assert load({}, former).allowed_origins == ("https://a.example",)
    [warning] = warnings(former)
    assert "REGISTRY_ALLOWED_ORIGINS" in warning
    both = former | {"REGISTRY_ALLOWED_ORIGINS": "https://b.example"}
    assert load({}, both).allowed_origins == ("https://b.example",)
    assert warnings(both) == []
    with pytest.raises(BadSetting, match=r"^ALLOWED_ORIGINS"):
        load({}, {"ALLOWED_ORIGINS": "nonsense"})


def test_debug_beyond_loopback_is_said_aloud() -> None:
    settings = load({}, {"REGISTRY_HOST": "0.0.0.0", "REGISTRY_DEBUG": "true"})
    assert any("--debug is on" in line for line in bind_warnings.warnings(settings))


def test_a_bad_setting_ends_the_start_with_one_line_and_code_1() -> None:
    result = CliRunner().invoke(main.main, ["serve", "--port", "99999"])
    assert result.exit_code == 1
    assert result.output.strip().count("\n") == 0
    assert "--port" in result.output


def test_an_unknown_flag_is_refused() -> None:
    result = CliRunner().invoke(main.main, ["serve", "--colour", "red"])
    assert result.exit_code == 2
    assert "--colour" in result.output


def test_help_names_every_setting() -> None:
    output = CliRunner().invoke(main.main, ["serve", "--help"]).output
    for option in config.OPTIONS:
        assert option.flag in output
        assert option.env in output.replace("\n", "").replace(" ", "")


def test_help_lists_the_settings_under_headings() -> None:
    output = CliRunner().invoke(main.main, ["serve", "--help"]).output
    sections = re.split(r"^(\S.*):$", output, flags=re.MULTILINE)[1:]
    flags = [
        (heading, re.findall(r"^  (--[\w-]+)", text, re.MULTILINE))
        for heading, text in zip(sections[::2], sections[1::2], strict=True)
        if heading != "Options"
    ]
    assert flags == [
        (heading, [option.flag for option in options])
        for heading, options in config.GROUPS.items()
    ]


def test_workers_need_a_store_that_they_can_share() -> None:
    with pytest.raises(BadSetting) as caught:
        load({"workers": "2"}, {})
    assert "memory://" in caught.value.detail and "--store" in caught.value.detail
    settings = load({}, {"REGISTRY_WORKERS": "2", "REGISTRY_STORE": "sqlite:///r.db"})
    assert settings.workers == 2


def test_a_second_opinion_needs_a_store_that_replicas_can_share() -> None:
    with pytest.raises(BadSetting, match="--confirm 2 needs a store that replicas"):
        load({"confirm": "2"}, {})
    with pytest.raises(BadSetting, match="must be a whole number from 1 to 2"):
        load({"confirm": "3", "store": "sqlite:///registry.db"}, {})
    settings = load({"confirm": "2", "store": "sqlite:///registry.db"}, {})
    assert settings.confirm == 2


@pytest.mark.parametrize("value", ["10.0.0.300", "10.0.0.1/8", "everyone", ","])
def test_networks_that_can_not_be_read_are_blamed_on_their_own_setting(
    value: str,
) -> None:
    for setting in ("REGISTRY_DNS_TRUSTED_NETWORKS", "REGISTRY_ALLOWED_NETWORKS"):
        with pytest.raises(BadSetting) as caught:
            load({}, {setting: value})
        named = re.findall(r"REGISTRY_\w+", caught.value.detail)
        assert set(named) == {setting}
    assert load({}, {"REGISTRY_DNS_TRUSTED_NETWORKS": "off"}).dns_trusted_networks


def test_a_token_for_no_upstream_is_an_error() -> None:
    flags = {"upstream": "west=http://a:1", "upstream_token_file": "east=east.token"}
    with pytest.raises(BadSetting, match="names no east"):
        load(flags, {})
