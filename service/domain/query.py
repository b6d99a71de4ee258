"""A client's request in the router's own form."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from bandit.knobs import Knobs
from service.domain.basics import Json
from service.domain.caller import Caller
from service.domain.conversation import Place
from service.domain.credentials import Credential
from service.domain.narrowing import Narrowing
from service.domain.overrides import NO_OVERRIDES, Overrides
from service.domain.value import value

OWN_ID_PREFIX = 95  # characters of the given id at the start of a query's own one, which has at most 128


# Of a request that continues a thread, whose earlier messages only Anthropic has. Clients that find these
# words in an error send the whole conversation.
THREAD_REFUSED = "thread: continue (capability_rejected: beta_header:message-threads-2026-08-12)"

# What clients ask for themselves, beside the user's conversation.
SideCall = Literal["title", "tags", "follow_ups", "search", "summary", "check", "probe"]


def ignore_new_id(request_id: str) -> None: ...


@value
class Turn:
    """A request's place in its conversation."""

    key: bytes | None = None  # of a conversation with a session id, within its tenant
    place: Place | None = None  # of the answer, in a conversation without a session id
    answered: tuple[bytes, ...] = ()  # keys of that conversation if the router gave its newest answer
    in_tool_loop: bool = False  # the newest messages are tool results; the user asks nothing new
    continues_thread: bool = False  # the provider of the conversation's arm has the messages before these
    n_asked_chars: int = 0  # length of the current question; earlier ones follow it in the query's text
    side_call: SideCall | None = None  # what the client asks for itself; None: the request is the user's

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys under which the state of its conversation can be, the surest first."""
        return self.answered if self.key is None else (self.key,)

    @property
    def is_in_conversation(self) -> bool:
        """Whether the request belongs to a conversation, or can start one."""
        return self.key is not None or self.place is not None

    @property
    def moves_conversation(self) -> bool:
        """Whether the request changes the state of its conversation."""
        return self.is_in_conversation and self.side_call is None


@value
class Options:
    """A client's options for the router; they narrow the operator's policy and never widen it."""

    models: frozenset[str] | None = None  # ids or aliases; None: any
    exclude: frozenset[str] = frozenset()  # ids or aliases
    require_data_use: frozenset[str] = frozenset()  # required of the provider, beyond the operator's
    max_cost_usd: Decimal | None = None
    feedback_weight: float | None = None
    latency_weight: float | None = None
    cost_weight: float | None = None
    session_id: str | None = None
    task: str | None = None  # the kind of request, as the client tags it
    learn: bool = True
    explain: bool = False
    cost: bool = False  # a stream states its cost at its end

    @property
    def own_weights(self) -> Json:
        """The utility weights that the client set, by the name of their knob."""
        own = {
            "feedback_weight": self.feedback_weight,
            "latency_weight": self.latency_weight,
            "cost_weight": self.cost_weight,
        }
        return {name: weight for name, weight in own.items() if weight is not None}

    def narrow(self, knobs: Knobs) -> Knobs:
        """The operator's knobs, with the client's weights where it set them."""
        return replace(knobs, **self.own_weights) if self.own_weights else knobs


@value
class Native:
    """A request in the Anthropic dialect as received, for arms that speak that dialect."""

    body: Json
    headers: Mapping[str, str]  # the headers to send upstream
    needs: tuple[str, ...] = ()  # features of the request that only such arms support


@value
class Query:
    """A client's request in OpenAI's chat form, whatever its dialect.

    `body` is the validated request without the `router` object. `text` is the text to embed.
    `body_digest` distinguishes a retry from another request under the same id.
    """

    tenant: str
    request_id: str
    request_id_given: bool  # False: the router made the id, so it is new
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
    native: Native | None = None  # None: `body` is the request as received
    n_client_retries: int = 0  # the number of earlier tries that the client reports
    turn: Turn = Turn()
    requested_among: frozenset[str] | None = None  # arms that the client's name stands for; None: any
    substituted_model: str | None = None  # the client's name, which no arm has: the router chooses instead
    requested_tier: str | None = None  # that the client's name stands for
    backend: str | None = None  # the provider that must answer; None: any
    overridden_by: tuple[
        str, ...
    ] = ()  # settings, or headers of that meaning, that replaced the client's name
    # Counted tokens of the prompt, by tokenizer.
    counts: Mapping[str, int] = field(default_factory=dict)
    # Not part of the value, and not spooled: orjson leaves out names that begin with an underscore.
    # Is called with every id that the query gets in place of the given one.
    _on_new_id: Callable[[str], None] = field(default=ignore_new_id, compare=False, repr=False)
    _form: Json = field(default_factory=dict, compare=False, repr=False)
    _notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    _overrides: Overrides = field(default=NO_OVERRIDES, compare=False, repr=False)
    _narrowing: Narrowing | None = field(default=None, compare=False, repr=False)
    _rule_headers: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    _credential: Credential | None = field(default=None, compare=False, repr=False)
    _caller: Caller | None = field(default=None, compare=False, repr=False)

    @property
    def caller(self) -> Caller | None:
        """Who sent the request; None: the router itself."""
        return self._caller

    @property
    def credential(self) -> Credential | None:
        """The caller's own key, for arms that take it; None: there is none, or no arm takes it."""
        return self._credential

    @property
    def form(self) -> Json:
        """What the request says about the form of its answer, in the terms of its dialect."""
        return self._form

    @property
    def notes(self) -> tuple[str, ...]:
        """What the dialect left out of the request."""
        return self._notes

    @property
    def overrides(self) -> Overrides:
        """What the headers of the request override."""
        return self._overrides

    @property
    def narrowing(self) -> Narrowing | None:
        """What the policies leave to choose among; None: every arm."""
        return self._narrowing

    @property
    def rule_headers(self) -> Mapping[str, str]:
        """The headers of the request that rules read, by their names in small letters."""
        return self._rule_headers

    def narrowed(self, narrowing: Narrowing) -> Query:
        """The query, which only the arms of the narrowing may answer."""
        return replace(self, _narrowing=narrowing)

    def under_own_id(self) -> Query:
        """The query under an id that belongs to its body, in place of a given id that belongs to another.

        The id is the same in every replica and for every retry.
        """
        digest = hashlib.sha256(self.request_id.encode() + b"\0" + self.body_digest).hexdigest()
        own = replace(self, request_id=f"{self.request_id[:OWN_ID_PREFIX]}-{digest[:32]}")
        self._on_new_id(own.request_id)
        return own

    @property
    def n_messages(self) -> int:
        """The number of messages in the request as received."""
        return len((self.body if self.native is None else self.native.body)["messages"])
