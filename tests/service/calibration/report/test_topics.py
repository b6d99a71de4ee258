from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.calibration.report.topics import ALL, LEAST_PROMPTS, MOST_TOPICS, OTHER, UNTAGGED, Topics
from tests.service.calibration.report.made_up import prompt, vectors


def of_tags(tags: Sequence[str | None]) -> Topics:
    return Topics.of([prompt(i, task=tag) for i, tag in enumerate(tags)], np.ones((len(tags), 1)))


def test_tags_are_topics_the_largest_first() -> None:
    topics = of_tags(["code"] * 6 + ["letters"] * 9)

    assert topics.names == ("letters", "code")
    assert topics.member.tolist() == [1] * 6 + [0] * 9


def test_rare_tags_are_one_topic_together() -> None:
    topics = of_tags(["code"] * LEAST_PROMPTS + ["rare"] * (LEAST_PROMPTS - 1) + ["rarer"])

    assert sorted(topics.names) == sorted(["code", OTHER])
    assert topics.member.tolist() == [topics.names.index("code")] * 5 + [topics.names.index(OTHER)] * 5


def test_a_tag_called_like_the_rare_ones_is_one_with_them() -> None:
    assert of_tags([OTHER] * 6 + ["rare"]).names == (OTHER,)


def test_there_are_never_more_topics_than_a_reader_can_take() -> None:
    topics = of_tags([f"tag-{i}" for i in range(57) for _ in range(LEAST_PROMPTS)])

    assert len(topics.names) == MOST_TOPICS


def test_few_prompts_without_tags_are_one_topic() -> None:
    assert of_tags([None] * 10).names == (ALL,)
    assert of_tags(["code"] * 6 + [None] * 3).names == ("code", UNTAGGED)


def test_prompts_without_tags_are_clustered_and_named_by_their_words() -> None:
    rng = np.random.default_rng(3)
    kind = np.arange(60) % 3
    words = (
        "write a python function that sorts",
        "what is the capital of the country",
        "translate the letter",
    )
    prompts = [prompt(i, f"please {words[k]} number {i}") for i, k in enumerate(kind.tolist())]

    topics = Topics.of(prompts, vectors(rng, kind))

    assert len(topics.names) == 3
    assert all(len(set(topics.member[kind == k].tolist())) == 1 for k in range(3))
    by_kind = [topics.names[topics.member[kind == k][0]] for k in range(3)]
    assert "python" in by_kind[0]
    assert "capital" in by_kind[1]
    assert "translate" in by_kind[2]
    assert not any(word in name.split(", ") for name in topics.names for word in ("please", "the", "number"))


def test_clusters_without_words_of_their_own_still_have_different_names() -> None:
    kind = np.arange(60) % 3

    topics = Topics.of([prompt(i, "17 + 4") for i in range(60)], vectors(np.random.default_rng(3), kind))

    assert len(set(topics.names)) == len(topics.names) == 3


def test_a_cluster_never_takes_the_name_of_a_tag() -> None:
    kind = np.arange(60) % 3
    prompts = [prompt(i, "17 + 4") for i in range(60)]
    tagged = [prompt(100 + i, task="cluster") for i in range(6)]
    contexts = np.zeros((66, 24))
    contexts[:60] = vectors(np.random.default_rng(3), kind)

    topics = Topics.of([*prompts, *tagged], contexts)

    assert topics.member[-6:].tolist() == [topics.names.index("cluster")] * 6
    assert np.count_nonzero(topics.member == topics.names.index("cluster")) == 6


def test_prompts_that_are_all_alike_are_one_topic() -> None:
    assert Topics.of([prompt(i, "hello") for i in range(50)], np.ones((50, 1))).names == (ALL,)


def test_topics_are_the_same_every_time() -> None:
    kind = np.arange(90) % 4
    prompts = [prompt(i, f"word{'abcd'[k]} question") for i, k in enumerate(kind.tolist())]
    contexts = vectors(np.random.default_rng(8), kind, spread=0.5)

    first, second = Topics.of(prompts, contexts), Topics.of(prompts, contexts)

    assert first.names == second.names
    assert np.array_equal(first.member, second.member)
