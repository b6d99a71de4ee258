"""The measures: each function plays one stream by one seed and returns rows of plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bandit.arrays import Floats, Ints
from benchmarks.learner import Setting, StreamRun, registry, replay, unknown
from benchmarks.rivals.baselines import first_system
from benchmarks.rivals.table import is_installed, rivals
from benchmarks.streams import N_REQUESTS, Stream, failing, open_stream, tagged

LAMBDAS = (0.0, 1 / 3, 1.0)
FIRST = 500
N_CEILINGS = 7
LONG = 4000
CURVE_POINTS = 50
SHARE_SEEN = 0.3  # share of traffic that an arm needs for its failure to count as detectable
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

    @property
    def pool(self) -> str:
        return self.name if self.n_arms is None else f"{self.name}, {self.n_arms} arms"

    def open(self, **changes: Any) -> Stream:
        return open_stream(
            self.folder, self.name, self.seed, n_arms=self.n_arms, n=changes.pop("n", self.n), **changes
        )


def measure(task: Task) -> list[Row]:
    rows = MEASURES[task.measure](task)
    return [{"measure": task.measure, "pool": task.pool, "seed": task.seed, **row} for row in rows]


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


def draw_statistics(run: StreamRun) -> Row:
    """Statistics that show whether arms were drawn by their propensities."""
    excess = run.propensity - run.expected
    spread = float(np.sqrt(run.variance.sum()))
    return {
        "least_propensity": float(run.propensity.min()),
        "largest_propensity": float(run.propensity.max()),
        "draws_z": float(excess.sum()) / spread if spread > 0 else 0.0,
    }


def stationary(task: Task) -> list[Row]:
    """The plain stream, with registry priors and with no priors, and every rival."""
    stream = task.open()
    rows = []
    for lam in LAMBDAS:
        utilities = stream.utilities(lam)
        for label, quality in (("registry", registry(stream, task.seed)), ("none", unknown(stream))):
            run = replay(stream, Setting(lam, quality), task.seed)
            rows.append(
                {
                    "policy": f"ours, {label}",
                    "lam": lam,
                    **gaps(utilities, run.chosen),
                    "alarms": len(run.alarms),
                    **draw_statistics(run),
                }
            )
        if task.rivals:
            rows += [
                {"policy": k, "lam": lam, **gaps(utilities, f(stream, lam, task.seed))}
                for k, f in rivals().items()
            ]
            for rank, arm in enumerate(np.argsort(-utilities.mean(axis=0))):
                fixed = np.full(stream.shape[0], arm)
                rows.append({"policy": f"fixed arm, rank {rank + 1}", "lam": lam, **gaps(utilities, fixed)})
    return rows


def long(task: Task) -> list[Row]:
    stream = task.open(n=LONG)
    quality = registry(stream, task.seed)
    runs = [(lam, replay(stream, Setting(lam, quality), task.seed)) for lam in LAMBDAS]
    return [
        {"policy": "ours, registry", "lam": lam, **gaps(stream.utilities(lam), r.chosen)} for lam, r in runs
    ]


def task_tags(task: Task) -> list[Row]:
    """The plain stream, tagged by each prompt's category, and at random."""
    plain = task.open()
    quality = registry(plain, task.seed)
    random_tags = np.random.default_rng(9_000 + task.seed).permutation(plain.tags)
    return [
        {"policy": f"tagged by {what}", "lam": lam, **gaps(plain.utilities(lam), run.chosen)}
        for what, tags in (("category", plain.tags), ("chance", random_tags))
        for stream in [tagged(plain, tags)]
        for lam in LAMBDAS
        for run in [replay(stream, Setting(lam, quality), task.seed)]
    ]


def silent_failure(task: Task) -> list[Row]:
    """In the second half the best arm keeps 40 % of its score."""
    plain = task.open()
    rows = []
    for lam in LAMBDAS:
        best = int(plain.utilities(lam).mean(axis=0).argmax())
        stream = failing(plain, best)
        half = stream.shape[0] // 2
        run = replay(stream, Setting(lam, registry(stream, task.seed)), task.seed)
        found = [t - half + 1 for t, arm, is_fallen in run.alarms if arm == best and is_fallen and t >= half]
        rows.append(
            {
                "policy": "ours, registry",
                "lam": lam,
                **gaps(stream.utilities(lam), run.chosen),
                "share": float((run.chosen[max(half - 300, 0) : half] == best).mean()),
                "found_after": found[0] if found else None,
                "false_alarms": sum(t < half for t, _, _ in run.alarms),
            }
        )
        if task.rivals:
            chosen = first_system(stream, lam, task.seed)
            rows.append({"policy": "first system", "lam": lam, **gaps(stream.utilities(lam), chosen)})
    return rows


def sparse(task: Task) -> list[Row]:
    """A fifth of the requests get feedback, 50 requests late."""
    stream = task.open(share=0.2, delay=50)
    rows = []
    for lam in LAMBDAS:
        run = replay(stream, Setting(lam, registry(stream, task.seed)), task.seed)
        rows.append({"policy": "ours, registry", "lam": lam, **gaps(stream.utilities(lam), run.chosen)})
        if task.rivals:
            chosen = first_system(stream, lam, task.seed)
            rows.append({"policy": "first system", "lam": lam, **gaps(stream.utilities(lam), chosen)})
    return rows


def budget(task: Task) -> list[Row]:
    """Seven ceilings on three streams.

    Plain; the most expensive arm at a twentieth of its price in the middle third; the best arm failing.
    """
    plain = task.open()
    n, n_arms = plain.shape
    quality = registry(plain, task.seed)
    cheaper = np.ones((n, n_arms))
    cheaper[n // 3 : 2 * n // 3, int(plain.price.argmax())] = 1 / 20
    failed = failing(plain, int(plain.quality.argmax()))
    rows = []
    ceilings = np.geomspace(plain.price.min(), plain.price.max(), N_CEILINGS + 2)[1:-1].tolist()
    for rank, ceiling in enumerate(ceilings):
        for label, stream, factors in (
            ("plain", plain, None),
            ("price falls", plain, cheaper),
            ("arm fails", failed, None),
        ):
            run = replay(stream, Setting(0.0, quality, budget=ceiling, price_factors=factors), task.seed)
            spends = {label: (run.chosen, run.spent)}
            if task.rivals and is_installed("paretobandit"):
                spends |= _paretobandit(stream, ceiling, task.seed, factors, label)
            rows += [
                {
                    "policy": k,
                    "lam": 0.0,
                    "ceiling": ceiling,
                    "ceiling_rank": rank,
                    **_spend(stream, *choices, ceiling),
                }
                for k, choices in spends.items()
            ]
    names = [arm.rpartition("/")[2] for arm in plain.arms]
    rows[0]["arms"] = list(zip(names, plain.price.tolist(), plain.quality.tolist(), strict=True))
    return rows


def _paretobandit(
    stream: Stream, ceiling: float, seed: int, factors: Floats | None, label: str
) -> dict[str, tuple[Ints, Floats]]:
    from benchmarks.rivals.paretobandit import paced

    return {
        f"paretobandit, registry: {label}": paced(stream, ceiling, seed, factors, is_cold=False),
        f"paretobandit, none: {label}": paced(stream, ceiling, seed, factors, is_cold=True),
    }


def _spend(stream: Stream, chosen: Ints, spent: Floats, ceiling: float) -> Row:
    thirds = [float(part.mean() / ceiling) for part in np.array_split(spent, 3)]
    return {
        "n": chosen.size,
        "reward": float(stream.scores[np.arange(chosen.size), chosen].mean()),
        "spend": float(spent.mean() / ceiling),
        "worst_phase": max(thirds),
    }


def newcomer(task: Task) -> list[Row]:
    """The best arm joins half-way: unchanged, with half its score, or at ten times its cost with a budget."""
    stream = task.open()
    n, n_arms = stream.shape
    lam, half = LAMBDAS[1], n // 2
    arm = int(stream.utilities(lam).mean(axis=0).argmax())
    joins = np.where(np.arange(n_arms) == arm, half, 0)
    quality = registry(stream, task.seed)
    quality[arm] = np.nan
    rows = []
    for label, score, cost in (("good", 1.0, 1.0), ("bad", 0.5, 1.0), ("dear", 1.0, 10.0)):
        scores, costs, price = stream.scores.copy(), stream.costs.copy(), stream.price.copy()
        scores[:, arm] *= score
        costs[:, arm] *= cost
        price[arm] *= cost
        changed = replace(stream, scores=scores, costs=costs, price=price)
        ceiling = float(np.median(np.delete(stream.price, arm))) if label == "dear" else None
        run = replay(changed, Setting(lam, quality, ceiling, joins), task.seed)
        after = run.chosen[half:] == arm
        recent = np.convolve(after, np.ones(50), "valid") >= 25
        rows.append(
            {
                "policy": label,
                "lam": lam,
                "share": float(after.sum() / n),
                "adopted_after": int(recent.argmax()) + 50 if recent.any() else None,
                "spend": None if ceiling is None else float(run.spent.mean() / ceiling),
                "worst_phase": None if ceiling is None else _avoidable(run.spent, costs, joins, ceiling),
            }
        )
    return rows


def _avoidable(spent: Floats, costs: Floats, joins: Ints, ceiling: float) -> float:
    """Spend of the worst third over its ceiling, or over the cheapest arm's cost if that was more.

    The ceiling is the median price, which several arms may share: a third with long requests then costs more
    with any choice.
    """
    thirds = np.array_split(np.arange(spent.size), 3)
    return max(
        float(spent[part].mean() / max(ceiling, costs[part][:, joins == 0].mean(axis=0).min()))
        for part in thirds
    )


MEASURES = {
    "stationary": stationary,
    "long": long,
    "task tags": task_tags,
    "silent failure": silent_failure,
    "sparse and late": sparse,
    "budget": budget,
    "newcomer": newcomer,
}
