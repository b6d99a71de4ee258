"""The measured rows in short: one line for each line of the acceptance table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.measures.calibration import PROMPTS
from benchmarks.measures.changes import RECOVERIES, SHARE_SEEN
from benchmarks.measures.outcomes import MADE_UP
from benchmarks.measures.priors import KNOWN
from benchmarks.measures.task import Row

OURS = "ours, registry"
WITHIN = 1.03  # spend over its ceiling that still counts as kept


def mean_over(rows: list[Row], key: str) -> tuple[float, float]:
    """Mean and standard error over seeds; pools and prices of dollars are first averaged within a seed."""
    by_seed: dict[int, list[float]] = {}
    for row in rows:
        by_seed.setdefault(row["seed"], []).append(row[key])
    means = np.array([np.mean(values) for values in by_seed.values()])
    error = float(means.std(ddof=1) / np.sqrt(means.size)) if means.size > 1 else float("nan")
    return float(means.mean()), error


def summarise(rows: list[Row], cpu: Row) -> list[Row]:
    summary = Summary(rows)
    for part in (
        _plain,
        _failures,
        _recoveries,
        _sparse,
        _budget,
        _newcomers,
        _priors,
        _calibrations,
        _outcomes,
        _tasks,
    ):
        part(summary)
    for name, milliseconds in cpu.items():
        summary.single(f"CPU ms, p50: {name}", milliseconds)
    return summary.lines


@dataclass(slots=True)
class Summary:
    """Lines made from the measured rows; a line without rows is left out."""

    rows: list[Row]
    lines: list[Row] = field(default_factory=list)

    def of(self, measure: str, policy: str, pool: str = "") -> list[Row]:
        return [
            r
            for r in self.rows
            if (r["measure"], r["policy"]) == (measure, policy) and r["pool"].startswith(pool)
        ]

    def line(self, name: str, chosen: list[Row], key: str, rival: list[Row] | None = None) -> None:
        """Add the mean of a key, with its standard error, and that of the first system."""
        if chosen:
            value, error = mean_over(chosen, key)
            first = mean_over(rival, key)[0] if rival else None
            self.lines.append({"measure": name, "value": value, "error": error, "first_system": first})

    def single(self, name: str, value: float | None) -> None:
        if value is not None:
            self.lines.append({"measure": name, "value": float(value), "error": None, "first_system": None})

    def median(self, name: str, values: Sequence[float | None]) -> None:
        """Add a median, in which None counts as infinite."""
        if values:
            self.single(name, float(np.median([np.inf if value is None else value for value in values])))


def _plain(summary: Summary) -> None:
    of, line = summary.of, summary.line
    first = of("stationary", "first system")
    line("gap, registry priors", of("stationary", OURS), "gap", first)
    line("gap, no knowledge", of("stationary", "ours, none"), "gap", first)
    line("gap of the first 500, registry priors", of("stationary", OURS), "first", first)
    line("gap of the first 500, no knowledge", of("stationary", "ours, none"), "first", first)
    worst = min((r["gap"] for r in of("stationary", OURS)), default=None)
    summary.single("worst run, registry priors", worst)
    summary.single("worst setting over its seeds, registry priors", _worst_mean(of("stationary", OURS)))
    line(
        "llmrouter, registry priors",
        of("stationary", OURS, "llmrouter"),
        "gap",
        of("stationary", "first system", "llmrouter"),
    )
    line("llmrouter over 4,000 requests", of("long", OURS, "llmrouter"), "gap")
    for what in ("category", "chance"):
        line(f"llmrouter, every request tagged by {what}", of("task tags", f"tagged by {what}"), "gap")


def _failures(summary: Summary) -> None:
    failed = summary.of("silent failure", OURS)
    first = summary.of("silent failure", "first system")
    summary.line("silent failure, second half", failed, "second_half", first)
    seen = [r for r in failed if r["share"] >= SHARE_SEEN]
    if seen:
        summary.median("  found after, median of requests", [r["found_after"] for r in seen])
        summary.single("  found at all, share", float(np.mean([r["found_after"] is not None for r in seen])))
    if steady := [r for r in summary.rows if "alarms" in r]:
        rate = sum(r["alarms"] for r in steady) / sum(r["n"] for r in steady)
        summary.single("  false alarms per 10,000 requests, no change at all", 1e4 * rate)


def _recoveries(summary: Summary) -> None:
    for n_requests in RECOVERIES:
        for label in ("registry", "none"):
            seen = [
                r
                for r in summary.of("recovery", f"ours, {label}")
                if r["requests"] == n_requests and r["share"] >= SHARE_SEEN
            ]
            if not seen:
                continue
            name = f"recovery in {n_requests:,} requests, {label}"
            waits = [r["returned_after"] for r in seen]
            summary.median(f"{name}: traffic back after, median", waits)
            capped = [r["left"] if r["returned_after"] is None else r["returned_after"] for r in seen]
            summary.single("  the same, mean; never counts as the requests left", float(np.mean(capped)))
            summary.single("  traffic back at all, share", float(np.mean([w is not None for w in waits])))
            summary.single(
                "  reward after / before, mean, λ = 0",
                float(np.mean([r["kept"] for r in seen if r["lam"] == 0.0] or [np.nan])),
            )
            summary.single("  the same of utility, all λ", float(np.mean([r["kept"] for r in seen])))


def _sparse(summary: Summary) -> None:
    first = summary.of("sparse and late", "first system")
    summary.line("sparse and late", summary.of("sparse and late", OURS), "gap", first)


def _budget(summary: Summary) -> None:
    for label in ("plain", "price falls", "arm fails"):
        own = summary.of("budget", label)
        for start in ("", "paretobandit, registry: ", "paretobandit, none: "):
            if spent := summary.of("budget", f"{start}{label}"):
                summary.line(f"budget, {start}{label}: mean reward", spent, "reward")
                summary.single("  worst phase, spend / ceiling", max(r["worst_phase"] for r in spent))
                within = float(np.mean([r["worst_phase"] <= WITHIN for r in spent]))
                summary.single(f"  runs within {WITHIN} in every phase, share", within)
                if start:
                    summary.line("  ours minus this", _gains(own, spent), "gain")


def _newcomers(summary: Summary) -> None:
    judged = "judged" if any(r["pool"].startswith("judged") for r in summary.rows) else ""
    good = summary.of("newcomer", "good", judged)
    summary.median("newcomer, good: adopted after, median", [r["adopted_after"] for r in good])
    summary.line("newcomer, bad: share of requests", summary.of("newcomer", "bad", judged), "share")
    for pool in sorted({judged, ""}, reverse=True):
        if dear := summary.of("newcomer", "dear", pool):
            name = f"newcomer, dear: worst phase, spend / ceiling, {pool or 'any set'}"
            summary.single(name, max(r["worst_phase"] for r in dear))


def _priors(summary: Summary) -> None:
    """Gaps by pool; then how far the shipped table is from no priors, on average and where it is worst."""
    rows = [r for r in summary.rows if r["measure"] == "public priors"]
    for pool in dict.fromkeys(r["pool"] for r in rows):
        for label in KNOWN:
            own = [r for r in rows if (r["pool"], r["policy"]) == (pool, f"ours, {label}")]
            summary.line(f"priors, {pool}: {label}", own, "gap")
    changes = {pool: _over_none([r for r in rows if r["pool"] == pool]) for pool in {r["pool"] for r in rows}}
    if changes:
        summary.line("priors: public minus none, mean of pools", _over_none(rows), "change")
        worst = min(changes.values(), key=lambda change: mean_over(change, "change")[0])
        summary.line("priors: public minus none, worst pool", worst, "change")


def _over_none(rows: list[Row]) -> list[Row]:
    """The gap of the shipped table minus that of no priors, stream by stream."""
    gaps = {(r["pool"], r["seed"], r["lam"], r["policy"]): r["gap"] for r in rows}
    return [
        {"seed": seed, "change": gap - gaps[pool, seed, lam, "ours, none"]}
        for (pool, seed, lam, policy), gap in gaps.items()
        if policy == "ours, public"
    ]


def _calibrations(summary: Summary) -> None:
    rows = [r for r in summary.rows if r["measure"] == "calibration"]
    pools = sorted({r["pool"] for r in rows})
    for policy in ("none", "registry", *(f"{size} prompts" for size in PROMPTS)):
        own = [r for r in rows if r["policy"] == policy]
        summary.line(f"calibration, {policy}: gap", own, "gap")
        summary.line("  the first 500", own, "first")
        for pool in pools:
            summary.line(f"  {pool}", [r for r in own if r["pool"] == pool], "gap")


def _outcomes(summary: Summary) -> None:
    for label in ("registry", "none"):
        own = summary.of("heavy tails", f"ours, {label}")
        summary.line(f"heavy-tailed dollars, {label}", own, "gap")
        summary.single("  worst run", min((r["gap"] for r in own), default=None))
        summary.single("  least share of the best arm", min((r["share"] for r in own), default=None))
    for label in MADE_UP:
        own = summary.of("fast arms", label)
        summary.line(f"fast arms, {label}: share of the second", own, "share")
        summary.line("  share of the rarer", own, "share_of_rarer")


def _tasks(summary: Summary) -> None:
    for label in ("none", "public", "registry"):
        own = [r for r in summary.of("coderouter", f"ours, {label}") if r["latency_weight"] == 0.0]
        for lam in dict.fromkeys(r["lam"] for r in own):
            at_price = [r for r in own if r["lam"] == lam]
            name = f"coderouter, λ = {lam:.2f}, {label}"
            summary.line(f"{name}: utility", at_price, "utility")
            summary.line("  reward of the last third", at_price, "reward_of_last_third")
            summary.line("  dollars", at_price, "usd")


def _worst_mean(rows: list[Row]) -> float | None:
    groups: dict[tuple[str, float], list[float]] = {}
    for r in rows:
        groups.setdefault((r["pool"], r["lam"]), []).append(r["gap"])
    return min((float(np.mean(g)) for g in groups.values()), default=None)


def _gains(own: list[Row], rival: list[Row]) -> list[Row]:
    """Mean reward minus a rival's on the same stream at the same ceiling."""
    rewards = {(r["pool"], r["seed"], r["ceiling"]): r["reward"] for r in rival}
    return [
        {"seed": r["seed"], "gain": r["reward"] - rewards[r["pool"], r["seed"], r["ceiling"]]} for r in own
    ]
