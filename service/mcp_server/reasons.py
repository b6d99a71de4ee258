"""Says in plain sentences why a request went to its model, from its record or from a previewed decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from service.domain.basics import Json

MAX_NAMED = 5  # rejected models that are named


def reasons(record: Json) -> list[str]:
    """The sentences about a record of `/requests/{request_id}`, or about an answer of `/v1/route`.

    A record of a request that was not decided by weighing has no candidates, and gets fewer sentences.
    """
    chosen = record.get("chosen_model") or record["model"]
    parts = [
        _substitution(record),
        CHOICES.get(record["decision"], _drawn)(record, chosen),
        _replaced(record, chosen),
        _policy(record),
        _evidence(record, chosen),
        _runner_up(record, chosen),
        _rejected(record.get("rejected") or []),
        _degraded(record.get("degraded") or []),
        _calls(record, chosen),
        _outcome(record.get("outcome")),
        _rating(record),
    ]
    return [sentence for sentence in parts if sentence is not None]


def _substitution(record: Json) -> str | None:
    name = record.get("substituted_model")
    return None if name is None else f"No model is called {name}, so the router chose in its place."


def _drawn(record: Json, chosen: str) -> str:
    candidates = record.get("candidates") or []
    chance = _percent(record["propensity"])
    return f"{chosen} was drawn among {len(candidates)} models, with a probability of {chance}."


def _exploited(record: Json, chosen: str) -> str:
    candidates = record.get("candidates") or []
    best = f"{chosen} has the best expected utility of the {len(candidates)} models that could answer"
    return f"{best}, and was drawn with a probability of {_percent(record['propensity'])}."


def _explored(record: Json, chosen: str) -> str:
    better = [c["model"] for c in _by_utility(record) if c["model"] != chosen][:1]
    beside = f" {better[0]} has the best expected utility." if better else ""
    chance = _percent(record["propensity"])
    return f"{chosen} was drawn, with a probability of {chance}, to learn more about it.{beside}"


def _pinned(_: Json, chosen: str) -> str:
    return f"The request names {chosen}."


def _default(record: Json, chosen: str) -> str:
    if record.get("side_call") is not None:
        kind = record["side_call"].replace("_", " ")
        return (
            f"The client sent the request for itself ({kind}), so the cheapest model, {chosen}, answers it."
        )
    if record.get("holdout"):
        return f"The request is held out to measure savings, so the default model, {chosen}, answers it."
    sure = record.get("confidence")
    known = "" if sure is None else f" ({sure:.2f})"
    return f"The confidence in the best model is low{known}, so the default model, {chosen}, answers."


def _sticky(record: Json, chosen: str) -> str:
    conversation = record.get("conversation") or {}
    cost, gain = conversation.get("switching_cost"), conversation.get("gain")
    stays = f"The conversation stays on {chosen} (turn {conversation.get('turn', '?')})"
    if cost is None or gain is None:
        return f"{stays}."
    costs = (cost["switch_margin"] or 0) + (cost["cache_loss"] or 0)
    return f"{stays}: another model would gain {gain:.3f} of utility, and switching costs {costs:.3f}."


CHOICES: Mapping[str, Callable[[Json, str], str]] = {
    "exploit": _exploited,
    "explore": _explored,
    "pinned": _pinned,
    "default": _default,
    "sticky": _sticky,
}
REPLACED = {
    "fallback": "{chosen} could not answer, so {model} answered in its place.",
    "escalated": "The answer of {chosen} fell short, so {model} answered in its place.",
    "cache": "The same request was answered before: this is the cached answer of {model}.",
}


def _replaced(record: Json, chosen: str) -> str | None:
    """Why another answer than that of the chosen model was given; None: it was not."""
    how = (record.get("outcome") or record)["decision"]
    return REPLACED[how].format(chosen=chosen, model=record["model"]) if how in REPLACED else None


def _policy(record: Json) -> str | None:
    """The rule and the tier that narrowed the choice, and the tags that rules can name."""
    tags = ", ".join(f"{tag['name']} {tag['value']}" for tag in record.get("tags") or [])
    facts = [
        f"rule {record['rule']}" if record.get("rule") else "",
        f"tier {record['tier']}" if record.get("tier") else "",
        f"tagged {tags}" if tags else "",
    ]
    said = "; ".join(fact for fact in facts if fact)
    return f"Policies: {said}." if said else None


def _evidence(record: Json, chosen: str) -> str | None:
    weighed = next((c for c in record.get("candidates") or [] if c["model"] == chosen), None)
    if weighed is None:
        return None
    posterior, utility = weighed["posterior"], weighed["utility"]
    n_similar = len(record.get("neighbours") or [])
    return (
        f"Expected quality: {posterior['mean']:.2f}, from {posterior['n_rated']:.3g} ratings of its own "
        f"and {n_similar} rated answers to similar requests. Its utility of {utility['total']:.3f} is "
        f"{utility['quality']:.3f} for quality, {utility['bonus']:+.3f} for exploration, "
        f"{utility['speed']:+.3f} for speed, {utility['cost']:+.3f} for cost and "
        f"{utility['budget']:+.3f} for the budget."
    )


def _runner_up(record: Json, chosen: str) -> str | None:
    others = [c for c in _by_utility(record) if c["model"] != chosen]
    if not others:
        return None
    next_best = others[0]
    total, chance = next_best["utility"]["total"], _percent(next_best["probability"])
    return f"Next best is {next_best['model']}, with a utility of {total:.3f} and a probability of {chance}."


def _rejected(rejected: Sequence[Json]) -> str | None:
    if not rejected:
        return None
    named = "; ".join(f"{r['model']}: {r['reason']}" for r in rejected[:MAX_NAMED])
    more = len(rejected) - MAX_NAMED
    return f"Models that could not answer: {named}{f'; and {more} more' if more > 0 else ''}."


def _degraded(degraded: Sequence[str]) -> str | None:
    return f"The router decided without: {', '.join(degraded)}." if degraded else None


def _calls(record: Json, chosen: str) -> str | None:
    """The calls that failed; that the chosen model answered needs no words."""
    failed = [call for call in record.get("attempts") or [] if call["status"] != "ok"]
    if not failed:
        return None
    named = [f"{c['model']} ({c.get('error_message') or c.get('error_type') or c['status']})" for c in failed]
    return f"Calls that gave no answer: {'; '.join(named[:MAX_NAMED])}."


def _outcome(outcome: Json | None) -> str | None:
    if outcome is None:
        return None
    cost = outcome.get("cost_usd")
    dollars = "unknown dollars" if cost is None else f"${float(cost):.6f}"
    return f"The answer ({outcome['status']}) took {outcome['latency_s']:.2f} s and cost {dollars}."


def _rating(record: Json) -> str | None:
    if "reward" not in record:  # a preview
        return None
    reward = record["reward"]
    return "Nobody has rated it." if reward is None else f"Its rating counts as a reward of {reward:.2f}."


def _by_utility(record: Json) -> list[Json]:
    return sorted(record.get("candidates") or [], key=lambda c: -float(c["utility"]["total"]))


def _percent(probability: float) -> str:
    return f"{probability:.1%}"
