"""The skills of the simulated models: made-up numbers.

A prompt has a topic, which its words decide, and an ease of at most 0, which all models share. A model's true
quality on a prompt is its skill on the topic, plus the ease, plus or minus a little luck.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

DEFAULT_TOPIC = "facts"

_WORDS: Mapping[str, frozenset[str]] = {
    topic: frozenset(words.split())
    for topic, words in {
        "code": "api async bug class code compile css debug function git html java javascript json loop"
        " method program python query react refactor regex rust script sql test typescript variable",
        "math": "algebra angle area average calculate calculus derivative divide divided equation fraction"
        " geometry integral many matrix minus multiply percent plus prime probability proof prove solve sqrt"
        " sum theorem times triangle",
        "writing": "blog compose dialogue draft edit email essay haiku headline letter novel paragraph poem"
        " proofread rephrase rewrite rhyme slogan song speech story summarise summarize tone translate write",
        "facts": "ancient capital century country define discovered event explain famous happened history"
        " invented located meaning population president river war what when where which who why year",
    }.items()
}
_SUM = re.compile(r"\d\s*[-+*/^=]\s*\d")


@dataclass(frozen=True, slots=True)
class Skills:
    """The quality and the speed of one simulated model."""

    quality: Mapping[str, float]  # expected reward, in [0, 1]
    ttft_s: float  # median time to the first token
    token_s: float  # median time for each further token


MODELS: Mapping[str, Skills] = {
    "sim-small": Skills({"code": 0.42, "math": 0.35, "writing": 0.60, "facts": 0.74}, 0.15, 0.004),
    "sim-code": Skills({"code": 0.93, "math": 0.60, "writing": 0.45, "facts": 0.50}, 0.35, 0.009),
    "sim-math": Skills({"code": 0.58, "math": 0.94, "writing": 0.40, "facts": 0.48}, 0.60, 0.012),
    "sim-writer": Skills({"code": 0.40, "math": 0.38, "writing": 0.92, "facts": 0.66}, 0.30, 0.008),
    "sim-large": Skills({"code": 0.88, "math": 0.87, "writing": 0.86, "facts": 0.91}, 0.90, 0.020),
}


def topic_of(prompt: str) -> str:
    """The topic whose words the prompt uses most; DEFAULT_TOPIC if it uses none."""
    words = set(re.findall(r"[a-z]+", prompt.lower()))
    scores = {topic: len(words & known) for topic, known in _WORDS.items()}
    scores["code"] += 2 * ("```" in prompt or "()" in prompt)
    scores["math"] += 2 * (_SUM.search(prompt) is not None)
    best = max(scores, key=lambda topic: scores[topic])
    return best if scores[best] else DEFAULT_TOPIC


def true_quality(arm_id: str, prompt: str) -> float:
    """The score of a fair judge for this model's answer to this prompt, in [0, 1].

    Raises:
        KeyError: no simulated model has that name.
    """
    skill = MODELS[arm_id].quality[topic_of(prompt)]
    ease = -0.12 * uniform("difficulty", prompt)  # the word is part of the seed
    luck = 0.10 * (uniform("luck", arm_id, prompt) - 0.5)
    return min(max(skill + ease + luck, 0.0), 1.0)


def uniform(*parts: object) -> float:
    """A number in [0, 1) that depends only on the parts."""
    digest = blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
