"""What a client asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from bandit.knobs import Knobs
from service.domain.basics import Json


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a request stands in its conversation."""

    key: bytes | None = None  # the conversation's, within its tenant; None: the request is on its own
    continues: bool = False  # there may have been a request of this conversation before
    in_tool_loop: bool = False  # the model is given what it asked for; the user asks nothing new
    n_asked_chars: int = 0  # of the query's text: what is asked now; then comes what was asked before
    is_housekeeping: bool = False  # the client asks for itself: a title, a summary, a probe


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller asked of the router itself; it narrows the operator's policy, never widens it."""

    models: frozenset[str] | None = None  # ids or aliases; None: any
    exclude: frozenset[str] = frozenset()  # ids or aliases
    require_data_use: frozenset[str] = frozenset()  # what the provider has to promise, beside the operator's
    max_cost_usd: Decimal | None = None
    feedback_weight: float | None = None
    latency_weight: float | None = None
    cost_weight: float | None = None
    session_id: str | None = None
    task: str | None = None  # what kind of request the caller says this is
    learn: bool = True
    explain: bool = False

    @property
    def own_weights(self) -> Json:
        """The weights of the utility that the client set, by the name of their knob."""
        own = {
            "feedback_weight": self.feedback_weight,
            "latency_weight": self.latency_weight,
            "cost_weight": self.cost_weight,
        }
        return {name: weight for name, weight in own.items() if weight is not None}

    def narrow(self, knobs: Knobs) -> Knobs:
        """The operator's knobs with the client's own weights."""
        return replace(knobs, **self.own_weights) if self.own_weights else knobs


@dataclass(frozen=True, slots=True)
class Native:
    """A request in the Anthropic dialect as it came, for the arms that speak it themselves."""

    body: Json
    headers: Mapping[str, str]  # those that the upstream is to see
    needs: tuple[str, ...] = ()  # what the request asks for that no other arm can do


@dataclass(frozen=True, slots=True)
class Query:
    """What a caller asks, in OpenAI's chat form whatever its dialect was.

    `body` is the request as validated, without the `router` object; `text` is what the context is
    made from; `body_digest` tells a retry from another request under the same id.
    """

    tenant: str
    request_id: str
    request_id_given: bool  # False: we made it, so nothing can be known under it
    body: Json
    text: str
    body_digest: bytes
    dialect: str
    requested_model: str | None  # None: the router chooses
    stream: bool
    n_prompt_tokens: int  # an estimate: UTF-8 bytes / 4, and 1,600 for each file
    max_output_tokens: int | None
    options: Options
    received_at: datetime
    native: Native | None = None  # None: `body` is what came
    n_client_retries: int = 0  # how often its client says that it tried before
    turn: Turn = Turn()
    counts: Mapping[str, int] = field(
        default_factory=dict
    )  # of the prompt's tokens, by tokenizer, where counted

    @property
    def n_messages(self) -> int:
        """How many messages came."""
        return len((self.body if self.native is None else self.native.body)["messages"])
