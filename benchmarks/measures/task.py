"""What a measure plays, and how far it stays behind the best fixed arm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bandit.arrays import Floats, Ints
from benchmarks.streams import N_REQUESTS, Stream, open_stream

LAMBDAS = (0.0, 1 / 3, 1.0)
FIRST = 500
SHORT = 1500  # requests of measures that play many runs
CURVE_POINTS = 50
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One stream to play for one measure."""

    measure: str
    folder: Path
    name: str
    n_arms: int | None
    seed: int
    n: int = N_REQUESTS
    rivals: bool = True
    is_hard: bool = False

    @property
    def pool(self) -> str:
        if self.is_hard:
            return f"{self.name}, hard"
        return self.name if self.n_arms is None else f"{self.name}, {self.n_arms} arms"

    def open(self, **changes: Any) -> Stream:
        pool = {"n_arms": self.n_arms, "is_hard": self.is_hard, "n": self.n}
        return open_stream(self.folder, self.name, self.seed, **{**pool, **changes})


def gaps(utilities: Floats, chosen: Ints) -> Row:
    """Utility minus that of the best fixed arm in hindsight, times 1000: of the whole stream and of parts."""
    obtained = utilities[np.arange(chosen.size), chosen]

    def gap(part: slice) -> float:
        return 1000.0 * float(obtained[part].mean() - utilities[part].mean(axis=0).max())

    best = utilities[:, int(utilities.mean(axis=0).argmax())]
    curve = 1000.0 * np.cumsum(obtained - best) / np.arange(1, obtained.size + 1)
    return {
        "n": chosen.size,
        "gap": gap(slice(None)),
        "first": gap(slice(FIRST)),
        "second_half": gap(slice(obtained.size // 2, None)),
        "curve": curve[np.linspace(0, obtained.size - 1, CURVE_POINTS).astype(int)].round(3).tolist(),
    }
