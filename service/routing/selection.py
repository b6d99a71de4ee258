"""From weighed arms to one arm: what a caller, a conversation or the holdout settles, and what a lot does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bandit.arrays import Floats
from bandit.beliefs import Beliefs
from bandit.policy import Choice, Holdout, ThompsonPolicy, draw, stay
from bandit.utility import UtilityTerms, price_in_utility
from service.conversations.affinity import cache_loss_usd, step_of
from service.domain.arm import Arm
from service.domain.basics import DecisionKind
from service.domain.conversation import ConversationState, ConversationStep
from service.domain.query import Query


@dataclass(frozen=True, slots=True)
class WeighedArms:
    """The arms that may answer a query, and what is believed of them."""

    query: Query
    arms: Sequence[Arm]
    beliefs: Beliefs
    terms: UtilityTerms
    policy: ThompsonPolicy
    conversation: ConversationState | None

    def index_of(self, arm_id: str) -> int | None:
        return next((i for i, arm in enumerate(self.arms) if arm.arm_id == arm_id), None)

    def step(self, index: int) -> ConversationStep:
        """Where the conversation is left when this arm answers."""
        return step_of(self.query, self.arms[index], self.conversation)


@dataclass(frozen=True, slots=True)
class Selection:
    """One arm, and how it came to be that one."""

    choice: Choice
    probabilities: Floats  # of the lot; where none was cast, of the one that would have been
    kind: DecisionKind
    holdout: bool | None
    step: ConversationStep


def select(
    weighed: WeighedArms, rng: np.random.Generator, *, switch_margin: float, holdout: Holdout | None
) -> Selection:
    """Leave the arm to whoever settles it, else draw it.

    Args:
        margin: utility that must be gained, beyond the price of the prompt cache, to leave an arm.
        holdout: the share to be held out; None: nobody.
    """
    probabilities = weighed.policy.weigh(weighed.beliefs, weighed.terms)
    if (settled := _settled(weighed)) is not None:
        return _undrawn(weighed, probabilities, *settled)
    if (incumbent := _incumbent(weighed)) is not None:
        return _weighed_against_staying(weighed, probabilities, rng, incumbent, switch_margin)
    if weighed.conversation is not None:
        chosen = _drawn(weighed, probabilities, rng)
        return replace(chosen, kind="fallback") if weighed.query.turn.in_tool_loop else chosen
    return _first(weighed, probabilities, rng, holdout)


def _settled(weighed: WeighedArms) -> tuple[int, DecisionKind] | None:
    """The arm that the caller names, that is amid a tool loop, or that the conversation's lot fell on.

    What a client asks for itself goes to the cheapest.
    """
    query, conversation = weighed.query, weighed.conversation
    if query.requested_model is not None:
        return 0, "pinned"
    if query.turn.is_housekeeping:
        return int(np.argmin(weighed.beliefs.expected_cost_usd)), "default"
    if conversation is None:
        return None
    if query.turn.in_tool_loop:
        index = weighed.index_of(conversation.arm_id)
        return None if index is None else (index, "sticky")
    if conversation.holdout and weighed.policy.default_arm is not None:
        return weighed.policy.default_arm, "default"
    return None


def _incumbent(weighed: WeighedArms) -> int | None:
    """The arm that others must beat by more than a toll: the conversation's, while the budget allows it."""
    index = None if weighed.conversation is None else weighed.index_of(weighed.conversation.arm_id)
    barred = weighed.policy.barred
    return None if index is None or (barred is not None and barred[index]) else index


def _undrawn(weighed: WeighedArms, probabilities: Floats, index: int, kind: DecisionKind) -> Selection:
    choice = Choice(index=index, propensity=1.0, uniform=0.0)
    step = replace(weighed.step(index), is_drawn=False)
    return Selection(choice, probabilities, kind, _conversation_holdout(weighed, kind), step)


def _conversation_holdout(weighed: WeighedArms, kind: DecisionKind) -> bool | None:
    """The conversation's lot, where the request counts for the comparison."""
    if weighed.conversation is None or kind == "pinned" or not weighed.query.options.learn:
        return None
    return weighed.conversation.holdout


def _weighed_against_staying(
    weighed: WeighedArms, free: Floats, rng: np.random.Generator, incumbent: int, switch_margin: float
) -> Selection:
    policy, utilities = weighed.policy, weighed.terms.total
    lost_usd = cache_loss_usd(weighed.query, weighed.arms[incumbent])
    cache_loss = price_in_utility(lost_usd, weighed.beliefs, policy.knobs, policy.price)
    probabilities = stay(free, utilities, incumbent, switch_margin + cache_loss)
    if probabilities[incumbent] == 1.0:
        chosen = _undrawn(weighed, free, incumbent, "sticky")
    else:
        chosen = _drawn(weighed, probabilities, rng)
    others = np.delete(utilities, incumbent)
    gain = float(others.max() - utilities[incumbent]) if others.size else 0.0
    step = replace(chosen.step, gain=gain, switch_margin=switch_margin, cache_loss=cache_loss)
    kind = "sticky" if chosen.choice.index == incumbent else chosen.kind
    return replace(chosen, kind=kind, step=step)


def _first(
    weighed: WeighedArms, probabilities: Floats, rng: np.random.Generator, holdout: Holdout | None
) -> Selection:
    """A request on its own, or the first of a conversation: its lot holds for what follows."""
    if holdout is None:
        return _drawn(weighed, probabilities, rng)
    mixed = holdout.mix(probabilities)
    chosen = _drawn(weighed, mixed, rng)
    is_held_out = holdout.contains(chosen.choice, mixed)
    step = replace(chosen.step, holdout=is_held_out)
    kind = "default" if is_held_out else chosen.kind
    return replace(chosen, kind=kind, holdout=is_held_out, step=step)


def _drawn(weighed: WeighedArms, probabilities: Floats, rng: np.random.Generator) -> Selection:
    choice = draw(probabilities, rng)
    kind = _kind(weighed, choice)
    return Selection(
        choice, probabilities, kind, _conversation_holdout(weighed, kind), weighed.step(choice.index)
    )


def _kind(weighed: WeighedArms, choice: Choice) -> DecisionKind:
    """Why the arm was drawn: nothing better is known, it looks best, or it may be."""
    least = weighed.policy.knobs.min_confidence_score
    is_default = choice.index == weighed.policy.default_arm
    if is_default and weighed.beliefs.posterior.mean.max() < least:
        return "default"
    return "exploit" if choice.index == int(np.argmax(weighed.terms.total)) else "explore"
