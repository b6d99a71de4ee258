"""Arms that become worse without an announcement, for good or for a time."""

from __future__ import annotations

import numpy as np

from bandit.arrays import Bools, Floats
from benchmarks.learner import Setting, registry, replay, unknown
from benchmarks.measures.task import LAMBDAS, Row, Task, gaps
from benchmarks.rivals.baselines import first_system
from benchmarks.streams import N_REQUESTS, failing

SHARE_SEEN = 0.3  # share of traffic that an arm needs for its failure to count as detectable
BEFORE = 300  # requests before a failure in which the arm's share is measured
WINDOW = 50  # requests in which a recovered arm must have its traffic again
RETURNED = 0.8  # share of its former share that this means
RECOVERIES = (600, N_REQUESTS)  # requests of the stream: a third of them is the time that the arm fails


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


def recovery(task: Task) -> list[Row]:
    """In the middle third the best arm keeps 40 % of its score; then it is as good as before."""
    rows = []
    for n_requests in sorted({min(n, task.n) for n in RECOVERIES}):
        plain = task.open(n=n_requests)
        starts, ends = plain.shape[0] // 3, 2 * plain.shape[0] // 3
        for lam in LAMBDAS[:2]:  # at 1 the utility of the best arm may be near 0, and a ratio means nothing
            best = int(plain.utilities(lam).mean(axis=0).argmax())
            stream = failing(plain, best, slice(starts, ends))
            for label, quality in (("registry", registry(stream, task.seed)), ("none", unknown(stream))):
                chosen = replay(stream, Setting(lam, quality), task.seed).chosen
                utilities = stream.utilities(lam)
                obtained = utilities[np.arange(chosen.size), chosen]
                before, after = slice(max(starts - BEFORE, 0), starts), slice(ends, None)
                share = float((chosen[before] == best).mean())
                rows.append(
                    {
                        "policy": f"ours, {label}",
                        "lam": lam,
                        "requests": n_requests,
                        "share": share,
                        "returned_after": returned_after(chosen[after] == best, share),
                        "left": chosen[after].size,
                        "kept": _relative(obtained, utilities[:, best], after)
                        / _relative(obtained, utilities[:, best], before),
                    }
                )
    return rows


def returned_after(is_best: Bools, share: float) -> int | None:
    """Requests until the end of the first window in which the arm has its traffic again; None: never."""
    recent = np.convolve(is_best, np.ones(WINDOW) / WINDOW, "valid") >= RETURNED * share
    return int(recent.argmax()) + WINDOW if recent.any() else None


def _relative(obtained: Floats, best: Floats, part: slice) -> float:
    """Utility relative to that of the arm that fails, on the same requests, in which it does not fail."""
    return float(obtained[part].mean() / best[part].mean())
