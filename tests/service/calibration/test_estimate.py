from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from service.calibration.estimate import estimate
from service.calibration.grading.comparisons import CONTAINS
from service.calibration.grading.judge import Judge
from service.calibration.journal import open_journal
from service.calibration.run import calibrate
from service.domain.arm import Price
from service.meter.worst_price import LONGEST_ANSWER_TOKENS
from tests.service.calibration.provider import Provider, prompts

PROMPTS = prompts("6 * 7?", "40 + 2?", expected="42")


async def test_calls_in_the_journal_cost_nothing_more(provider: Provider, tmp_path: Path) -> None:
    provider.says("good", "42")
    arms = [provider.arm("good"), provider.arm("other"), provider.arm("small", context_window=2)]
    with open_journal(tmp_path / "journal") as journal:
        calls = provider.calls(journal=journal)
        await calibrate(PROMPTS[:1], arms[:1], CONTAINS, calls)

        good, other, small = estimate(PROMPTS, arms, CONTAINS, calls)

    assert (good.n_calls, good.n_known, good.n_unable) == (1, 1, 0)
    assert (other.n_calls, other.n_known, other.n_unable) == (2, 0, 0)
    assert [small.n_calls, small.n_unable, small.worst_usd] == [0, 2, 0]
    assert other.expected_usd > good.expected_usd > 0
    assert other.worst_usd == sum(calls.worst_usd(arms[1], prompt.body) for prompt in PROMPTS)


async def test_what_a_run_costs_is_at_most_the_worst_of_its_estimate(provider: Provider) -> None:
    provider.says("good", "42")
    calls = provider.calls()

    [estimated] = estimate(PROMPTS, [provider.arm("good")], CONTAINS, calls)
    await calibrate(PROMPTS, [provider.arm("good")], CONTAINS, calls)

    assert 0 < calls.cap.spent_usd <= estimated.worst_usd


def test_the_worst_price_follows_the_limit_of_the_answer(provider: Provider) -> None:
    arm = provider.arm("good", price=Price(Decimal(0), Decimal(10)))
    calls = provider.calls(max_answer_tokens=1000)
    [unlimited], [limited] = prompts("Why?"), prompts("Why?", max_tokens=50)
    [newer_name] = prompts("Why?", max_completion_tokens=70)

    assert calls.worst_usd(arm, unlimited.body) == Decimal("0.01")
    assert calls.worst_usd(arm, limited.body) == Decimal("0.0005")
    assert calls.worst_usd(arm, newer_name.body) == Decimal("0.0007")
    assert calls.worst_usd(provider.arm("good", price=arm.price, max_output_tokens=10), unlimited.body) == (
        Decimal("0.0001")
    )


@pytest.mark.parametrize(
    ("settings", "n_tokens"),
    [
        ({"drop": frozenset({"max_tokens"}), "max_output_tokens": 4000}, 4000),
        ({"drop": frozenset({"max_tokens"})}, LONGEST_ANSWER_TOKENS),
        ({"drop": frozenset({"limit"}), "rename": {"max_tokens": "limit"}}, LONGEST_ANSWER_TOKENS),
        ({"rename": {"max_tokens": "max_new_tokens"}}, 1000),
        ({"set_fields": {"max_tokens": 5000}}, 5000),
        ({"drop": frozenset({"max_tokens"}), "set_fields": {"max_completion_tokens": 300}}, 300),
        ({"set_fields": {"temperature": 0}}, 1000),
    ],
)
def test_the_worst_price_follows_the_limit_that_the_settings_of_a_model_leave(
    provider: Provider, settings: dict[str, Any], n_tokens: int
) -> None:
    arm = provider.arm("good", price=Price(Decimal(0), Decimal(10)), **settings)
    [prompt] = prompts("Why?")

    assert provider.calls(max_answer_tokens=1000).worst_usd(arm, prompt.body) == n_tokens * Decimal("1e-5")


def test_grading_known_answers_is_estimated_too(provider: Provider) -> None:
    [estimated] = estimate(
        PROMPTS,
        [provider.arm("gpt-x", price=Price(Decimal(0), Decimal(0)))],
        Judge([provider.arm("claude-judge")], "Be fair."),
        provider.calls(),
    )

    assert estimated.expected_usd > Decimal("0.002")
    assert estimated.worst_usd == estimated.expected_usd
