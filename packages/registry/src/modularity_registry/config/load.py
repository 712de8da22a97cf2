"""Load the settings: flags win over the environment, that over the file."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Final

from modularity_registry.config.contradictions import contradictions
from modularity_registry.config.file import ConfigFile, read_file
from modularity_registry.config.option import written
from modularity_registry.config.options import OPTIONS
from modularity_registry.config.settings import OFF, Settings
from modularity_registry.errors import BadSetting

CONFIG_ENV: Final = "REGISTRY_CONFIG"
"""The variable with the path of the configuration file."""

FORMER: Final[Mapping[str, str]] = {"REGISTRY_ALLOWED_ORIGINS": "ALLOWED_ORIGINS"}
"""Variables that had another name in the first registry; it still counts."""


def load(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """Return the settings; ``flags`` by field name, None where not given.

    The flag ``config`` names the configuration file. Raises `BadSetting` with a line
    for each fault, which names the setting, its value and what it should be. A variable
    that looks like a misspelled setting is one as well.
    """
    return load_with_sources(flags, environ)[0]


def load_with_sources(
    flags: Mapping[str, str | None], environ: Mapping[str, str]
) -> tuple[Settings, dict[str, str]]:
    """Return the settings as `load` does, and where each that is set was set.

    A source is a flag, a variable, or a file and the line in it.
    """
    path = config_file(flags, environ)
    file = read_file(path) if path else ConfigFile()
    values, sources = file.values, file.sources
    faults: list[str] = []
    for option in OPTIONS:
        name, text = option.flag, flags.get(option.field)
        if text is None:
            name, text = _variable(option.env, environ)
        if text is None:
            continue
        sources[option.field] = name
        try:
            values[option.field] = option.read(name, text)
        except BadSetting as error:
            faults.append(error.detail)
    faults += file.faults
    settings = Settings(**values)
    # With a value that can't be read, nobody knows what it contradicts.
    contradicted = [] if faults else contradictions(settings)
    faults += [*file.unknown, *_typos(environ), *contradicted]
    if faults:
        raise BadSetting("\n".join(faults))
    return settings, sources


def find(field: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return where the environment or its file sets one setting, and its text.

    The text is empty if neither sets it; it has not been checked if the environment
    does. Raises `BadSetting` for a file with a fault.
    """
    [option] = (option for option in OPTIONS if option.field == field)
    name, text = _variable(option.env, environ)
    path = config_file({}, environ)
    if text is None and path is not None:
        file = read_file(path)
        if file.faults:
            raise BadSetting(file.faults[0])
        if field in file.values:
            return file.sources[field], written(file.values[field])
    return name, text or ""


def config_file(
    flags: Mapping[str, str | None], environ: Mapping[str, str]
) -> str | None:
    """Return the path of the configuration file; None if there is none."""
    path = flags.get("config")
    path = environ.get(CONFIG_ENV) if path is None else path
    return None if path in ("", OFF) else path


def warnings(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that is not what it seems to be.

    That is a setting's former name, and the client's namespace in place of those that
    the registry has.
    """
    sentences = [
        f"{former} is the former name of {name}; rename it"
        for name, former in FORMER.items()
        if _variable(name, environ)[0] == former
    ]
    if environ.get(_NAMESPACE) and not environ.get(f"{_NAMESPACE}S"):
        sentences.append(
            f"{_NAMESPACE} is the namespace of clients, and no setting of the registry;"
            f" list its namespaces in {_NAMESPACE}S"
        )
    return sentences


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str | None]:
    """Return a variable's name and value. An empty one counts as if it were not set."""
    former = FORMER.get(name)
    if former is not None and not environ.get(name) and environ.get(former):
        name = former
    return name, environ.get(name) or None


# What Kubernetes sets in every pod for a Service named "registry".
_SERVICE_LINK = re.compile(r"REGISTRY_(SERVICE_.*|PORT_[0-9]+_(TCP|UDP).*)")


# What the client and the other commands read from the same environment.
_NAMESPACE: Final = "REGISTRY_NAMESPACE"
_CLIENT_VARIABLES: Final = frozenset(
    {
        "REGISTRY_URL",
        "REGISTRY_TOKEN",
        "REGISTRY_TOKEN_FILE",
        "REGISTRY_OWNER_KEY",
        _NAMESPACE,
    }
)


def _typos(environ: Mapping[str, str]) -> Iterator[str]:
    names = [CONFIG_ENV, *(option.env for option in OPTIONS)]
    for name in sorted(environ.keys() - _CLIENT_VARIABLES):
        if not name.startswith(("REGISTRY_", "HEALTH_CHECK_")) or name in names:
            continue
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.88)
        if close and not _SERVICE_LINK.fullmatch(name):
            yield f"{name} is not a setting; did you mean {close[0]}?"
