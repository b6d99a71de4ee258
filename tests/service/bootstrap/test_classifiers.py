"""Which classifiers a start opens."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from service.bootstrap.classifiers import open_classifiers
from service.errors import StartupError
from service.policies.classifiers.features import TextFeatures
from service.policies.classifiers.shipped import shipped_heads
from service.settings.policies import PolicySettings
from tests.fakes import FakeEncoder


def encoder_named(name: str) -> FakeEncoder:
    encoder = FakeEncoder()
    encoder.name = name
    return encoder


def policies(**section: Any) -> PolicySettings:
    return PolicySettings.model_validate(section)


TRAINED_ON = shipped_heads(TextFeatures())[0].encoder
EXPERTS = {"coding": {"description": "Programming"}}


async def test_only_the_classifiers_of_needed_tags_are_opened() -> None:
    encoder = encoder_named(TRAINED_ON)

    assert [c.name for c in await open_classifiers(policies(task="intent"), encoder)] == ["intent"]
    assert [c.name for c in await open_classifiers(policies(experts=EXPERTS), encoder)] == ["expert"]
    assert await open_classifiers(policies(), encoder) == ()


async def test_with_another_encoder_the_heads_are_off_and_the_start_says_so() -> None:
    with capture_logs() as lines:
        opened = await open_classifiers(policies(tags=["difficulty"]), encoder_named("other"))

    assert opened == ()
    assert [(line["event"], line["tag"], line["encoder"]) for line in lines] == [
        ("classifier_off", "difficulty", "other")
    ]


async def test_experts_that_cannot_be_embedded_stop_the_start() -> None:
    encoder = encoder_named(TRAINED_ON)
    encoder.is_down = True

    with pytest.raises(StartupError, match=r"policies\.experts: the descriptions cannot be embedded"):
        await open_classifiers(policies(experts=EXPERTS), encoder)
