"""How results of the vendors' suites are counted; the suites themselves run in `make check-sdk-suites`."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from tests.sdk_suites import page, sources
from tests.sdk_suites.results import Result, Tally, read_junit, share, tallied
from tests.sdk_suites.sources import ROOT, amend
from tests.sdk_suites.suites import SUITES, Amendment, Suite, SuiteFile

FILE = SuiteFile(
    "test_things.py",
    {r"test_\w+_delete": "not offered"},
    (Amendment("test_(make|list)", r"limit=0", "limit=1", "0 is refused"),),
)
SUITE = Suite("things", "/v1", (FILE, SuiteFile("test_none.py")))
REPORT = """<testsuites><testsuite>
<testcase classname="tests.api_resources.beta.test_things.TestThings" name="test_make[loose]" />
<testcase classname="tests.api_resources.beta.test_things.TestThings" name="test_make[strict]">
  <failure message="NotFound">trace</failure></testcase>
<testcase classname="tests.api_resources.beta.test_things.TestThings" name="test_end">
  <error>at its end</error></testcase>
</testsuite></testsuites>"""


def result(test: str, *, case: str = "strict", error: str | None = None) -> Result:
    return Result("test_things.py", test, f"TestThings::{test}[{case}]", error)


def test_a_report_is_read_test_by_test(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)

    results = list(read_junit(tmp_path / "report.xml"))

    assert [(r.file, r.test, r.error) for r in results] == [
        ("beta/test_things.py", "test_make", None),
        ("beta/test_things.py", "test_make", "NotFound"),
        ("beta/test_things.py", "test_end", "at its end"),
    ]
    assert len({r.case for r in results}) == 3


def test_a_test_counts_as_written_then_amended_then_as_failed() -> None:
    as_written = [
        result("test_make"),
        result("test_make", case="loose", error="limit"),
        result("test_list", error="limit"),
        result("test_other", error="broken"),
        result("test_old_delete", error="404"),
        result("test_new_delete"),
    ]
    amended = [
        result("test_make", error="only amended"),
        result("test_make", case="loose"),
        result("test_list", error="still"),
        result("test_other"),
        result("test_old_delete"),
        result("test_new_delete"),
    ]

    things, none = tallied(SUITE, as_written, amended)

    assert (things.passed, things.amended, things.claimed) == (1, 1, 4)
    assert [failure.error for failure in things.failed] == ["still", "broken"]
    assert things.unclaimed == Counter({"not offered": 2})
    assert none.claimed == 0


def test_the_share_is_of_all_claimed_tests() -> None:
    def tally(passed: int, amended: int, failed: int) -> Tally:
        return Tally("things", FILE, passed, amended, (result("t", error="e"),) * failed, Counter(x=9))

    assert share([tally(1, 1, 1), tally(1, 0, 0)]) == 0.75
    assert share([]) == share([tally(0, 0, 0)]) == 0.0


def test_an_amendment_that_fits_nothing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / sources.TESTS / "test_things.py"
    path.parent.mkdir(parents=True)
    (path.parent / "test_none.py").write_text("import os\n")
    path.write_text("import os\nclient.list(limit=0)\n")

    amend(SUITE, tmp_path)

    assert path.read_text() == "import os\nfrom tests import router_objects\nclient.list(limit=1)\n"
    assert (tmp_path / "tests" / "router_objects.py").exists()
    with pytest.raises(ValueError, match="limit=0"):
        amend(SUITE, tmp_path)


def test_the_sources_are_those_of_the_packages_that_the_tests_use() -> None:
    locked = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements-dev.txt").read_text("utf-8"), re.M))
    of_suites = dict(
        re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements-sdk-suites.txt").read_text("utf-8"), re.M)
    )

    for suite in SUITES:
        version = sources.versions()[suite.package]
        assert (locked[suite.package], of_suites[suite.package]) == (version, version)


def test_the_page_has_every_file_and_every_reason() -> None:
    text = page.PAGE.read_text("utf-8")

    for suite in SUITES:
        for file in suite.files:
            assert f"`{file.path}`" in text
            for amendment in file.amendments:
                assert amendment.why in text
            for why in file.unclaimed.values():
                assert why in text


def test_a_test_that_fails_is_on_the_page() -> None:
    tally = Tally("things", FILE, 1, 0, (result("test_make", error="e"),), Counter())

    text = page.rendered([tally], {"things": "1.0"}, date(2026, 11, 30))

    assert "Last run: 2026-11-30. 50.0% of the claimed tests pass." in text
    assert "- things, `test_things.py::test_make`" in text
