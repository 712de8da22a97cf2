"""Every setting of the registry."""

from modularity_registry import config
from reference.markdown_text import WIDE, code, table


def page() -> str:
    """Return the page of all settings, in the order of the table of options."""
    rows = [
        (code(option.flag), code(option.env), _default(option), option.help)
        for option in config.OPTIONS
    ]
    return f"""{WIDE}
# Settings

`modularity-registry serve` takes each of these as a flag or as an environment variable.
A flag wins; an empty variable counts as not set. [The registry's
page](../packages/registry/README.md#settings) has the same list with links to what each
is for.

{table(("flag", "environment", "default", "meaning"), rows)}"""


def _default(option: config.Option) -> str:
    default = getattr(config.Settings(), option.field)
    if isinstance(default, tuple | frozenset):
        return ", ".join(map(code, sorted(default))) or code(config.OFF)
    if isinstance(default, bool):
        return code(str(default).lower())
    return code(f"{default:g}" if isinstance(default, float) else default)
