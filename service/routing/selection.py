"""From weighed arms to one arm: what a caller, a conversation or the holdout settles, and what a lot does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bandit.arrays import Floats
from bandit.beliefs import Beliefs
from bandit.policy import Choice, Holdout, ThompsonPolicy, draw, stay
from bandit.utility import UtilityTerms, price_in_utility
from service.conversations.affinity import cache_usd, session_of
from service.domain.types import Arm, DecisionKind, Pin, Query, Session


@dataclass(frozen=True, slots=True)
class Weighed:
    """The arms that may answer a query, and what is believed of them."""

    query: Query
    arms: Sequence[Arm]
    beliefs: Beliefs
    terms: UtilityTerms
    policy: ThompsonPolicy
    pin: Pin | None

    def index_of(self, arm_id: str) -> int | None:
        return next((i for i, arm in enumerate(self.arms) if arm.arm_id == arm_id), None)

    def session(self, index: int) -> Session:
        """Where the conversation is left when this arm answers."""
        return session_of(self.query, self.arms[index], self.pin)


@dataclass(frozen=True, slots=True)
class Chosen:
    """One arm, and how it came to be that one."""

    choice: Choice
    probabilities: Floats  # of the lot; where none was cast, of the one that would have been
    kind: DecisionKind
    holdout: bool | None
    session: Session


def choose(weighed: Weighed, rng: np.random.Generator, *, margin: float, holdout: Holdout | None) -> Chosen:
    """Leave the arm to whoever settles it, else draw it.

    Args:
        margin: utility that must be gained, beyond the price of the prompt cache, to leave an arm.
        holdout: the share to be held out; None: nobody.
    """
    probabilities = weighed.policy.weigh(weighed.beliefs, weighed.terms)
    if (settled := _settled(weighed)) is not None:
        return _without_a_lot(weighed, probabilities, *settled)
    if (held := _held(weighed)) is not None:
        return _weighed_against_staying(weighed, probabilities, rng, held, margin)
    if weighed.pin is not None:
        chosen = _lot_cast(weighed, probabilities, rng)
        return replace(chosen, kind="fallback") if weighed.query.turn.in_tool_loop else chosen
    return _first(weighed, probabilities, rng, holdout)


def _settled(weighed: Weighed) -> tuple[int, DecisionKind] | None:
    """The arm that the caller names, that is amid a tool loop, or that the conversation's lot fell on.

    What a client asks for itself goes to the cheapest.
    """
    query, pin = weighed.query, weighed.pin
    if query.requested_model is not None:
        return 0, "pinned"
    if query.turn.is_housekeeping:
        return int(np.argmin(weighed.beliefs.expected_cost_usd)), "default"
    if pin is None:
        return None
    if query.turn.in_tool_loop:
        index = weighed.index_of(pin.arm_id)
        return None if index is None else (index, "sticky")
    if pin.holdout and weighed.policy.default_arm is not None:
        return weighed.policy.default_arm, "default"
    return None


def _held(weighed: Weighed) -> int | None:
    """The arm that others must beat by more than a toll: the conversation's, while the budget allows it."""
    index = None if weighed.pin is None else weighed.index_of(weighed.pin.arm_id)
    barred = weighed.policy.barred
    return None if index is None or (barred is not None and barred[index]) else index


def _without_a_lot(weighed: Weighed, probabilities: Floats, index: int, kind: DecisionKind) -> Chosen:
    choice = Choice(index=index, propensity=1.0, uniform=0.0)
    session = replace(weighed.session(index), is_drawn=False)
    return Chosen(choice, probabilities, kind, _lot_of(weighed, kind), session)


def _lot_of(weighed: Weighed, kind: DecisionKind) -> bool | None:
    """The conversation's lot, where the request counts for the comparison."""
    if weighed.pin is None or kind == "pinned" or not weighed.query.options.learn:
        return None
    return weighed.pin.holdout


def _weighed_against_staying(
    weighed: Weighed, free: Floats, rng: np.random.Generator, held: int, margin: float
) -> Chosen:
    policy, utilities = weighed.policy, weighed.terms.total
    lost_usd = cache_usd(weighed.query, weighed.arms[held])
    cache_price = price_in_utility(lost_usd, weighed.beliefs, policy.knobs, policy.price)
    probabilities = stay(free, utilities, held, margin + cache_price)
    if probabilities[held] == 1.0:
        chosen = _without_a_lot(weighed, free, held, "sticky")
    else:
        chosen = _lot_cast(weighed, probabilities, rng)
    others = np.delete(utilities, held)
    gain = float(others.max() - utilities[held]) if others.size else 0.0
    session = replace(chosen.session, gain=gain, margin=margin, cache_price=cache_price)
    kind = "sticky" if chosen.choice.index == held else chosen.kind
    return replace(chosen, kind=kind, session=session)


def _first(
    weighed: Weighed, probabilities: Floats, rng: np.random.Generator, holdout: Holdout | None
) -> Chosen:
    """A request on its own, or the first of a conversation: its lot holds for what follows."""
    if holdout is None:
        return _lot_cast(weighed, probabilities, rng)
    mixed = holdout.mix(probabilities)
    chosen = _lot_cast(weighed, mixed, rng)
    is_held_out = holdout.holds(chosen.choice, mixed)
    session = replace(chosen.session, holdout=is_held_out)
    kind = "default" if is_held_out else chosen.kind
    return replace(chosen, kind=kind, holdout=is_held_out, session=session)


def _lot_cast(weighed: Weighed, probabilities: Floats, rng: np.random.Generator) -> Chosen:
    choice = draw(probabilities, rng)
    kind = _kind(weighed, choice)
    return Chosen(choice, probabilities, kind, _lot_of(weighed, kind), weighed.session(choice.index))


def _kind(weighed: Weighed, choice: Choice) -> DecisionKind:
    """Why the arm was drawn: nothing better is known, it looks best, or it may be."""
    least = weighed.policy.knobs.min_confidence_score
    is_default = choice.index == weighed.policy.default_arm
    if is_default and weighed.beliefs.posterior.mean.max() < least:
        return "default"
    return "exploit" if choice.index == int(np.argmax(weighed.terms.total)) else "explore"
