"""Which classifiers a start opens."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.bootstrap.classifiers import open_classifiers
from service.errors import StartupError
from service.policies.classifier import Classifier
from service.policies.classifiers.features import TextFeatures
from service.policies.classifiers.shipped import shipped_heads
from service.settings.settings import Settings
from tests.fakes import FakeEncoder


def encoder_named(name: str) -> FakeEncoder:
    encoder = FakeEncoder()
    encoder.name = name
    return encoder


async def opened(encoder: FakeEncoder, **section: Any) -> tuple[Classifier, ...]:
    async with AsyncExitStack() as stack:
        settings = Settings.model_validate({"policies": section})
        return await open_classifiers(settings, {}, encoder, stack)


TRAINED_ON = shipped_heads(TextFeatures())[0].encoder
EXPERTS = {"coding": {"description": "Programming"}}


async def test_only_the_classifiers_of_needed_tags_are_opened() -> None:
    encoder = encoder_named(TRAINED_ON)

    assert [c.name for c in await opened(encoder, task="intent")] == ["intent"]
    assert [c.name for c in await opened(encoder, experts=EXPERTS)] == ["expert"]
    assert await opened(encoder) == ()


async def test_with_another_encoder_the_heads_are_off_and_the_start_says_so() -> None:
    with capture_logs() as lines:
        classifiers = await opened(encoder_named("other"), tags=["difficulty"])

    assert classifiers == ()
    assert [(line["event"], line["tag"], line["encoder"]) for line in lines] == [
        ("classifier_off", "difficulty", "other")
    ]


async def test_experts_that_cannot_be_embedded_stop_the_start() -> None:
    encoder = encoder_named(TRAINED_ON)
    encoder.is_down = True

    with pytest.raises(StartupError, match=r"policies\.experts: the descriptions cannot be embedded"):
        await opened(encoder, experts=EXPERTS)
