"""Compares the parameters of a call with the annotations of its handler."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

_KINDS: Mapping[Any, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a string"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    list: ((list,), "a list"),
    dict: ((dict,), "an object"),
    NoneType: ((NoneType,), "null"),
}
_ALIASES: Mapping[Any, Any] = {Sequence: list, Mapping: dict, None: NoneType}


def signature_of(handler: Callable[..., Any]) -> inspect.Signature:
    """Return a handler's signature, with annotations as types where they can be."""
    try:
        return inspect.signature(handler, eval_str=True)
    except Exception:  # whatever an annotation is, it may need what is not there
        return inspect.signature(handler)


def mismatch(signature: inspect.Signature, params: Mapping[str, Any]) -> str | None:
    """Return in one sentence why ``params`` don't fit; None if they do.

    Annotations of JSON's own types are checked: ``str``, ``int``, ``float``, ``bool``,
    ``None``, lists, dicts, ``Literal`` and unions of them. A whole number fits
    ``float``; true and false are no numbers. All other annotations fit everything.
    """
    try:
        bound = signature.bind(**params)
    except TypeError as error:
        return str(error)
    for name, value in bound.arguments.items():
        parameter = signature.parameters[name]
        values = {name: value}
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            values = value
        for each, given in values.items():
            if not _fits(given, parameter.annotation):
                return f"{each} must be {_expected(parameter.annotation)}"
    return None


def _fits(value: Any, annotation: Any) -> bool:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _fits(value, arguments[0])
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in arguments)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in arguments)
    kind = _kind(annotation)
    if kind not in _KINDS:
        return True
    if isinstance(value, bool) and kind is not bool:
        return False
    if isinstance(value, list) and kind is list and arguments:
        return all(_fits(item, arguments[0]) for item in value)
    if isinstance(value, dict) and kind is dict and len(arguments) == 2:
        return all(_fits(item, arguments[1]) for item in value.values())
    return isinstance(value, _KINDS[kind][0])


def _expected(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _expected(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(map(_expected, arguments))
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    kind = _kind(annotation)
    text = _KINDS[kind][1] if kind in _KINDS else str(annotation)
    if kind is list and arguments:
        return f"{text}, each item {_expected(arguments[0])}"
    if kind is dict and len(arguments) == 2:
        return f"{text}, each value {_expected(arguments[1])}"
    return text


def _kind(annotation: Any) -> Any:
    kind = get_origin(annotation) or annotation
    try:
        return _ALIASES.get(kind, kind)
    except TypeError:  # what can't be hashed is no type of JSON
        return object
