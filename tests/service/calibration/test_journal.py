from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from service.calibration.grading.comparisons import CONTAINS, EXACT
from service.calibration.journal import open_journal
from service.calibration.run import calibrate
from service.errors import StartupError
from tests.service.calibration.provider import COST_USD, Provider, prompts

PROMPTS = prompts("6 * 7?", "40 + 2?", expected="42")


async def test_a_second_run_pays_for_nothing(provider: Provider, tmp_path: Path) -> None:
    provider.says("good", "42")
    path, arms = tmp_path / "journal", [provider.arm("good")]

    with open_journal(path) as journal:
        first = await calibrate(PROMPTS, arms, EXACT, provider.calls(journal=journal))
    with open_journal(path) as journal:
        second = await calibrate(PROMPTS, arms, CONTAINS, provider.calls(journal=journal, max_usd="0.00001"))

    assert second == first
    assert provider.asked("good") == 2


@pytest.mark.parametrize(
    ("setting", "n_calls"),
    [
        ({"set_fields": {"temperature": 0.1}}, 4),
        ({"rename": {"max_tokens": "max_new_tokens"}}, 4),
        ({"drop": frozenset({"stop"})}, 4),
        ({"model": "good-2"}, 4),
        ({"aliases": ("g",)}, 2),
        ({"price": None}, 2),
    ],
)
async def test_an_arm_that_answers_otherwise_is_asked_again(
    provider: Provider, tmp_path: Path, setting: dict[str, Any], n_calls: int
) -> None:
    provider.says("good", "42")
    provider.says("good-2", "42")

    with open_journal(tmp_path / "journal") as journal:
        for arm in (provider.arm("good"), provider.arm("good", **setting)):
            await calibrate(PROMPTS, [arm], EXACT, provider.calls(journal=journal))

    assert len(provider.upstream.bodies) == n_calls


async def test_another_default_temperature_or_limit_asks_again(provider: Provider, tmp_path: Path) -> None:
    provider.says("good", "42")
    arms = [provider.arm("good")]

    with open_journal(tmp_path / "journal") as journal:
        for options in ({}, {"default_temperature": 0.3}, {"max_answer_tokens": 7}):
            await calibrate(PROMPTS, arms, EXACT, provider.calls(journal=journal, **options))

    assert provider.asked("good") == 6


async def test_a_line_that_was_cut_off_is_forgotten(provider: Provider, tmp_path: Path) -> None:
    provider.says("good", "42")
    path, arms = tmp_path / "journal", [provider.arm("good")]
    with open_journal(path) as journal:
        await calibrate(PROMPTS, arms, EXACT, provider.calls(journal=journal))
    whole = path.read_bytes()

    for end in range(0, len(whole), 3):
        path.write_bytes(whole[:end])
        with open_journal(path) as journal:
            n_known = len(journal.replies)
            again = await calibrate(PROMPTS, arms, EXACT, provider.calls(journal=journal))
        with open_journal(path) as journal:
            assert len(journal.replies) == 2
        assert n_known == whole[:end].count(b'"ended"') - (b'"ended"' in whole[:end].rpartition(b"\n")[2])
        assert [a.score for a in again] == [1.0, 1.0]


async def test_a_call_that_never_ended_counts_at_its_worst_price(provider: Provider, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with open_journal(path) as journal:
        journal.started("a", Decimal(3))
    with open_journal(path) as journal:
        assert journal.spent_usd == 3
        journal.started("a", Decimal(2))

    with open_journal(path) as journal:
        assert journal.spent_usd == 5


async def test_a_complete_calibration_leaves_its_dollars_behind(provider: Provider, tmp_path: Path) -> None:
    provider.says("good", "42")
    path = tmp_path / "journal"

    with open_journal(path) as journal:
        capped = provider.calls(journal=journal, max_usd="0.011", concurrency=1)
        await calibrate(PROMPTS, [provider.arm("good")], EXACT, capped)
    with open_journal(path) as journal:
        spent_by_the_capped_run = journal.spent_usd
        await calibrate(PROMPTS, [provider.arm("good")], EXACT, provider.calls(journal=journal))
    with open_journal(path) as journal:
        spent_by_the_complete_run = journal.spent_usd

    assert [spent_by_the_capped_run, spent_by_the_complete_run] == [COST_USD, 0]


def test_two_processes_never_write_one_journal(tmp_path: Path) -> None:
    with (
        open_journal(tmp_path / "journal"),
        pytest.raises(StartupError, match="another calibration is writing it"),
        open_journal(tmp_path / "journal"),
    ):
        pass


@pytest.mark.parametrize("content", [b'{"prompt": "Why?"}\n', b"Why?", b"\0\0\0"])
def test_a_file_that_is_no_journal_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(content)

    with pytest.raises(StartupError, match="is not a journal"), open_journal(path):
        pass

    assert path.read_bytes() == content


@pytest.mark.parametrize("line", [b"?", b"[]", b'{"ended": "a"}', b'{"started": "a", "worst_usd": "x"}'])
def test_a_line_that_is_none_of_a_journal_is_reported_with_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal"
    with open_journal(path):
        pass
    path.write_bytes(path.read_bytes() + line + b"\n")

    with pytest.raises(StartupError, match=r"journal line 2: is not a line of a journal"), open_journal(path):
        pass
