"""Select one of the weighed arms: the client, the conversation or the holdout fixes it, else a draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
from service.domain.value import value


@value
class WeighedArms:
    """The arms that may answer a query, with their beliefs and utilities."""

    query: Query
    arms: Sequence[Arm]
    beliefs: Beliefs
    terms: UtilityTerms
    policy: ThompsonPolicy
    conversation: ConversationState | None
    n_rated: float  # the tenant's rated requests
    sources: Sequence[str | None]  # of the arms' prior means

    def index_of(self, arm_id: str) -> int | None:
        return next((i for i, arm in enumerate(self.arms) if arm.arm_id == arm_id), None)

    def probabilities(self) -> Floats:
        """The policy's probabilities of the arms."""
        return self.policy.weigh(self.beliefs, self.terms)


@value
class Selection:
    """The selected arm, and how it was selected."""

    choice: Choice
    probabilities: Floats  # of the draw; without a draw, of the draw that would have been made
    kind: DecisionKind
    holdout: bool | None
    step: ConversationStep


def select(
    weighed: WeighedArms, rng: np.random.Generator, *, switch_margin: float, holdout: Holdout | None
) -> Selection:
    """Select the arm that is fixed for this query, else draw one.

    Args:
        switch_margin: gain in utility that a switch of arms needs, beyond the loss of the prompt cache.
        holdout: the share to hold out; None: no request is held out.
    """
    probabilities = weighed.probabilities()
    if (fixed := _fixed(weighed)) is not None:
        return undrawn(weighed.query, weighed.arms, weighed.conversation, probabilities, *fixed)
    if (incumbent := _incumbent(weighed)) is not None:
        return _stay_or_switch(weighed, probabilities, rng, incumbent, switch_margin)
    if weighed.conversation is not None:
        selection = _drawn(weighed, probabilities, rng)
        return replace(selection, kind="fallback") if weighed.query.turn.in_tool_loop else selection
    return _first_of_conversation(weighed, probabilities, rng, holdout)


def named_or_in_loop(
    query: Query, arms: Sequence[Arm], conversation: ConversationState | None
) -> tuple[int, DecisionKind] | None:
    """The arm that the client names, or that a tool loop goes on with: it answers whatever is believed of it.

    None: there is no such arm.
    """
    if query.requested_model is not None:
        return 0, "pinned"
    if query.turn.side_call is not None or not query.turn.in_tool_loop or conversation is None:
        return None
    in_loop = (i for i, arm in enumerate(arms) if arm.arm_id == conversation.arm_id)
    return next(((i, "sticky") for i in in_loop), None)


def undrawn(
    query: Query,
    arms: Sequence[Arm],
    conversation: ConversationState | None,
    probabilities: Floats,
    index: int,
    kind: DecisionKind,
) -> Selection:
    """The selection of an arm without a draw."""
    choice = Choice(index=index, propensity=1.0, uniform=0.0)
    step = step_of(query, arms[index], conversation, is_drawn=False)
    return Selection(choice, probabilities, kind, _conversation_holdout(query, conversation, kind), step)


def _fixed(weighed: WeighedArms) -> tuple[int, DecisionKind] | None:
    """The arm that the client names, that a side call or a tool loop goes to, or that the holdout fixes."""
    query, conversation = weighed.query, weighed.conversation
    if (fixed := named_or_in_loop(query, weighed.arms, conversation)) is not None:
        return fixed
    if query.turn.side_call is not None:
        return _for_side_call(weighed)
    if conversation is None or query.turn.in_tool_loop:
        return None
    if conversation.holdout and weighed.policy.default_arm is not None:
        return weighed.policy.default_arm, "default"
    return None


def _for_side_call(weighed: WeighedArms) -> tuple[int, DecisionKind]:
    """The cheapest arm; for a summary, the arm whose cache has the conversation, else the best one.

    A summary is read in place of the conversation from then on, so it is worth a good model.
    """
    conversation = weighed.conversation
    incumbent = None if conversation is None else weighed.index_of(conversation.arm_id)
    if incumbent is not None:
        return incumbent, "sticky"
    if weighed.query.turn.side_call == "summary":
        return int(np.argmax(weighed.terms.total)), "default"
    return int(np.argmin(weighed.beliefs.expected_cost_usd)), "default"


def _incumbent(weighed: WeighedArms) -> int | None:
    """The conversation's current arm if the budget allows it: others must beat it by the switching cost."""
    index = None if weighed.conversation is None else weighed.index_of(weighed.conversation.arm_id)
    barred = weighed.policy.barred
    return None if index is None or (barred is not None and barred[index]) else index


def _conversation_holdout(
    query: Query, conversation: ConversationState | None, kind: DecisionKind
) -> bool | None:
    """The holdout state of the conversation, if the request counts for the comparison."""
    if conversation is None or kind == "pinned" or not query.options.learn:
        return None
    return conversation.holdout


def _stay_or_switch(
    weighed: WeighedArms,
    unconstrained: Floats,
    rng: np.random.Generator,
    incumbent: int,
    switch_margin: float,
) -> Selection:
    policy, utilities = weighed.policy, weighed.terms.total
    lost_usd = cache_loss_usd(weighed.query, weighed.arms[incumbent])
    cache_loss = price_in_utility(lost_usd, weighed.beliefs, policy.knobs, policy.price)
    probabilities = stay(unconstrained, utilities, incumbent, switch_margin + cache_loss)
    if probabilities[incumbent] == 1.0:
        selection = undrawn(
            weighed.query, weighed.arms, weighed.conversation, unconstrained, incumbent, "sticky"
        )
    else:
        selection = _drawn(weighed, probabilities, rng)
    others = np.delete(utilities, incumbent)
    gain = float(others.max() - utilities[incumbent]) if others.size else 0.0
    step = replace(selection.step, gain=gain, switch_margin=switch_margin, cache_loss=cache_loss)
    kind = "sticky" if selection.choice.index == incumbent else selection.kind
    return replace(selection, kind=kind, step=step)


def _first_of_conversation(
    weighed: WeighedArms, probabilities: Floats, rng: np.random.Generator, holdout: Holdout | None
) -> Selection:
    """Draw for a single request, or the first of a conversation: its holdout applies to all of it."""
    if holdout is None:
        return _drawn(weighed, probabilities, rng)
    mixed = holdout.mix(probabilities)
    selection = _drawn(weighed, mixed, rng)
    is_held_out = holdout.contains(selection.choice, mixed)
    step = replace(selection.step, holdout=is_held_out)
    kind = "default" if is_held_out else selection.kind
    return replace(selection, kind=kind, holdout=is_held_out, step=step)


def _drawn(weighed: WeighedArms, probabilities: Floats, rng: np.random.Generator) -> Selection:
    query, conversation, choice = weighed.query, weighed.conversation, draw(probabilities, rng)
    kind = _kind(weighed, choice)
    step = step_of(query, weighed.arms[choice.index], conversation)
    return Selection(choice, probabilities, kind, _conversation_holdout(query, conversation, kind), step)


def _kind(weighed: WeighedArms, choice: Choice) -> DecisionKind:
    """Why the arm was drawn: no arm is trusted, it looks best, or it is explored."""
    min_confidence = weighed.policy.knobs.min_confidence_score
    is_default = choice.index == weighed.policy.default_arm
    if is_default and weighed.beliefs.posterior.mean.max() < min_confidence:
        return "default"
    return "exploit" if choice.index == int(weighed.terms.total.argmax()) else "explore"
