"""What came of the tests of one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.sdk_suites.sources import TESTS
from tests.sdk_suites.suites import Suite, SuiteFile


@dataclass(frozen=True)
class Result:
    """One test with one set of its parameters, such as the asynchronous client in strict mode.

    Args:
        test: its name without parameters.
        case: its class, and its name with parameters.
        error: None: it passed.
    """

    file: str
    test: str
    case: str
    error: str | None


@dataclass(frozen=True)
class Tally:
    """The tests of one file.

    Args:
        passed: as they are written.
        amended: passed with an amended value.
        failed: of those that are claimed.
        unclaimed: reason -> tests for it, passed or not.
    """

    package: str
    file: SuiteFile
    passed: int
    amended: int
    failed: tuple[Result, ...]
    unclaimed: Counter[str]

    @property
    def claimed(self) -> int:
        return self.passed + self.amended + len(self.failed)


def read_junit(path: Path) -> Iterator[Result]:
    """The results in a report of pytest. An error at the end of a test counts as its failure."""
    for case in ElementTree.parse(path).iter("testcase"):
        module = case.get("classname", "").rpartition(".")[0]
        file = f"{module.removeprefix('.'.join(TESTS.parts) + '.').replace('.', '/')}.py"
        faults = [child for child in case if child.tag in ("failure", "error")]
        error = (faults[0].get("message") or faults[0].text or "failed") if faults else None
        name = case.get("name", "")
        yield Result(file, name.partition("[")[0], f"{case.get('classname')}::{name}", error)


def tallied(suite: Suite, as_written: Iterable[Result], amended: Iterable[Result]) -> list[Tally]:
    """The tallies of the files of a suite, from a run as it is written and one with its amendments."""
    first = {result.case: result for result in as_written}
    second = {result.case: result for result in amended}
    return [
        _tally(suite.package, file, [r for r in first.values() if r.file == file.path], second)
        for file in suite.files
    ]


def _tally(
    package: str, file: SuiteFile, as_written: Sequence[Result], amended: Mapping[str, Result]
) -> Tally:
    unclaimed = Counter(why for r in as_written if (why := file.reason_against(r.test)) is not None)
    claimed = [r for r in as_written if file.reason_against(r.test) is None]
    failed = [r for r in claimed if r.error is not None]
    still_failed = [
        again
        for r in failed
        if (again := amended[r.case] if file.is_amended(r.test) else r).error is not None
    ]
    return Tally(
        package,
        file,
        passed=len(claimed) - len(failed),
        amended=len(failed) - len(still_failed),
        failed=tuple(still_failed),
        unclaimed=unclaimed,
    )


def share(tallies: Iterable[Tally]) -> float:
    """The share of claimed tests that pass; 0 if there are none."""
    tallies = list(tallies)
    n_claimed = sum(tally.claimed for tally in tallies)
    return sum(tally.passed + tally.amended for tally in tallies) / n_claimed if n_claimed else 0.0
