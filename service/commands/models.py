"""`router models`."""

from __future__ import annotations

from typing import Any

from service.commands.options import AsJson, RouterUrl, read_settings
from service.commands.output import number, print_report, table


def models(url: RouterUrl = None, as_json: AsJson = False) -> None:
    """Show the models of a running router.

    Each with its state, price, ratings and mean reward. Where keys are needed, this one is ROUTER_API_KEY
    with the scopes read and admin, or ADMIN_KEY.
    """
    from service.commands.jobs.running_router import RunningRouter

    router = RunningRouter.at(url, *read_settings())
    listed = router.ask("/admin/models")["data"]
    breakers = {each["model"]: each for each in router.ask("/backends/status")["models"]}
    for model in listed:
        model["breaker"] = breakers.get(model["id"])
    print_report(listed, table(HEADINGS, [_row(model) for model in listed]), as_json=as_json)


HEADINGS = "model", "provider", "state", "$ in", "$ out", "calls", "rated", "reward", "latency", "cost"


def _row(model: dict[str, Any]) -> list[str]:
    evidence = model["evidence"] or {}
    breaker = model["breaker"] or {}
    is_open = breaker.get("state", "closed") != "closed"
    return [
        model["id"],
        model["provider"],
        breaker["open_reason"] or breaker["state"] if is_open else model["state"],
        *_price(model["price"]),
        number(evidence.get("n_outcomes")),
        number(evidence.get("n_rated")),
        number(evidence.get("mean_reward")),
        number(evidence.get("mean_latency_s"), " s"),
        number(evidence.get("mean_cost_usd")),
    ]


def _price(price: dict[str, Any] | None) -> tuple[str, str]:
    """Dollars per million tokens."""
    return ("?", "?") if price is None else (number(price["input"]), number(price["output"]))
