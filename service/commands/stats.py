"""`router stats`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from service.commands.options import AsJson, RouterUrl, read_settings
from service.commands.output import dollars, number, print_report, table


def stats(
    days: Annotated[int, typer.Option(help="Number of days to count.")] = 7,
    baseline: Annotated[
        str | None, typer.Option(help="Model to compare the cost with (default: the default model).")
    ] = None,
    url: RouterUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show requests, cost and savings of a running router."""
    from service.commands.jobs.running_router import RunningRouter

    router = RunningRouter.at(url, *read_settings())
    counted = router.ask("/v1/stats", days=days, baseline=baseline)
    rows = [_row(each["model"], each) for each in counted["per_model"]]
    text = table(HEADINGS, [*rows, _row("all", counted["total"])])
    print_report(counted, f"{text}\n{_savings(counted['savings'])}", as_json=as_json)


HEADINGS = "model", "requests", "failed", "cost $", "latency", "rated", "reward"


def _row(name: str, counts: dict[str, Any]) -> list[str]:
    return [
        name,
        number(counts["requests"]),
        number(counts["failed"]),
        number(counts["cost_usd"]),
        number(counts["mean_latency_ms"], " ms"),
        number(counts["rated"]),
        number(counts["mean_reward"]),
    ]


def _savings(savings: dict[str, Any]) -> str:
    assumed, measured = savings["assumed"], savings["measured"]["cost_usd_per_request"]
    lines = [_assumed(assumed)]
    if measured["difference"] is None:
        return f"{lines[0]}\nMeasured savings: {measured['reason']}"
    low, high = number(measured["low"]), number(measured["high"])
    return f"{lines[0]}\nMeasured difference per request: {dollars(measured['difference'])} ({low} to {high})"


def _assumed(assumed: dict[str, Any]) -> str:
    if assumed["reason"] is not None:
        return f"Saved against always {assumed['baseline']}: {assumed['reason']}"
    n_unknown = assumed["requests_of_unknown_cost"]
    return (
        f"Saved against always {assumed['baseline']}, at its list price: {dollars(assumed['saved_usd'])} "
        f"of {dollars(assumed['baseline_cost_usd'])}"
        + (f", without {number(n_unknown)} requests of unknown cost" if n_unknown else "")
    )
