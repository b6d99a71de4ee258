"""Run the test suites of the vendors' own packages against a router: `python -m tests.sdk_suites [--record]`.

It prints the results of each file, and fails if less than 95 % of the claimed tests pass. With `--record` it
writes docs/sdk-suites.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.sdk_suites import page
from tests.sdk_suites.results import Result, Tally, read_junit, share, tallied
from tests.sdk_suites.router import permissive_router
from tests.sdk_suites.sources import FOLDER, PYTHON, TESTS, amend, fetch, unpacked, versions
from tests.sdk_suites.suites import SUITES, Suite

LEAST_SHARE = 0.95


def run(suite: Suite, url: str) -> list[Tally]:
    """Run the files of a suite against the router at that address, as written and then amended."""
    folder = unpacked(suite)
    as_written = tested(suite, folder, url)
    amend(suite, folder)
    return tallied(suite, as_written, tested(suite, folder, url))


def tested(suite: Suite, folder: Path, url: str) -> list[Result]:
    report = FOLDER / f"{suite.package}.xml"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [
            *(str(PYTHON), "-m", "pytest", "-p", "no:xdist", "-o", "addopts=", "--quiet", "--tb=line"),
            *(f"--junitxml={report}", *(str(TESTS / file.path) for file in suite.files)),
        ],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "TEST_API_BASE_URL": url + suite.prefix},
        capture_output=True,
        text=True,
    )
    if not report.exists():
        raise SystemExit(f"{suite.package}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return list(read_junit(report))


def main() -> int:
    fetch()
    with permissive_router() as url:
        tallies = [tally for suite in SUITES for tally in run(suite, url)]
    print(page.table(tallies, versions()))
    for tally in tallies:
        for failure in tally.failed:
            print(f"failed: {failure.case}: {str(failure.error)[:300]}")
    print(f"\n{share(tallies):.1%} of the claimed tests pass.")
    if "--record" in sys.argv:
        page.write(tallies, versions(), datetime.now(UTC).date())
    return 0 if share(tallies) >= LEAST_SHARE else 1


if __name__ == "__main__":
    raise SystemExit(main())
