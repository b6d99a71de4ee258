"""The grader that runs the code of an answer with the tests of its prompt."""

from __future__ import annotations

import ast
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.calibration.grading.code_blocks import code_blocks
from service.calibration.grading.grader import Ask, FreeGrader
from service.calibration.grading.sandbox import Sandbox
from service.calibration.prompts import CalibrationPrompt
from service.domain.arm import Arm

_PYTHON = ("python", "python3", "py", "")

# Runs the tests in the names of the answer, as if they stood below it, and ends with the given status only if
# all of them passed: an answer that ends the process by itself does not pass.
_RUNNER = """
import asyncio, inspect, os, sys, types, unittest

passed = int(sys.argv.pop())
module = sys.modules["answer"] = types.ModuleType("answer")
names = vars(module)
for file in ("answer.py", "tests.py"):
    before = dict(names)
    with open(file, encoding="utf-8") as source:
        exec(compile(source.read(), file, "exec"), names)
for name, value in list(names.items()):
    if before.get(name) is value:
        continue
    is_function = inspect.isfunction(value) and value.__code__.co_filename == "tests.py"
    if name.startswith("test") and is_function:
        result = value()
        if inspect.iscoroutine(result):
            asyncio.run(result)
    elif inspect.isclass(value) and value.__module__ == "answer" and issubclass(value, unittest.TestCase):
        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(value).run(result)
        assert result.wasSuccessful()
os._exit(passed)
"""


@dataclass(frozen=True, slots=True)
class UnitTests(FreeGrader):
    """Gives 1 to an answer whose Python code passes all tests of its prompt, and 0 to any other.

    The tests are statements such as `assert`, functions `test...` and classes of `unittest`.
    """

    sandbox: Sandbox = field(default_factory=Sandbox)

    def reason_against(self, prompt: CalibrationPrompt) -> str | None:
        if prompt.tests is None or not prompt.tests.strip():
            return "tests: is required by the grader unit-tests"
        try:
            tree = ast.parse(prompt.tests)
        except (SyntaxError, ValueError) as error:
            return f"tests: must be Python: {error}"
        if (name := next(_with_parameters(tree), None)) is not None:
            return f"tests: {name} must have no parameters"
        return None

    async def grade(self, prompt: CalibrationPrompt, arm: Arm, answer: str, ask: Ask) -> float:
        passed = 64 + secrets.randbelow(32)
        files = {"answer.py": code_of(answer), "tests.py": prompt.tests or "", "run.py": _RUNNER}
        return float(await self.sandbox.status(files, "run.py", str(passed)) == passed)


def code_of(answer: str) -> str:
    """The longest block of Python in an answer, or all of the answer if it has no block."""
    python = [code for language, code in code_blocks(answer) if language in _PYTHON]
    return max(python, key=len) if python else answer


def _with_parameters(tree: ast.Module) -> Iterator[str]:
    """The test functions that need arguments."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            arguments = node.args
            n_needed = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
            if n_needed > 0 or None in arguments.kw_defaults:
                yield node.name
