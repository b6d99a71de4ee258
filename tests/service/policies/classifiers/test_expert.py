"""Experts that users describe in natural language."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import numpy as np
import pytest

from benchmarks.classifiers.experts import AsyncEncoder, answers_of, read_sets
from embeddings.minilm import MiniLM
from service.policies.classifiers.expert import Expert, ExpertClassifier, expert_classifier
from tests.fakes import FakeEncoder
from tests.service.policies.classifiers.queries import query_of

EXPERTS = {
    "coding": Expert("Programming: write code, debug programs, databases"),
    "cooking": Expert("Recipes, cooking, baking and meal plans"),
}


async def matched(classifier: ExpertClassifier, encoder: AsyncEncoder, text: str) -> str | None:
    tag = await classifier.tag(query_of(text), await encoder.encode(text))
    return None if tag is None else tag.value


async def test_a_request_goes_to_the_expert_that_its_words_describe(minilm: MiniLM) -> None:
    encoder = AsyncEncoder(minilm)
    classifier = await expert_classifier(EXPERTS, encoder)

    assert await matched(classifier, encoder, "Why does my SQL query return no rows?") == "coding"
    assert await matched(classifier, encoder, "How long do I bake a cheesecake?") == "cooking"
    assert await matched(classifier, encoder, "Who was king of Prussia in 1760?") is None


async def test_small_talk_is_for_no_expert_unless_one_is_described_by_it(minilm: MiniLM) -> None:
    encoder = AsyncEncoder(minilm)
    billing = {"billing": Expert("invoices, payments, refunds and discount codes")}
    reception = {**billing, "reception": Expert("good morning, good evening and other greetings")}
    without, with_reception = [await expert_classifier(e, encoder) for e in (billing, reception)]

    for text in ("hi", "good evening everyone", "ok", "cool, thanks a lot"):
        assert await matched(without, encoder, text) is None, text
    assert await matched(with_reception, encoder, "good evening, and greetings!") == "reception"


async def test_examples_make_a_request_match(minilm: MiniLM) -> None:
    encoder = AsyncEncoder(minilm)
    history = Expert("Our archive", examples=("Who was king of France in 1680?",))
    classifier = await expert_classifier({**EXPERTS, "archive": history}, encoder)

    assert await matched(classifier, encoder, "Who was king of Prussia in 1760?") == "archive"


async def test_experts_of_invented_sets_are_found(minilm: MiniLM) -> None:
    sets = read_sets()[:2]
    answers = await asyncio.gather(*(answers_of(one, AsyncEncoder(minilm)) for one in sets))

    hits = [
        answer == expert
        for one, found in zip(sets, answers, strict=True)
        for answer, (expert, _) in zip(found, one.prompts, strict=True)
        if expert is not None
    ]
    assert np.mean(hits) >= 0.8


def test_the_invented_sets_have_the_size_that_their_figures_name() -> None:
    sets = read_sets()

    assert len(sets) == 10
    assert all(4 <= len(one.experts) <= 8 and len(one.prompts) >= 50 for one in sets)


async def test_the_tag_names_the_embedding_and_costs_nothing() -> None:
    encoder = FakeEncoder()
    classifier = await expert_classifier(EXPERTS, encoder)

    tag = await classifier.tag(query_of("debug programs"), await encoder.encode("debug programs"))

    assert tag is not None
    assert (tag.name, tag.value, tag.cost_usd, tag.source) == ("expert", "coding", Decimal(0), "embedding")
    assert 0.5 < tag.confidence <= 1


async def test_without_a_vector_there_is_no_expert() -> None:
    assert await (await expert_classifier(EXPERTS, FakeEncoder())).tag(query_of("debug"), None) is None


@pytest.mark.parametrize("description", ["x", "...", "Recipes", "Kochen, Backen und Rezepte", "编程、数据库"])
def test_every_description_has_a_phrase(description: str) -> None:
    assert all(Expert(description).phrases)
    assert Expert(description).phrases
