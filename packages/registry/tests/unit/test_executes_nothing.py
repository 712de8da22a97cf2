"""No code runs for a caller: what it sends stays data, under the names it may use.

This reads the sources: nothing in them could turn a text into a program, a template
or a statement.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import modularity_registry

ROOT = Path(modularity_registry.__file__).parent

# Called by these names, a text becomes a program or an object of any kind.
CALLS = {
    "eval", "exec", "compile", "__import__", "system", "popen", "spawnv", "execv",
    "execve", "execvp", "render_template_string", "from_string", "unsafe_load",
    "full_load", "literal_eval", "run_path", "run_module", "exec_module",
    "create_subprocess_exec", "create_subprocess_shell",
}  # fmt: skip
MODULES = {
    "pickle", "cPickle", "dill", "marshal", "shelve", "yaml", "jinja2", "code",
    "codeop", "runpy", "pty", "pdb", "cffi", "xmlrpc", "xml",
}  # fmt: skip
# Where one of these has to be; none is handed anything that a caller of the registry
# sent.
KNOWN = {
    # Of a fixed table of stores: the URL of a setting picks a row.
    ("stores/__init__.py", "importlib"),
    # Of a fixed table of commands: a name on the command line picks a row.
    ("cli/main.py", "importlib"),
    # Of one fixed module.
    ("api/tracing.py", "importlib"),
    # Of the packages that a setting may name.
    ("integrations/__init__.py", "importlib"),
    # Templates of those who run the command, in a sandbox. What services say is data.
    ("cli/proxies/template.py", "jinja2"),
    # Commands of those who run the command, without a shell.
    ("cli/proxies/external_command.py", "create_subprocess_exec"),
    # Its parser is defusedxml's; of this it has types, and what writes.
    ("integrations/eureka/xml.py", "xml"),
    # Envoy, as the user of the command says.
    ("cli/mesh/envoy_process.py", "subprocess"),
    # prctl, so that a child ends with its parent, and mallopt, for one heap.
    ("serving/process.py", "ctypes"),
}
RESTRICTED = {"subprocess", "importlib", "ctypes"}
# Chance that spreads load or breaks step; what nobody may guess comes from `secrets`.
DRAWING = {
    "cli/demo/service.py",
    "cli/mesh/identity.py",
    "dns/messages.py",
    "dns/zone.py",
    "runtime.py",
    "health/schedule.py",
    "integrations/consul/reads/options.py",
    "catalog/selection.py",
    "catalog/splits.py",
    "stores/consul/writer.py",
    "stores/reconnecting_watch.py",
    "stores/sqlite/connection.py",
}

STATEMENT = re.compile(
    r"\b(SELECT|INSERT|REPLACE) |\bUPDATE \w+ SET\b|\bDELETE FROM\b|\bWHERE \w"
    r"|\b(CREATE|DROP|ALTER) (TABLE|SCHEMA|INDEX)|\bPRAGMA \w|\bSET \w+ = |redis\.call"
)
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")
# What is put into a statement beside constants: question marks for a number of rows,
# and numbers.
HARMLESS = {
    "_marks(rows)",
    "', ?' * (keys - 1)",
    "(milliseconds, 10 * milliseconds)",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith("stores/conformance/"):
            yield name, ast.parse(path.read_text())


def called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        # `re.compile` and its like make no code.
        owner = function.value
        harmless = isinstance(owner, ast.Name) and owner.id in ("re", "re2", "ast")
        return "" if harmless else function.attr
    return function.id if isinstance(function, ast.Name) else ""


def imported(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    # These read data of packages; they start nothing.
    found -= {"importlib.resources", "importlib.util", "importlib.metadata"}
    return {name.split(".")[0] for name in found}


def test_nothing_makes_code_or_objects_of_a_text() -> None:
    wrong = [
        f"{name}:{node.lineno} calls {called(node)}"
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and called(node) in CALLS
        and (name, called(node)) not in KNOWN
    ]
    wrong += [
        f"{name} imports {module}"
        for name, tree in sources()
        for module in sorted(imported(tree) & MODULES)
        if (name, module) not in KNOWN
    ]
    assert wrong == []


def test_programs_and_modules_are_started_only_where_it_is_known_why() -> None:
    found = {
        (name, module)
        for name, tree in sources()
        for module in imported(tree) & RESTRICTED
    }
    assert found <= KNOWN


def test_no_shell_is_started() -> None:
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "shell"
    ]
    assert wrong == []


def test_chance_is_for_spreading_load_alone() -> None:
    drawing = {name for name, tree in sources() if "random" in imported(tree)}
    assert drawing <= DRAWING


def put_together(node: ast.AST) -> list[ast.expr] | None:
    """What a text is put together from; None for what is no such text."""
    if isinstance(node, ast.JoinedStr):
        return [*node.values]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return [node.left, node.right]
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("format", "join", "replace")
    ):
        keywords = [each.value for each in node.keywords]
        return [node.func.value, *node.args, *keywords]
    return None


def is_statement(parts: list[ast.expr], constants: dict[str, str]) -> bool:
    """Whether the constant part of it reads like SQL, or like one of Redis' scripts."""
    text = ""
    for node in (each for part in parts for each in ast.walk(part)):
        if isinstance(node, ast.Name):
            text += constants.get(node.id, "")
        elif isinstance(node, ast.Constant):
            value = node.value
            text += value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return STATEMENT.search(text) is not None


def constants_of(tree: ast.Module) -> dict[str, str]:
    """The texts that have a name, by it."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            texts = [
                e.value for e in ast.walk(node.value) if isinstance(e, ast.Constant)
            ]
            found[ast.unparse(target)] = " ".join(map(str, texts))
    return found


def is_constant(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant) or ast.unparse(node) in HARMLESS:
        return True
    if isinstance(node, ast.FormattedValue):
        return is_constant(node.value)
    if isinstance(node, ast.JoinedStr):
        return all(map(is_constant, node.values))
    if isinstance(node, ast.BinOp):
        return is_constant(node.left) and is_constant(node.right)
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) == "str" and all(map(is_constant, node.args))
    name = node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
    return CONSTANT.fullmatch(name) is not None


def test_statements_are_made_of_constants_alone() -> None:
    wrong = []
    for name, tree in sources():
        constants = constants_of(tree)
        for node in ast.walk(tree):
            parts = put_together(node) if name.startswith("stores/") else None
            if parts is None or not is_statement(parts, constants):
                continue
            if not all(map(is_constant, parts)):
                wrong.append(f"{name}: {ast.unparse(node)[:100]}")
    assert wrong == []


def test_statements_are_only_in_the_stores() -> None:
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in sources()
        if not name.startswith("stores/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and re.match(
            r"b?'(SELECT|INSERT INTO|DELETE FROM|UPDATE \w+ SET) ", repr(node.value)
        )
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "source",
    [
        'f"SELECT * FROM record WHERE key = {key}"',
        '"DELETE FROM record WHERE key = " + key',
        '"SELECT value FROM record WHERE key = %s" % key',
        '"SELECT value FROM record WHERE key = {}".format(key)',
        'b"SET search_path = %b" % name',
        "_SELECT + key",
        '"SELECT value FROM record" + f" WHERE key = {key}"',
    ],
)
def test_a_statement_with_something_else_in_it_would_be_found(source: str) -> None:
    parts = put_together(ast.parse(source, mode="eval").body)
    assert parts is not None
    assert is_statement(parts, {"_SELECT": "SELECT value FROM record WHERE "})
    assert not all(map(is_constant, parts))
