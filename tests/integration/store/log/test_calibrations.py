"""The contract of stored calibrations, on the fake and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from service.domain.calibration import Calibration
from service.domain.ports import CalibrationStore
from service.store.connection.pool import Database
from service.store.log.calibrations import PostgresCalibrationStore
from tests.fakes_calibration import FakeCalibrationStore
from tests.fakes_store import FakeStore
from tests.integration.stores import NOW, TENANT

TEXT = "NUL \0, an emoji \U0001f642 and “quotes”"


@pytest.fixture
def store(backing: FakeStore | Database) -> CalibrationStore:
    return (
        FakeCalibrationStore(backing) if isinstance(backing, FakeStore) else PostgresCalibrationStore(backing)
    )


def a_calibration(**changes: Any) -> Calibration:
    calibration = Calibration(
        calibration_id=uuid4(),
        tenant=TENANT,
        options={"models": ["small"], "grader": "exact"},
        options_digest=b"\x00\xff",
        prompts=[{"key": "k", "body": {"messages": [{"role": "user", "content": TEXT}]}, "weight": 0.25}],
        n_total=6,
        max_usd=Decimal("1.50"),
        started_at=NOW,
        updated_at=NOW,
    )
    return replace(calibration, **changes)


async def test_a_calibration_comes_back_as_it_was(store: CalibrationStore) -> None:
    calibration = a_calibration()
    await store.keep(calibration)

    assert await store.find(TENANT, calibration.calibration_id) == calibration


async def test_a_limit_of_no_dollars_is_kept(store: CalibrationStore) -> None:
    calibration = a_calibration(max_usd=Decimal(0))
    await store.keep(calibration)

    assert await store.find(TENANT, calibration.calibration_id) == calibration


async def test_keeping_it_again_shows_what_became_of_it(store: CalibrationStore) -> None:
    begun = a_calibration()
    ended = replace(
        begun,
        prompts=None,
        state="done",
        n_done=6,
        n_problems=1,
        spent_usd=Decimal("0.123456789"),
        rows={"imported": 5},
        report={"text": TEXT},
        updated_at=NOW + timedelta(seconds=9),
        ended_at=NOW + timedelta(seconds=9),
    )
    await store.keep(begun)
    await store.keep(ended)

    assert await store.find(TENANT, begun.calibration_id) == ended


async def test_an_error_is_kept_without_what_postgresql_cannot_store(store: CalibrationStore) -> None:
    calibration = a_calibration(state="failed", error="it broke")
    await store.keep(calibration)

    assert await store.find(TENANT, calibration.calibration_id) == calibration


async def test_tenants_do_not_see_each_others_calibrations(store: CalibrationStore) -> None:
    calibration = a_calibration()
    await store.keep(calibration)
    await store.delete("other", calibration.calibration_id)

    assert await store.find("other", calibration.calibration_id) is None
    assert await store.unfinished("other", calibration.options_digest) is None
    assert await store.newest("other", 10) == []
    assert await store.find(TENANT, calibration.calibration_id) == calibration


async def test_the_newest_come_first_without_prompts_and_report(store: CalibrationStore) -> None:
    ages = [a_calibration(started_at=NOW + timedelta(hours=n), report={"n": n}) for n in range(3)]
    for calibration in ages:
        await store.keep(calibration)

    bare = [replace(calibration, prompts=None, report=None) for calibration in reversed(ages)]
    assert list(await store.newest(TENANT, 2)) == bare[:2]


async def test_only_the_newest_unfinished_of_the_same_options_goes_on(store: CalibrationStore) -> None:
    older, newer = (a_calibration(state="stopped", started_at=NOW + timedelta(hours=n)) for n in (0, 1))
    done = a_calibration(state="done", started_at=NOW + timedelta(hours=2))
    other = a_calibration(options_digest=b"other", started_at=NOW + timedelta(hours=3))
    for calibration in (older, newer, done, other):
        await store.keep(calibration)

    assert await store.unfinished(TENANT, older.options_digest) == newer
    assert await store.unfinished(TENANT, b"none") is None


async def test_the_process_that_runs_a_calibration_learns_that_it_is_to_stop(store: CalibrationStore) -> None:
    calibration = a_calibration()

    assert await store.keep(calibration) is False
    await store.request_stop("other", calibration.calibration_id)
    assert await store.keep(calibration) is False
    await store.request_stop(TENANT, calibration.calibration_id)
    assert await store.keep(calibration) is True


async def test_a_calibration_that_goes_on_is_not_stopped_by_an_earlier_wish(store: CalibrationStore) -> None:
    calibration = a_calibration()
    await store.keep(calibration)
    await store.request_stop(TENANT, calibration.calibration_id)

    assert await store.keep(replace(calibration, state="stopped")) is False
    assert await store.keep(calibration) is False


async def test_a_deleted_calibration_is_gone(store: CalibrationStore) -> None:
    calibration = a_calibration()
    await store.keep(calibration)

    await store.delete(TENANT, calibration.calibration_id)

    assert await store.find(TENANT, calibration.calibration_id) is None
