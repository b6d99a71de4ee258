from __future__ import annotations

import pytest

from service.calibration.report.encoded import WITHOUT_CONTEXTS, report_of
from service.calibration.report.text import as_text
from tests.fakes import FakeEncoder
from tests.service.calibration.report.made_up import answer, prompt

TEXTS = [f"python function number {i}" if i % 2 else f"capital of country {i}" for i in range(40)]
ANSWERS = [answer(prompt(i, text), arm, 1.0) for i, text in enumerate(TEXTS) for arm in ("a", "b")]


async def test_prompts_are_encoded_once_and_grouped_by_their_texts() -> None:
    encoder = FakeEncoder()

    report = await report_of(ANSWERS, encoder)

    assert sorted(encoder.texts) == sorted(TEXTS)
    assert len(report.topics) > 1
    assert report.notes == ()


async def test_without_the_encoder_the_report_says_what_it_lacks() -> None:
    encoder = FakeEncoder()
    encoder.is_down = True

    report = await report_of(ANSWERS, encoder)

    assert [topic.topic for topic in report.topics] == ["all prompts"]
    assert f"- {WITHOUT_CONTEXTS} (the encoder is down)." in " ".join(as_text(report).split())


async def test_a_report_of_nothing_is_a_fault() -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        await report_of([], FakeEncoder())
