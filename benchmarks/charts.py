"""PNG charts of the measured rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.measures import Row

SHOWN = (
    "ours, registry",
    "ours, none",
    "kNN, full information",
    "Thompson, no context",
    "LinUCB",
    "first system",
)


def draw_charts(rows: list[Row], n: int, folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    _curves([r for r in rows if r["measure"] == "stationary"], n, folder / "learning-curves.png")
    _frontier([r for r in rows if r["measure"] == "budget"], folder / "cost-quality.png")


def _curves(rows: list[Row], n: int, path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=150)
    for policy in SHOWN:
        curves = [r["curve"] for r in rows if r["policy"] == policy]
        if curves:
            axes.plot(np.linspace(1, n, len(curves[0])), np.mean(curves, axis=0), label=policy)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="requests", ylabel="gap so far to the best arm, x 1000", ylim=(-120, 20))
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _frontier(rows: list[Row], path: Path) -> None:
    from matplotlib import pyplot

    plain = [r for r in rows if r["policy"] == "plain"]
    ceilings = sorted({round(r["ceiling"], 9) for r in plain})
    if not ceilings:
        return
    cost, reward = [], []
    for ceiling in ceilings:
        own = [r for r in plain if round(r["ceiling"], 9) == ceiling]
        cost.append(float(np.mean([r["spend"] for r in own])) * ceiling)
        reward.append(float(np.mean([r["reward"] for r in own])))
    figure, axes = pyplot.subplots(figsize=(6, 4), dpi=150)
    axes.plot(cost, reward, "o-", label="kept to a ceiling")
    arms: list[tuple[str, float, float]] = next((r["arms"] for r in rows if "arms" in r), [])
    for name, price, quality in arms:
        axes.plot([price], [quality], "s", color="black", markersize=4)
        axes.annotate(name, (price, quality), fontsize=7, xytext=(4, -8), textcoords="offset points")
    axes.set(xscale="log", xlabel="mean cost per request (dearest arm = 1)", ylabel="mean reward")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
