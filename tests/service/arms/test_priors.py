from __future__ import annotations

import pytest

from service.arms.priors import REFERENCE_RATING, public_prior, quality_of
from service.domain.model_names import canonical


def quality(model: str) -> float | None:
    prior = public_prior(model)
    return None if prior is None else prior.quality


@pytest.mark.parametrize(
    "model",
    [
        "claude-3-5-sonnet",
        "claude-3.5-sonnet",
        "Claude-3-5-Sonnet-20241022",
        "claude-3-5-sonnet-latest",
        "anthropic/claude-3.5-sonnet",
        "openrouter/anthropic/claude-3.5-sonnet:free",
        "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        "vertex_ai/claude-3-5-sonnet@20241022",
    ],
)
def test_a_model_is_known_by_every_name_of_its_vendors(model: str) -> None:
    assert quality(model) == quality_of(1396)


def test_a_dated_version_in_the_table_has_its_own_prior() -> None:
    assert quality("claude-3-5-sonnet-20240620") == quality("claude-3-5-sonnet@20240620") == quality_of(1358)
    assert quality("gpt-4o-2024-05-13") == quality_of(1335)
    assert quality("gpt-4o-2024-08-06") == quality("gpt-4o") == quality_of(1324)


def test_a_released_model_does_not_have_the_prior_of_its_preview() -> None:
    assert quality("Qwen3-Max") == quality("qwen3-max-2025-09-23") == quality_of(1441)
    assert quality("qwen3-max-preview") == quality_of(1456)


@pytest.mark.parametrize(
    "model",
    [
        "ft:gpt-4o-mini-2024-07-18:org::abc",
        "deepseek-r1:8b",  # a distilled model of another size
        "gpt-4.1-turbo",
        "gpt-4o-audio-preview",
        "gemini-2.5-flash-lite",
        "claude-3-7-sonnet:thinking",
        "mistral-large",
        "mistral-large-2402",
        "llama3.1:70b",
        "my-gpt-4o",
        "gpt-4o-finetuned-20240806-x",
        "sim-large",
        "some-model",
        "",
    ],
)
def test_a_name_that_may_be_another_model_is_not_matched(model: str) -> None:
    assert public_prior(model) is None


@pytest.mark.parametrize(
    "model",
    [
        "Meta-Llama-3.1-70B-Instruct",
        "meta-llama/llama-3.1-70b-instruct",
        "together_ai/meta-llama/Llama-3.1-70B-Instruct",
    ],
)
def test_a_maker_may_be_part_of_the_name(model: str) -> None:
    assert canonical(model) == "llama-3-1-70b-instruct"
    assert quality(model) == quality_of(1296)


def test_a_rating_becomes_the_chance_to_beat_the_reference() -> None:
    assert quality_of(REFERENCE_RATING) == pytest.approx(1 / 2)
    assert quality_of(REFERENCE_RATING + 400) == pytest.approx(10 / 11)
    assert quality_of(REFERENCE_RATING - 400) == pytest.approx(1 / 11)


def test_every_prior_names_its_source() -> None:
    prior = public_prior("gpt-4o")

    assert prior is not None
    assert prior.source == "2026-10-02"
