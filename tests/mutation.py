"""Mutation tests: do the tests notice small faults in the learner and in the normaliser of answers?

    python -m tests.mutation             a sample that is always the same for the same code
    python -m tests.mutation --all       every mutant
    python -m tests.mutation bandit.ope  the modules whose names begin so

mutmut changes the code, one fault at a time, and runs the tests that execute the changed function. What it
changes, and by which tests, is in pyproject.toml under [tool.mutmut]. `mutmut show NAME` shows a mutant.
Exits with 1 if less than 85 % of the mutants were noticed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.doc_commands import say

FOLDER = Path("mutants")  # where mutmut works
SAMPLE = 400
SEED = 1
LEAST_SHARE = 0.85
# mutmut lists the mutants when it runs one; this one is as good as any.
FIRST = "bandit.welch.x_difference__mutmut_1"
# Exit codes of a mutant's tests, as mutmut stores them.
NOTICED = {1, 3, 24, 36, 152, 255, -24, -11, -9}  # a test failed, took too long, or the process died
MISSED = {0, 5, 33}  # every test passed, or no test executes the function


def mutate(names: Sequence[str], jobs: int) -> None:
    """Run mutmut on these mutants."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs), *names]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stdout[-3000:])


def exit_codes() -> dict[str, int | None]:
    """The exit code of each mutant's tests; None: it was not run."""
    known: dict[str, int | None] = {}
    for path in FOLDER.rglob("*.meta"):
        known |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return known


def drawn(names: Sequence[str], n: int) -> list[str]:
    """A sample of n names, always the same."""
    return random.Random(SEED).sample(sorted(names), min(n, len(names)))


def report(codes: Mapping[str, int | None]) -> tuple[str, float]:
    """A table of the modules with the missed mutants, and the share that was noticed."""
    noticed, total = Counter[str](), Counter[str]()
    missed = defaultdict[str, list[str]](list)
    for name, code in sorted(codes.items()):
        if code not in NOTICED | MISSED:
            raise SystemExit(f"mutmut did not finish {name}: exit code {code}")
        module = name.rpartition(".")[0]
        total[module] += 1
        noticed[module] += code in NOTICED
        if code in MISSED:
            missed[module].append(name)
    lines = [f"{'module':48}{'mutants':>8}{'noticed':>9}"]
    for module in sorted(total):
        lines.append(f"{module:48}{total[module]:8}{noticed[module] / total[module]:9.0%}")
        lines += [f"    {name}" for name in missed[module]]
    share = noticed.total() / total.total()
    lines.append(f"{'all':48}{total.total():8}{share:9.1%}")
    return "\n".join(lines), share


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", help="only modules whose names begin so")
    parser.add_argument("--all", action="store_true", help="every mutant instead of a sample")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="number of mutants")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    mutate([FIRST], options.jobs)
    names = [name for name in exit_codes() if name.startswith(tuple(options.modules) or "")]
    chosen = names if options.all else drawn(names, options.sample)
    mutate(chosen, options.jobs)
    codes = exit_codes()
    text, share = report({name: codes[name] for name in chosen})
    say(text)
    return 0 if share >= LEAST_SHARE else 1


if __name__ == "__main__":
    raise SystemExit(main())
