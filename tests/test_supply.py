"""Known vulnerabilities fail the check, and so does no silence about them."""

from __future__ import annotations

from tests.supply import verdict

SAFE = {"name": "orjson", "version": "3.11.4", "vulns": []}
FAULTY = {"name": "aiohttp", "version": "3.9.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.9.2"]}]}
UNKNOWN = {"name": "numpy", "skip_reason": "not found"}


def test_a_known_vulnerability_is_named_with_its_remedy_and_fails() -> None:
    said, is_well = verdict([SAFE, FAULTY, UNKNOWN])

    assert not is_well
    assert said == "2 of 3 packages looked up\naiohttp 3.9.0: PYSEC-1, mended in 3.9.2"


def test_without_one_it_passes() -> None:
    assert verdict([SAFE]) == ("1 of 1 packages looked up", True)


def test_where_nothing_can_be_looked_up_that_is_told() -> None:
    said, is_well = verdict([UNKNOWN])

    assert is_well
    assert said.startswith("NOT LOOKED UP")
