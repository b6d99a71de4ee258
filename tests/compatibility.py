"""Write docs/compatibility-tests.md, which names the tests that prove docs/compatibility.md.

`python -m tests.compatibility` reads the names in tests/compatibility.yaml and finds each test's file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "compatibility-tests.md"
HEAD = """\
# Tests of each line of the compatibility page

Reference, generated from `tests/compatibility.yaml` by `python -m tests.compatibility`.

Each line of [compatibility](compatibility.md) with the tests that prove it.
"""

Proofs = dict[str, dict[str, list[str]]]  # section -> line -> names of tests


def proofs() -> Proofs:
    """The names of the tests of every line, in the order of the page."""
    loaded: Proofs = yaml.safe_load((ROOT / "tests" / "compatibility.yaml").read_text("utf-8"))
    return loaded


def rendered() -> str:
    """The page. Raises ValueError: a test does not exist, or several files have a test of that name."""
    files = dict(_test_files())
    blocks = [HEAD]
    for section, lines in proofs().items():
        blocks.append(f"\n## {section}\n")
        for line, names in lines.items():
            tests = "".join(f"- `{located(name, files)}`\n" for name in names)
            blocks.append(f"\n**{line}**\n\n{tests}")
    return "".join(blocks)


def _test_files() -> Iterator[tuple[str, str]]:
    """The path of every test file, and its text."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def located(test: str, files: dict[str, str]) -> str:
    """The test as PATH::TEST, given as TEST or FILE::TEST."""
    file, _, name = test.rpartition("::")
    definition = re.compile(rf"^(?:async )?def {name}\(", re.M)
    there = [path for path, text in files.items() if definition.search(text)]
    paths = [path for path in there if not file or path.endswith(f"/{file}")]
    if len(paths) != 1:
        raise ValueError(f"tests/compatibility.yaml: {test} must be one test, found in {paths or 'no file'}")
    return f"{paths[0]}::{name}"


if __name__ == "__main__":
    PAGE.write_text(rendered(), "utf-8")
