"""Features of a text that say what is asked, beside its vector.

The default encoder reads English well and other languages poorly. Words that ask ("erkläre", "explique",
"说明") are few, so a list of them in ten languages says the same to the heads in each of them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

HEAD_CHARS, TAIL_CHARS = 400, 240  # long texts say what they want at their beginning or end
STEM_CHARS = 6
N_EARLY_WORDS = 3
COUNT_STEP, MAX_COUNT = 2 / 3, 2.0  # of the words of a cue
CODE_SIGNS = "{}();=<>[]"
CODE_CHARS = 1000  # characters of the text that are searched for the signs of code
FIRST_CJK = "\u3000"  # from here on, words are not set apart by spaces

FULL_WIDTH_QUESTION, CJK_COMMAS = "\uff1f", "\uff0c\u3001"

_WORD = re.compile(r"[^\W\d_]+")
# The text ends where code would go on.
_OPEN_ENDS = ("{", "=>", ":", "(", "=", ".", "TODO")


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What a text shows.

    Args:
        values: in the order of `TextFeatures.names`; about between 0 and 3 each.
        stems: the beginnings of its words; that of the first word also with `^` before it.
    """

    values: NDArray[np.float32]
    stems: frozenset[str]


def _stems(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    if text.isascii():
        return [word[:STEM_CHARS] for word in words]
    stems: list[str] = []
    for word in words:
        if word[0] < FIRST_CJK:
            stems.append(word[:STEM_CHARS])
        else:
            stems += map("".join, pairwise(word)) if len(word) > 1 else (word,)
    return stems


def _read_cues() -> tuple[tuple[str, ...], dict[str, tuple[int, ...]]]:
    """The names of the cues, and for each stem the cues that it belongs to."""
    words: dict[str, str] = yaml.safe_load((Path(__file__).parent / "cues.yaml").read_text("utf-8"))
    cues: dict[str, set[int]] = {}
    for i, line in enumerate(words.values()):
        for stem in _stems(line):
            cues.setdefault(stem, set()).add(i)
    return tuple(words), {stem: tuple(sorted(numbers)) for stem, numbers in cues.items()}


class TextFeatures:
    """Computes the features of texts, in about 30 µs for a long one."""

    def __init__(self) -> None:
        cues, self._cues = _read_cues()
        self._n = len(cues)
        self.names = (
            *(f"{cue}: count" for cue in cues),
            *(f"{cue}: present" for cue in cues),
            *(f"{cue}: early" for cue in cues),
            *("length", "lines", "question", "code signs", "code fence", "several commas", "commas"),
            *("open end", "ascii start", "up to 3 words", "up to 12 words", "25 words or more"),
        )

    def of(self, text: str) -> Features:
        is_long = len(text) > HEAD_CHARS + TAIL_CHARS
        stems = _stems(f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}" if is_long else text)
        values = [0.0] * (3 * self._n)
        for position, stem in enumerate(stems):
            for i in self._cues.get(stem, ()):
                values[i] = min(values[i] + COUNT_STEP, MAX_COUNT)
                values[self._n + i] = 1.0
                if position < N_EARLY_WORDS:
                    values[2 * self._n + i] = 1.0
        values += _form(text)
        values += (
            text.rstrip().endswith(_OPEN_ENDS),
            text[:40].isascii(),
            len(stems) <= 3,
            len(stems) <= 12,
            len(stems) >= 25,
        )
        first = (f"^{stems[0]}",) if stems else ()
        return Features(np.array(values, dtype=np.float32), frozenset((*stems, *first)))


def _form(text: str) -> tuple[float, ...]:
    """Length and signs that need no words."""
    start = text[:CODE_CHARS]
    n_signs = sum(map(start.count, CODE_SIGNS))
    n_commas = text.count(",")
    return (
        math.log1p(len(text)) / 3,
        min(math.log1p(text.count("\n")) / 2, 3.0),
        float("?" in text or FULL_WIDTH_QUESTION in text),
        10 * n_signs / max(len(start), 1),
        float("```" in text),
        float(n_commas > 2),
        math.log1p(n_commas + sum(map(text.count, CJK_COMMAS))),
    )
