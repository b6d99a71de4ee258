"""PNG charts of the measured rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.measures.task import Row

SHOWN = (
    "ours, registry",
    "ours, none",
    "paretobandit, registry",
    "kNN, full information",
    "Thompson, no context",
    "LinUCB",
    "first system",
)


def draw_charts(rows: list[Row], n: int, folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    if stationary := [r for r in rows if r["measure"] == "stationary"]:
        _curves(stationary, n, folder / "learning-curves.png")
    if budget := [r for r in rows if r["measure"] == "budget"]:
        _frontier([r for r in budget if r["pool"] == budget[0]["pool"]], folder / "cost-quality.png")


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

    figure, axes = pyplot.subplots(figsize=(6, 4), dpi=150)
    for label, policy in (
        ("ours, under a ceiling", "plain"),
        ("paretobandit, under a ceiling", "paretobandit, registry: plain"),
    ):
        of_policy = [r for r in rows if r["policy"] == policy]
        ceilings = sorted({r["ceiling_rank"] for r in of_policy})
        points = [_mean_point([r for r in of_policy if r["ceiling_rank"] == rank]) for rank in ceilings]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", label=label)
    arms: list[tuple[str, float, float]] = next((r["arms"] for r in rows if "arms" in r), [])
    for name, price, quality in arms:
        axes.plot([price], [quality], "s", color="black", markersize=4)
        axes.annotate(name, (price, quality), fontsize=7, xytext=(4, -8), textcoords="offset points")
    axes.set(xscale="log", xlabel="mean cost per request (most expensive arm = 1)", ylabel="mean reward")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _mean_point(rows: list[Row]) -> tuple[float, float]:
    """Mean cost and mean reward under one ceiling."""
    cost = np.mean([r["spend"] * r["ceiling"] for r in rows])
    return float(cost), float(np.mean([r["reward"] for r in rows]))


def draw_costs(costs: list[tuple[str, float]], path: Path) -> None:
    """One bar for each kind of request: its CPU in microseconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names, values = [name for name, _ in costs][::-1], [value for _, value in costs][::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.4 * len(costs) + 1), dpi=150)
    bars = axes.barh(names, values)
    axes.bar_label(bars, fmt="{:,.0f}", fontsize=7, padding=3)
    axes.set(xlabel="CPU per request, Python and PostgreSQL, microseconds")
    axes.tick_params(axis="y", labelsize=8)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def draw_slopes(series: dict[str, list[tuple[int, float]]], path: Path) -> None:
    """Cost against size, one line for each thing that grows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), dpi=150)
    for name, points in series.items():
        axes.plot(*zip(*points, strict=True), "o-", label=name)
    axes.set(xscale="log", yscale="log", xlabel="how many", ylabel="CPU of a decision or request, ms")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
