"""No regular expression of the project takes more than linear time on any text."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from service.providers.anthropic_repairs import NATIVE_REPAIRS
from service.providers.fitting_table import table
from service.providers.openai_repairs import openai_repairs
from tests.growth import MOST, growth
from tests.superlinear import MAX_FACTOR, Loops, ambiguous_loops

ROOT = Path(__file__).parents[1]
PACKAGES = ("service", "bandit", "embeddings")
ANCHORED = {"match", "fullmatch"}
LISTED = {"self.wording", "models"}  # patterns that `repairs` and `families` list
OPERATORS = {"service/calibration/grading/patterns.py"}  # patterns of the operator, run with limits of time
# Its numbers begin nowhere inside a row of digits, which the search does not see;
# tests/service/calibration/grading/test_comparisons.py reads long rows.
UNSEEN = "service/calibration/grading/comparisons.py"
FUNCTIONS = {"compile", "search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn"}


@dataclass(frozen=True)
class Use:
    """A pattern in the source and how it is applied."""

    place: str
    pattern: str
    flags: int
    is_search: bool
    max_factor: int = MAX_FACTOR


@cache
def sources() -> dict[str, ast.Module]:
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    return {str(file.relative_to(ROOT)): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def module_of(file: str) -> ModuleType:
    return importlib.import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))


@cache
def methods_by_name() -> dict[tuple[str, str], set[str]]:
    """The methods that each file uses of each name, such as {("api/ops.py", "TASK"): {"fullmatch"}}."""
    methods: dict[tuple[str, str], set[str]] = {}
    for file, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                name = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                methods.setdefault((file, name), set()).add(node.attr)
    return methods


def uses_in(file: str, tree: ast.Module) -> Iterator[Use]:
    if file in OPERATORS:
        return
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        place = f"{file}:{node.lineno}"
        for keyword in node.keywords:
            if keyword.arg == "pattern":
                yield Use(place, value_of(keyword.value, file), 0, is_search=True)
        if not (isinstance(node.func, ast.Attribute) and name_of(node.func.value) == "re"):
            continue
        if node.func.attr in FUNCTIONS:
            flags = [k.value for k in node.keywords if k.arg == "flags"]
            if node.func.attr == "compile":
                flags += node.args[1:2]
            methods = applied(node, parents, file) if node.func.attr == "compile" else {node.func.attr}
            try:
                pattern = value_of(node.args[0], file)
            except NameError:
                if ast.unparse(node.args[0]) in LISTED:
                    continue
                assert runs_at_import(node, tree, parents), f"{place}: make it a constant of the module"
                continue  # the loaded module shows the pattern
            number = int(value_of(flags[0], file)) if flags else 0
            yield Use(place, pattern, number, is_search=not methods <= ANCHORED)


def applied(node: ast.Call, parents: dict[ast.AST, ast.AST], file: str) -> set[str]:
    """The methods that are used of a compiled pattern; other files may use it too if its name is public."""
    parent = parents[node]
    if isinstance(parent, ast.Attribute):
        return {parent.attr}
    if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name):
        name = parent.targets[0].id
        files = [file] if name.startswith("_") else list(sources())
        return set().union(*(methods_by_name().get((f, name), set()) for f in files)) or {"unknown"}
    return {"unknown"}


def name_of(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else None


def function_around(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str | None:
    while node in parents:
        node = parents[node]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return node.name
    return None


def runs_at_import(node: ast.AST, tree: ast.Module, parents: dict[ast.AST, ast.AST]) -> bool:
    """Whether the node runs only while its module is loaded, so that the module contains its result."""
    function = function_around(node, parents)
    calls = [c for c in ast.walk(tree) if isinstance(c, ast.Call) and name_of(c.func) == function]
    return function is None or (bool(calls) and all(function_around(c, parents) is None for c in calls))


def value_of(node: ast.expr, file: str) -> Any:
    """The value of an expression of a module's constants. Raises NameError if it has others."""
    code = compile(ast.Expression(node), file, "eval")
    return eval(code, vars(module_of(file)))


@cache
def all_uses() -> list[Use]:
    """Every pattern of the sources, then those that only the loaded modules show."""
    written = [use for file, tree in sources().items() for use in uses_in(file, tree)]
    known = {use.pattern for use in written}
    loaded = [
        Use(module.__name__, compiled.pattern, compiled.flags & ~re.UNICODE, is_search=True)
        for module in modules()
        for compiled in patterns_in(module)
        if compiled.pattern not in known
    ]
    return [*written, *loaded, *repairs(), *families()]


def loops_of(use: Use) -> Loops | None:
    return ambiguous_loops(use.pattern, use.flags, is_search=use.is_search, max_factor=use.max_factor)


def repairs() -> list[Use]:
    """The patterns that the tables of repairs hold as text. They read 1,500 characters at most."""
    return [
        Use(f"the repair of {repair.form}", repair.wording, re.DOTALL, is_search=True, max_factor=500)
        for repair in (*openai_repairs(), *NATIVE_REPAIRS)
    ]


def families() -> list[Use]:
    """The patterns of families of models in fitting.yaml."""
    return [
        Use(f"fitting.yaml: {row.name}", row.models.pattern, 0, is_search=False)
        for row in table().rows
        if row.models is not None
    ]


def test_no_pattern_takes_superlinear_time() -> None:
    assert len(all_uses()) > 20
    assert len(repairs()) > 10

    seen = [use for use in all_uses() if not use.place.startswith(UNSEEN)]
    ambiguous = {use.place: (use.pattern, loops) for use in seen if (loops := loops_of(use))}

    assert ambiguous == {}


def test_patterns_have_only_the_names_that_the_search_knows() -> None:
    for file, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("re", "regex"), f"{file}:{node.lineno}: write `import re`"
            if isinstance(node, ast.Import):
                assert not any(a.name == "regex" or (a.name == "re" and a.asname) for a in node.names), file


def modules() -> list[ModuleType]:
    names = [
        found.name
        for package in PACKAGES
        for found in pkgutil.walk_packages([str(ROOT / package)], prefix=f"{package}.")
        if not found.name.endswith("__main__")
    ]
    return [importlib.import_module(name) for name in names]


def patterns_in(module: ModuleType) -> Iterator[re.Pattern[Any]]:
    """The compiled patterns among a module's names, in its classes and in its collections."""
    pending = [value for name, value in vars(module).items() if name != "__builtins__"]
    seen = set()
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, re.Pattern):
            yield value
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            pending.extend(vars(value).values())
        elif isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list | tuple | set | frozenset):
            pending.extend(value)


# --- the analysis itself

LINEAR = [
    (r"[a-z]+", True, "a"),
    (r"[!-~]{1,128}", False, "a"),
    (r"//[^/]*@", True, "/"),
    (r"\d\s*[-+]\s*\d", True, "1 "),
    (r"^(.*/)?([a-z]+\.)*x?", True, "a./"),
    (r"(?!.*mark).*", False, "mar"),
    (r"(a|b)*c", False, "ab"),
    (r"[a-z]+://.+", False, "a"),
    (r"(?<=\S)(?=\s)", True, " "),
    (r"-v\d+:\d+$", True, "-v1"),
    (r"a[^.]{0,20}b", True, "a"),
]
SUPERLINEAR = [
    (r"[A-Za-z0-9_-]+__thought__[A-Za-z0-9_-]+", False, "__thought__", "!"),
    (r"\s*\S+", True, " ", ""),
    (r"[a-z]+://.+", True, "a", ""),
    (r"(?!.*mark).*x", True, "a", ""),
    (r"a*a*", False, "a", "b"),
    (r"a*[ab]*?$", False, "a", "c"),
    (r".*,.*,", False, ",a", "!"),
    (r"\s+$", True, " ", "x"),
    (r"(?i:a+)A+b", False, "A", "!"),
]
WORSE = [
    *(r"a{1,5000}b", r"a{1,200}b{0,9}a{1,200}$", r"(?:a{1,200}){2,}b"),
    *(r"(a+)+b", r"(a|a)*b", r"(a?b?)*c", r"(a*)*b", r"([a-z]+\d?)*!", r"(b(a*)?)*c"),
]


@pytest.mark.parametrize(("pattern", "is_search", "unit"), LINEAR)
def test_a_linear_pattern_is_not_blamed(pattern: str, is_search: bool, unit: str) -> None:
    assert ambiguous_loops(pattern, is_search=is_search) is None
    assert pattern_growth(pattern, is_search, unit, "") < MOST


@pytest.mark.parametrize(("pattern", "is_search", "unit", "end"), SUPERLINEAR)
def test_a_superlinear_pattern_is_found(pattern: str, is_search: bool, unit: str, end: str) -> None:
    assert ambiguous_loops(pattern, is_search=is_search) is not None
    assert pattern_growth(pattern, is_search, unit, end) > MOST


@pytest.mark.parametrize("pattern", WORSE)
def test_patterns_that_take_too_long_to_try_are_found(pattern: str) -> None:
    assert ambiguous_loops(pattern) is not None


def pattern_growth(pattern: str, is_search: bool, unit: str, end: str) -> float:
    compiled = re.compile(pattern)
    apply = compiled.findall if is_search else compiled.fullmatch
    n = 300 // len(unit)
    small, large = unit * n + end, unit * 8 * n + end
    return growth(lambda: apply(small), lambda: apply(large))
