"""Tables of the measured rows, as text and as plain numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.measures import SHARE_SEEN, Row

OURS = "ours, registry"


def mean_over(rows: list[Row], key: str) -> tuple[float, float]:
    """Mean and standard error over seeds; pools and prices of dollars are first averaged within a seed."""
    by_seed: dict[int, list[float]] = {}
    for row in rows:
        by_seed.setdefault(row["seed"], []).append(row[key])
    means = np.array([np.mean(values) for values in by_seed.values()])
    error = float(means.std(ddof=1) / np.sqrt(means.size)) if means.size > 1 else float("nan")
    return float(means.mean()), error


def summarise(rows: list[Row], cpu: Row) -> list[Row]:
    """One line for each line of the acceptance table."""

    def of(measure: str, policy: str, pool: str = "") -> list[Row]:
        return [
            r for r in rows if (r["measure"], r["policy"]) == (measure, policy) and r["pool"].startswith(pool)
        ]

    lines: list[Row] = []

    def line(name: str, chosen: list[Row], key: str, rival: list[Row] | None = None) -> None:
        if chosen:
            value, error = mean_over(chosen, key)
            first = mean_over(rival, key)[0] if rival else None
            lines.append({"measure": name, "value": value, "error": error, "first_system": first})

    def single(name: str, value: float | None) -> None:
        if value is not None:
            lines.append({"measure": name, "value": float(value), "error": None, "first_system": None})

    first = of("stationary", "first system")
    line("gap, registry priors", of("stationary", OURS), "gap", first)
    line("gap, no knowledge", of("stationary", "ours, none"), "gap", first)
    line("gap of the first 500, registry priors", of("stationary", OURS), "first", first)
    line("gap of the first 500, no knowledge", of("stationary", "ours, none"), "first", first)
    single("worst run, registry priors", min((r["gap"] for r in of("stationary", OURS)), default=None))
    single("worst setting over its seeds, registry priors", _worst_mean(of("stationary", OURS)))
    line(
        "llmrouter, registry priors",
        of("stationary", OURS, "llmrouter"),
        "gap",
        of("stationary", "first system", "llmrouter"),
    )
    line("llmrouter over 4,000 requests", of("long", OURS, "llmrouter"), "gap")
    for what in ("category", "chance"):
        line(f"llmrouter, every request tagged by {what}", of("task tags", f"tagged by {what}"), "gap")
    failed = of("silent failure", OURS)
    line("silent failure, second half", failed, "second_half", of("silent failure", "first system"))
    seen = [r for r in failed if r["share"] >= SHARE_SEEN]
    if seen:
        single(
            "  found after, median of requests", float(np.median([r["found_after"] or np.inf for r in seen]))
        )
        single("  found at all, share", float(np.mean([r["found_after"] is not None for r in seen])))
    if steady := [r for r in rows if "alarms" in r]:
        rate = sum(r["alarms"] for r in steady) / sum(r["n"] for r in steady)
        single("  false alarms per 10,000 requests, no change at all", 1e4 * rate)
    line("sparse and late", of("sparse and late", OURS), "gap", of("sparse and late", "first system"))
    for label in ("plain", "price falls", "arm fails"):
        own = of("budget", label)
        for start in ("", "paretobandit, registry: ", "paretobandit, none: "):
            if spent := of("budget", f"{start}{label}"):
                line(f"budget, {start}{label}: mean reward", spent, "reward")
                single("  worst phase, spend / ceiling", max(r["worst_phase"] for r in spent))
                within = float(np.mean([r["worst_phase"] <= 1.03 for r in spent]))
                single("  runs within 1.03 in every phase, share", within)
                if start:
                    line("  ours minus this", _gains(own, spent), "gain")
    judged = "judged" if any(r["pool"].startswith("judged") for r in rows) else ""
    good = of("newcomer", "good", judged)
    if good:
        single(
            "newcomer, good: adopted after, median",
            float(np.median([r["adopted_after"] or np.inf for r in good])),
        )
        line("newcomer, bad: share of requests", of("newcomer", "bad", judged), "share")
        for pool in sorted({judged, ""}, reverse=True):
            single(
                f"newcomer, dear: worst phase, spend / ceiling, {pool or 'any set'}",
                max(r["worst_phase"] for r in of("newcomer", "dear", pool)),
            )
    for name, milliseconds in cpu.items():
        single(f"CPU ms, p50: {name}", milliseconds)
    return lines


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


def text(rows: list[Row], lines: list[Row], command: str) -> str:
    out = [command, "", f"{'measure':<58}{'value':>10}{'±':>8}{'first system':>14}"]
    for r in lines:
        error = "" if r["error"] is None else f"{r['error']:.2g}"
        first = "" if r["first_system"] is None else f"{r['first_system']:.1f}"
        out.append(f"{r['measure']:<58}{r['value']:>10.4g}{error:>8}{first:>14}")
    stationary = [r for r in rows if r["measure"] == "stationary"]
    out += ["", "gap x 1000 by set, mean over λ and seeds", *_cross(stationary, lambda r: str(r["pool"]))]
    out += [
        "",
        "gap x 1000 by λ, mean over sets and seeds",
        *_cross(stationary, lambda r: f"λ = {r['lam']:.2f}"),
    ]
    return "\n".join(out) + "\n"


def _cross(rows: list[Row], column: Callable[[Row], str]) -> list[str]:
    policies = list(
        dict.fromkeys(r["policy"] for r in rows if not r["policy"].startswith("fixed arm, rank 1"))
    )
    columns = list(dict.fromkeys(column(r) for r in rows))
    out = [" " * 28 + "".join(f"{c:>20}" for c in columns) + f"{'mean':>10}"]
    for policy in policies:
        cells = []
        for c in columns:
            values = [r["gap"] for r in rows if r["policy"] == policy and column(r) == c]
            cells.append(f"{np.mean(values):>20.1f}" if values else " " * 20)
        mean = mean_over([r for r in rows if r["policy"] == policy], "gap")[0]
        out.append(f"{policy:<28}" + "".join(cells) + f"{mean:>10.1f}")
    return out
