"""What makes a dialect: it reads requests into queries, and writes answers, events and errors.

Inside the router a request is a Chat Completions body and an answer a `chat.completion`. A dialect translates
at the rim, so that every dialect has the same choice of models, fallback, conversations and learning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias
from uuid import UUID

from pydantic import BaseModel

from service.dialects.received import Received
from service.domain.answer import Chunk
from service.domain.basics import Json
from service.domain.query import Query
from service.domain.value import value

Problem: TypeAlias = tuple[int, Json]  # status and body of an error


class Decided(Protocol):
    """The decision that an answer follows."""

    @property
    def decision_id(self) -> UUID | None:
        """None: there is no decision."""
        ...

    @property
    def vendor_mark(self) -> str | None:
        """The mark of the vendor that answers; None: nobody answers."""
        ...

    @property
    def explanation(self) -> Json | None:
        """The explanation of the decision, if the client requested it."""
        ...


@dataclass(frozen=True, slots=True)
class Undecided:
    """What there is of a decision before there is one."""

    decision_id: None = None
    vendor_mark: None = None
    explanation: None = None


UNDECIDED = Undecided()


@value
class Answered:
    """A whole answer to a query.

    Args:
        body: an OpenAI `chat.completion` object.
        native: the answer of an arm that speaks the client's dialect, in that dialect.
        totals: makes what the router states about the answer, as at the end of a stream.
    """

    body: Json
    native: Json | None
    decided: Decided
    totals: Callable[[], Json]


@dataclass(frozen=True, slots=True)
class Route:
    """A path on which requests of a dialect are answered, all with POST.

    Args:
        summary: one sentence for the OpenAPI document.
        needs_request_id: X-Request-ID is required.
        is_documented: it is in the OpenAPI document; false for a second path of the same.
        names: what the path stands for, in addition to the names in it.
    """

    path: str
    summary: str
    needs_request_id: bool = False
    is_documented: bool = True
    names: Mapping[str, str] = field(default_factory=dict)


class EventWriter(Protocol):
    """Writes the server-sent events of one streamed answer."""

    def chunk(self, chunk: Chunk) -> bytes:
        """The events of one chunk; often none."""
        ...

    def totals(self, router: Json) -> bytes:
        """The event with what the whole answer cost, before its end; often the dialect has none."""
        ...

    def end(self) -> bytes:
        """The events that end the answer."""
        ...

    def failure(self, problem: Problem, request_id: str) -> bytes:
        """The last event of a stream that fails. `problem` is in OpenAI's form."""
        ...


class Dialect(Protocol):
    """The format of one provider's API."""

    @property
    def name(self) -> str:
        """Its name in the log."""
        ...

    @property
    def routes(self) -> tuple[Route, ...]: ...

    @property
    def tag(self) -> str:
        """Its group in the OpenAPI document."""
        ...

    @property
    def request_model(self) -> type[BaseModel]:
        """The body of its requests."""
        ...

    @property
    def error_model(self) -> type[BaseModel]:
        """The body of its errors."""
        ...

    @property
    def ping(self) -> bytes:
        """What is sent in long pauses of a stream."""
        ...

    @property
    def keep_alive(self) -> bytes:
        """What is sent before the first event, where clients expect no other event."""
        ...

    def owns(self, path: str, headers: Mapping[str, str]) -> bool:
        """Whether requests for this path use this dialect, offered or not."""
        ...

    def read_query(self, raw: bytes, received: Received) -> Query:
        """Read a request. Raises BadRequest."""
        ...

    def answer(self, query: Query, answered: Answered) -> Json | list[Json]:
        """The body of a whole answer."""
        ...

    def event_writer(self, query: Query, decided: Decided) -> EventWriter: ...

    def error(self, problem: Problem, request_id: str | None, wait_s: float | None = None) -> Problem:
        """An error of OpenAI's form in this dialect.

        Args:
            wait_s: wait before a retry; None: the error gives none.
        """
        ...
