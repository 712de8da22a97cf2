"""The mutants of a module: its source with one thing changed, by Cosmic Ray."""

import ast
import difflib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

_COMPARISONS: Final = (
    ("Eq", "NotEq"),
    ("NotEq", "Eq"),
    ("Lt", "LtE"),
    ("Lt", "GtE"),
    ("LtE", "Lt"),
    ("LtE", "Gt"),
    ("Gt", "GtE"),
    ("Gt", "LtE"),
    ("GtE", "Gt"),
    ("GtE", "Lt"),
    ("Is", "IsNot"),
    ("IsNot", "Is"),
)
_ARITHMETIC: Final = (
    ("Add", "Sub"),
    ("Sub", "Add"),
    ("Mul", "Div"),
    ("Div", "Mul"),
    ("FloorDiv", "Mul"),
    ("Mod", "Mul"),
    ("LShift", "RShift"),
    ("RShift", "LShift"),
    ("BitOr", "BitAnd"),
    ("BitAnd", "BitOr"),
)
OPERATORS: Final = (
    *(f"ReplaceComparisonOperator_{old}_{new}" for old, new in _COMPARISONS),
    *(f"ReplaceBinaryOperator_{old}_{new}" for old, new in _ARITHMETIC),
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_USub_UAdd",
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ExceptionReplacer",
    "NumberReplacer",
    "RemoveDecorator",
    "ZeroIterationForLoop",
)
"""Each comparison once by its opposite and once by its neighbour, each sum once."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mutated ``source``; ``change`` is the line before and after, in one line."""

    operator: str
    line: int
    change: str
    source: str


def mutants_of(source: str) -> Iterator[Mutant]:
    """Yield all, in order of operator and place; annotations and examples left out.

    An annotation only ever fails to import, which says nothing of the tests. Another
    example in the documentation is as good as the one before.
    """
    before = _dumped(source)
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        for occurrence in itertools.count():
            mutated = mutate_code(source, operator, occurrence)
            if mutated is None:
                break
            if _dumped(mutated) not in (None, before):
                yield Mutant(name, *_change(source, mutated), mutated)


class _Bare(ast.NodeTransformer):
    """Takes annotations and examples away."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        # The star that parts keyword arguments is no product.
        node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        node.posonlyargs, node.kwonlyargs = [], []
        node.defaults += [each for each in node.kw_defaults if each is not None]
        node.kw_defaults = []
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        # ``Annotated`` has limits, which are code.
        if "Annotated" not in ast.unparse(node.annotation):
            node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        # The description and the example of a field: see `schema.body`.
        if isinstance(node.func, ast.Name) and node.func.id == "doc":
            node.args = []
        return self.generic_visit(node)


def _dumped(source: str) -> str | None:
    """Return what the code does; None if it can't be parsed."""
    try:
        return ast.dump(_Bare().visit(ast.parse(source)))
    except SyntaxError:
        return None


def _change(source: str, mutated: str) -> tuple[int, str]:
    """Return the number of the first line that differs, and both forms of it."""
    old, new = source.splitlines(), mutated.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    _, start, end, there, then = next(
        code for code in matcher.get_opcodes() if code[0] != "equal"
    )
    lines = (
        " ".join(map(str.strip, part)) for part in (old[start:end], new[there:then])
    )
    return start + 1, " -> ".join(lines)
