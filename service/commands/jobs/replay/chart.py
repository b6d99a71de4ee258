"""A replay's report as a picture: learning curves, quality and cost, shares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.commands.jobs.replay.report import Report, ReportRow, in_usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT = "#1f2937", "#9ca3af"
ROUTER, BEST, CHEAPEST, ORACLE = "#2563eb", "#059669", "#d97706", "#7c3aed"
LEAST_USD = 1e-6  # position of a free model on the logarithmic axis
FEW_MODELS = 6  # largest number of models that all have a label
STYLE: dict[Any, Any] = {  # matplotlib's type of the keys has 400 literals
    "font.size": 9,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def draw_chart(report: Report, path: Path) -> None:
    """Write the PNG."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 7.8), dpi=120)
        figure.set_layout_engine("constrained", h_pad=0.12, w_pad=0.12)
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, 2, width_ratios=(1.1, 1))
        figure.suptitle(_headline(report), x=0.012, ha="left", fontsize=11, linespacing=1.6)
        _draw_curves(panels[0, 0], panels[1, 0], report)
        _draw_trade(panels[0, 1], report)
        _draw_shares(panels[1, 1], report)
        figure.savefig(path)


def _headline(report: Report) -> str:
    def figures(name: str, row: ReportRow) -> str:
        return f"{name} {row.mean_score:.3f} at {in_usd(report.per_thousand(row))}"

    compared = [
        figures("router", report.router),
        figures("random", report.random),
        figures("always the best model", report.best),
    ]
    return (
        f"Mean score and dollars per 1,000 requests:  {'   |   '.join(compared)}\n"
        f"{report.n:,} requests, {report.n_failed} failed; added latency "
        f"p50 {report.overhead_ms_p50:.1f} ms, p95 {report.overhead_ms_p95:.1f} ms"
    )


def _draw_curves(above: Axes, below: Axes, report: Report) -> None:
    curve = report.curve
    _draw_curve(above, curve.first, curve.score, curve.random_score, report.best.mean_score)
    _draw_curve(
        below,
        curve.first,
        [1000 * cost for cost in curve.cost_usd],
        [1000 * cost for cost in curve.random_cost_usd],
        report.per_thousand(report.best),
    )
    above.set(title=f"Score, mean of the last {curve.window} requests", ylabel="score")
    below.set(title=f"Dollars per 1,000 requests, mean of the last {curve.window}", ylabel="US $")
    below.set_ylim(bottom=0)
    # The legend is below the plot, so that no curve crosses it.
    below.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)


def _draw_curve(axes: Axes, first: int, router: list[float], random: list[float], best: float) -> None:
    x = range(first, first + len(router))
    axes.plot(x, random, color=FAINT, linewidth=1.4, label="random, same requests")
    axes.plot(x, router, color=ROUTER, linewidth=2, label="router")
    axes.axhline(best, color=BEST, linestyle="--", linewidth=1.3, label="always the best model")
    axes.set_xlabel("request")
    axes.margins(x=0.01)


def _draw_trade(axes: Axes, report: Report) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    colours = {report.cheapest.name: CHEAPEST, report.best.name: BEST}
    named = _worth_naming(report)
    for single in report.singles:
        label = single.name if single.name in named else ""
        _mark(axes, report, single, label, colours.get(single.name, FAINT), "o", 46)
    _mark(axes, report, report.oracle, "oracle", ORACLE, "D", 46)
    _mark(axes, report, report.random, "random", INK, "X", 70)
    _mark(axes, report, report.router, "router", ROUTER, "*", 340)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter("${x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.2, y=0.14)
    axes.set(
        title="Quality against cost (up and left is better)",
        xlabel="dollars per 1,000 requests, logarithmic",
        ylabel="mean score",
    )


def _mark(
    axes: Axes, report: Report, row: ReportRow, label: str, colour: str, marker: str, size: float
) -> None:
    point = (max(report.per_thousand(row), LEAST_USD), row.mean_score)
    axes.scatter(*point, c=colour, marker=marker, s=size, zorder=3, edgecolors="white", linewidths=0.8)
    is_model = marker == "o"
    axes.annotate(
        label,
        point,
        xytext=(0, 4 + size**0.5 / 2),  # above the mark, which is size**0.5 points wide
        textcoords="offset points",
        ha="center",
        fontsize=7.5 if is_model else 9,
        fontweight="normal" if is_model else "bold",
        color=INK if colour == FAINT else colour,
    )


def _worth_naming(report: Report) -> set[str]:
    """All models if they are few, otherwise the models that no other beats in score and dollars."""
    singles = report.singles
    if len(singles) <= FEW_MODELS:
        return {single.name for single in singles}
    return {model.name for model in singles if not any(_is_beaten(model, other) for other in singles)}


def _is_beaten(model: ReportRow, other: ReportRow) -> bool:
    """Whether the other is at least as good in score and dollars, and better in one of them."""
    own, others = (model.mean_score, -model.cost_usd), (other.mean_score, -other.cost_usd)
    return others != own and others[0] >= own[0] and others[1] >= own[1]


def _draw_shares(axes: Axes, report: Report) -> None:
    ranked = sorted(report.shares.items(), key=lambda item: item[1])
    bars = axes.barh([model for model, _ in ranked], [100 * share for _, share in ranked], color=ROUTER)
    axes.bar_label(bars, labels=[f"{share:.0%}" for _, share in ranked], padding=4, fontsize=8)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.set(title="Share of requests per model", xlabel="%")
