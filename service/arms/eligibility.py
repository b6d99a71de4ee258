"""Which arms may answer a query: its length, what it needs, what it may cost, and what its client allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from decimal import Decimal

from service.arms.capabilities import lacking
from service.domain.arm import Arm
from service.domain.basics import plain
from service.domain.context_overflow import ContextOverflow
from service.domain.query import Query
from service.domain.tokens import prompt_tokens, tokenizer_of
from service.domain.value import value
from service.errors import ContextTooLong
from service.providers.fitting import reason_against as reason_against_body

USUAL_ANSWER_TOKENS = 300  # assumed length of an answer if neither request nor log says
LEAST_ANSWER_TOKENS = 4_096  # for which a window must have room, if the request allows as many


@value
class Demands:
    """The demands of a query on the arm that answers it, read once for all arms.

    Args:
        allowed: ids of the allowed arms; None: all.
        abilities: capabilities that its body needs.
        data_use: promises that the arm's provider must give.
        without_key: why arms have no key for it, by arm id.
    """

    query: Query
    allowed: frozenset[str] | None
    excluded: frozenset[str]
    abilities: frozenset[str]
    data_use: frozenset[str]
    without_key: Mapping[str, str] = field(default_factory=dict)


def reason_against(arm: Arm, demands: Demands) -> str | None:
    """Why the arm may not answer, whatever its state; None: it may."""
    return _reason_of_options(arm, demands) or (
        _reason_of_size(arm, demands.query)
        or _reason_of_ability(arm, demands.query, demands.abilities)
        or _reason_of_cost(arm, demands.query)
    )


def reason_but_size(arm: Arm, demands: Demands) -> str | None:
    """Why the arm may not answer, the length of the prompt aside."""
    return _reason_of_options(arm, demands) or _reason_of_ability(arm, demands.query, demands.abilities)


def is_allowed(arm: Arm, demands: Demands) -> bool:
    """Whether the client's options allow the arm."""
    return _reason_of_options(arm, demands) is None


def _reason_of_options(arm: Arm, demands: Demands) -> str | None:
    query, among, caller = demands.query, demands.query.requested_among, demands.query.caller
    if caller is not None and caller.models is not None and not caller.may_ask((arm.arm_id, *arm.aliases)):
        return f"not among the models of the key {caller.key_name!r}"
    if among is not None and arm.arm_id not in among:
        if query.backend is not None:
            return f"its provider is not {query.backend}"
        return "not among the models that the requested name stands for"
    narrowing = query.narrowing
    if narrowing is not None and not narrowing.allows(arm.arm_id):
        return narrowing.reason
    if demands.allowed is not None and arm.arm_id not in demands.allowed:
        return "not among router.models"
    if arm.arm_id in demands.excluded:
        return "among router.exclude"
    if unpromised := demands.data_use - arm.data_use:
        return f"its provider does not promise {', '.join(sorted(unpromised))}"
    return demands.without_key.get(arm.arm_id) or _reason_of_prompt(arm, demands.query)


def _reason_of_prompt(arm: Arm, query: Query) -> str | None:
    """Why a variant's prompt is not for the query; a client that names the variant wants its prompt."""
    if arm.prompt is None or arm.prompt.is_for(query.options.task):
        return None
    if query.requested_model in (arm.arm_id, *arm.aliases):
        return None
    return f"its prompt is for the task {arm.prompt.task}"


def _reason_of_size(arm: Arm, query: Query) -> str | None:
    if fits(arm, query):
        return None
    n_prompt = prompt_tokens(arm, query)
    about = "" if tokenizer_of(arm) in query.counts else "about "
    wanted = f" with an answer of {n_least}" if (n_least := _least_answer(arm, query)) else ""
    return f"prompt of {about}{n_prompt} tokens{wanted} exceeds its window of {arm.context_window}"


def _reason_of_ability(arm: Arm, query: Query, needed: frozenset[str]) -> str | None:
    if query.native is not None and query.native.needs and arm.provider != query.dialect:
        return f"only {query.dialect} models can do {', '.join(query.native.needs)}"
    missing = lacking(arm, needed)
    if missing:
        return f"cannot do {', '.join(sorted(missing))}"
    return reason_against_body(arm, query.body, query.native)


def _reason_of_cost(arm: Arm, query: Query) -> str | None:
    max_cost_usd = query.options.max_cost_usd
    if max_cost_usd is None:
        return None
    if arm.price is None:
        return "its price is not known, so it may exceed max_cost_usd"
    if (expected := list_cost_usd(arm, query)) <= max_cost_usd:
        return None
    return f"expected cost of {plain(expected)} USD exceeds max_cost_usd {plain(max_cost_usd)}"


def fits(arm: Arm, query: Query) -> bool:
    """Whether the prompt fits the arm's context window, and an answer of some length after it."""
    if arm.context_window is None:
        return True
    return prompt_tokens(arm, query) + _least_answer(arm, query) <= arm.context_window


def limited(arm: Arm, query: Query) -> Arm:
    """The arm with the longest answer that it can give to this query, to which `max_tokens` is clamped."""
    if arm.context_window is None or query.max_output_tokens is None:
        return arm
    n_prompt = prompt_tokens(arm, query)
    if tokenizer_of(arm) not in query.counts:
        n_prompt = n_prompt * 5 // 4  # an estimate, which is seldom too low by more
    n_left = arm.context_window - n_prompt
    if n_left >= query.max_output_tokens:
        return arm
    n_most = max(n_left, _least_answer(arm, query))
    return replace(arm, max_output_tokens=min(n_most, arm.max_output_tokens or n_most))


def _least_answer(arm: Arm, query: Query) -> int:
    """Tokens that must be left in the window for the answer: `max_tokens` is a limit and no wish."""
    limits = [query.max_output_tokens or 0, LEAST_ANSWER_TOKENS]
    limits += [limit for limit in (arm.max_output_tokens, (arm.context_window or 0) // 4) if limit]
    return min(limits)


def list_cost_usd(arm: Arm, query: Query) -> Decimal:
    """Expected cost of the query at the arm's prices, or at those assumed for it, US dollars."""
    price = arm.expected_price
    n_prompt = query.n_prompt_tokens + arm.n_own_prompt_tokens
    return (n_prompt * price.input + answer_tokens(query) * price.output) / 1_000_000


def answer_tokens(query: Query) -> int:
    """The expected length of all answers to the query."""
    n_answers: int = query.body.get("n") or 1
    return min(USUAL_ANSWER_TOKENS, query.max_output_tokens or USUAL_ANSWER_TOKENS) * n_answers


def too_long(arms: Sequence[Arm], query: Query) -> ContextTooLong:
    """The error of a prompt that is too long for these arms: in the words by which clients know it."""
    largest = max(arms, key=lambda arm: arm.context_window or 0)
    n_tokens, window = prompt_tokens(largest, query), largest.context_window or 0
    if n_tokens <= window:
        n_tokens += _least_answer(largest, query)
    reasons = "; ".join(f"{arm.arm_id}: {_reason_of_size(arm, query)}" for arm in arms)
    detail = f"it exceeds the context window of every model that could answer: {reasons}"
    return ContextTooLong(ContextOverflow(n_tokens, window, detail).in_openais_words, param="messages")
