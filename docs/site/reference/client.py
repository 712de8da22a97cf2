"""Every public name of the Python client."""

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, is_typeddict

import black

import modularity_client
from modularity_client import errors
from reference.markdown_text import docstring

_MODULES = ("", ".errors", ".tokens", ".flask", ".fastapi", ".types.services")
_PACKAGE = "modularity_client"
_PARAGRAPH = "\n\n"
_WIDTH = 76
_UNPACKED = re.compile(r"\*<class '([\w.]+)'>")
_MODULE_OF_A_TYPE = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Z])")


def page() -> str:
    """Return the page of all classes and their methods, by module."""
    sections = _PARAGRAPH.join(
        section
        for name in _MODULES
        for section in _module(import_module(_PACKAGE + name))
    )
    return f"""# Python client API

[The Python client](../packages/client/README.md) shows how to use it. This page has
every public class, its fields and its methods.

{sections}
"""


def _module(module: ModuleType) -> Iterator[str]:
    yield f"## {module.__name__}"
    yield docstring(module)
    for name, member in sorted(vars(module).items()):
        if inspect.isclass(member) and _belongs_to(module, name, member):
            yield from _class(name, member)


def _belongs_to(module: ModuleType, name: str, kind: type) -> bool:
    """Tell whether a class is public in a module, and described there."""
    if name.startswith("_"):
        return False
    if kind.__module__ == errors.__name__:
        return module is errors
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return name in listed
    return kind.__module__ == module.__name__ and name not in modularity_client.__all__


def _class(name: str, kind: type[Any]) -> Iterator[str]:
    yield f"### {name}"
    if is_typeddict(kind):
        yield _code(f"class {name}(TypedDict):\n" + _fields(kind))
    elif issubclass(kind, Exception):
        base = kind.__base__
        yield _code(f"class {name}({base.__name__ if base else ''}): ...")
    else:
        yield _code(f"class {name}:\n    def __init__{_signature(kind)}: ...")
    yield docstring(kind)
    for attribute in vars(kind):
        if not attribute.startswith("_") and attribute != "from_json":
            yield from _attribute(f"{name}.{attribute}", getattr(kind, attribute))


def _fields(kind: type[Any]) -> str:
    return "".join(
        f"    {name}: {inspect.formatannotation(annotation)}\n"
        for name, annotation in inspect.get_annotations(kind).items()
    )


def _attribute(name: str, member: object) -> Iterator[str]:
    if isinstance(member, property):
        yield f"#### {name}"
        yield docstring(member)
    elif inspect.isroutine(member):
        yield f"#### {name}"
        word = "async def" if inspect.iscoroutinefunction(member) else "def"
        yield _code(f"{word} {member.__name__}{_signature(member)}: ...")
        yield docstring(member)


def _signature(called: Callable[..., Any]) -> str:
    """Return a signature as it stands in the code."""
    text = str(inspect.signature(called)).replace("<factory>", "...")
    return _UNPACKED.sub(r"Unpack[\1]", text)


def _code(text: str) -> str:
    """Return code, with the names of types alone, in lines of a bearable width."""
    short = _MODULE_OF_A_TYPE.sub("", text).replace("~", "")
    formatted = black.format_str(short, mode=black.Mode(line_length=_WIDTH))
    return f"```python\n{formatted}```"
