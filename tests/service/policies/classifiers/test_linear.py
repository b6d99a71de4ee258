"""The shipped heads, on the encoder that they were trained on."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from benchmarks.classifiers.prompts import KEPT_APART, TRAINING, read_prompts, vectors_of
from embeddings.minilm import MiniLM
from service.domain.tags import DIFFICULTIES, INTENTS, Tag
from service.policies.classifiers.features import TextFeatures
from service.policies.classifiers.linear import LinearClassifier, NewestFeatures
from service.policies.classifiers.shipped import shipped_heads
from tests.service.policies.classifiers.queries import query_of

FLOOR = 0.82  # of a quarter of the prompts; `make evaluate-classifiers` measures all
FEATURES = TextFeatures()
HEADS = {head.name: head for head in shipped_heads(FEATURES)}


async def tag_of(name: str, text: str, minilm: MiniLM, *, n_asked_chars: int = 0) -> Tag | None:
    classifier = LinearClassifier(HEADS[name], NewestFeatures(FEATURES))
    return await classifier.tag(query_of(text, n_asked_chars=n_asked_chars), minilm.encode([text])[0])


def test_the_heads_know_the_labels_of_the_tags_and_the_default_encoder(minilm: MiniLM) -> None:
    assert {name: head.labels for name, head in HEADS.items()} == {
        "intent": INTENTS,
        "difficulty": DIFFICULTIES,
    }
    assert {head.encoder for head in HEADS.values()} == {minilm.name}


@pytest.mark.parametrize("name", HEADS)
def test_the_shipped_weights_label_prompts_that_were_kept_apart(name: str, minilm: MiniLM) -> None:
    prompts = read_prompts(KEPT_APART)[::4]
    vectors = vectors_of(minilm, [prompt.text for prompt in prompts])

    answers = [
        HEADS[name].labels[int(np.argmax(HEADS[name].probabilities(v, FEATURES.of(p.text))))]
        for v, p in zip(vectors, prompts, strict=True)
    ]

    hits = [answer == getattr(p, name) for answer, p in zip(answers, prompts, strict=True)]
    assert np.mean(hits) >= FLOOR


def test_the_kept_apart_prompts_are_none_of_the_training() -> None:
    training = {prompt.text for prompt in read_prompts(TRAINING) if prompt.text.strip()}

    assert not training & {prompt.text for prompt in read_prompts(KEPT_APART)}


@pytest.mark.parametrize(
    ("text", "intent", "difficulty"),
    [
        ("TypeError: 'NoneType' object is not iterable", "error", "simple"),
        ("Schreibe Tests für diese Funktion, auch Randfälle: def f(x): return x", "test", "medium"),
        ("", "other", "simple"),
    ],
)
async def test_a_prompt_gets_both_tags_at_no_cost(
    text: str, intent: str, difficulty: str, minilm: MiniLM
) -> None:
    tags = [await tag_of("intent", text, minilm), await tag_of("difficulty", text, minilm)]

    assert [(tag.value, tag.cost_usd, tag.source) for tag in tags if tag] == [
        (intent, Decimal(0), "linear"),
        (difficulty, Decimal(0), "linear"),
    ]
    assert all(tag and 1 / 6 <= tag.confidence <= 1 for tag in tags)


@pytest.mark.parametrize("text", ["x" * 100_000, "\ud800", "```", "ї" * 3000, "的" * 5000, " \n\t "])
async def test_odd_texts_get_a_tag(text: str, minilm: MiniLM) -> None:
    assert await tag_of("intent", text, minilm) is not None


async def test_without_a_vector_there_is_no_tag() -> None:
    classifier = LinearClassifier(HEADS["intent"], NewestFeatures(FEATURES))

    assert await classifier.tag(query_of("Hello"), None) is None


async def test_the_words_of_earlier_questions_do_not_count(minilm: MiniLM) -> None:
    asked = "Translate this to German: good morning"
    text = f"{asked}\nTraceback: TypeError in my function, fix the error"

    alone = await tag_of("intent", text, minilm, n_asked_chars=len(asked))
    together = await tag_of("intent", text, minilm)

    assert alone is not None
    assert together is not None
    assert (alone.value, alone.confidence) != (together.value, together.confidence)
