"""Graded answers as evidence: on the fakes and on real PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from service.calibration.answers import GradedAnswer
from service.calibration.evidence import import_answers, row_of
from service.calibration.prompts import prompt_of
from service.domain.arm import Arm, Price
from service.learning.importing.importer import Importer
from tests.fakes import FakeEncoder
from tests.integration.stores import NOW, TENANT, Stores

PRICE = Price(Decimal(1), Decimal(2))
ARMS = {name: Arm(name, "openai", name, price=PRICE) for name in ("small", "large")} | {
    "unpriced": Arm("unpriced", "openai", "unpriced")
}
PROMPT = prompt_of(
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "Why?"},
        ],
        "task": "facts",
    }
)


def graded(arm_id: str, score: float | None, **more: object) -> GradedAnswer:
    answer = GradedAnswer(PROMPT, arm_id, score, Decimal("0.002"), 3.0, "Because.", answered_at=NOW)
    return replace(answer, **more)  # type: ignore[arg-type]


def importer(stores: Stores, days_later: int = 0) -> Importer:
    return Importer(stores.journal, stores.evidence, FakeEncoder(), TENANT, NOW + timedelta(days=days_later))


async def test_graded_answers_are_evidence_with_the_context_and_the_task_of_their_request(
    stores: Stores,
) -> None:
    answers = [graded("small", 1.0), graded("large", 0.5), graded("large", None)]

    n_added = await import_answers(importer(stores), answers, ARMS)

    sums = stores.evidence.sums(TENANT)
    logged = await stores.journal.record(TENANT, str(row_of(answers[0]).request_id))
    assert n_added == {"imported": 2}
    assert [sums["small"].reward_sum, sums["large"].reward_sum] == [1, Decimal("0.5")]
    assert [sums["small"].n_outcomes, sums["small"].latency_s_sum] == [1, 3]
    assert sums["small"].cost_usd_sum == Decimal("0.002")
    assert logged is not None
    assert logged["task"] == "facts"
    assert row_of(answers[0]).prompt == "Why?\nHello"


async def test_importing_again_changes_nothing_and_another_grade_revises(stores: Stores) -> None:
    await import_answers(importer(stores), [graded("small", 1.0)], ARMS)

    again = await import_answers(importer(stores, days_later=3), [graded("small", 1.0)], ARMS)
    revised = await import_answers(importer(stores, days_later=3), [graded("small", 0.25)], ARMS)

    sums = stores.evidence.sums(TENANT)["small"]
    assert (again, revised) == ({"known": 1}, {"imported": 1})
    assert [sums.n, sums.reward_sum, sums.n_outcomes] == [1, Decimal("0.25"), 1]


async def test_seconds_count_even_if_nobody_knows_the_dollars(stores: Stores) -> None:
    await import_answers(importer(stores), [graded("unpriced", 1.0, cost_usd=None)], ARMS)

    sums = stores.evidence.sums(TENANT)["unpriced"]
    assert [sums.n_outcomes, sums.n_unpriced, sums.latency_s_sum] == [1, 1, 3]
