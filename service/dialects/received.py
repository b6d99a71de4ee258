"""What a client sent beside its body, and the query that both make."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import datetime

import orjson

from service.dialects.options import RouterOptions, client_retries, read_options
from service.dialects.overrides import read_overrides
from service.dialects.request_shape import shape_of, with_hints
from service.dialects.session_names import session_id_of
from service.dialects.side_calls import side_call_of
from service.dialects.turns import question_text, questions_in, said_in, side_turn_of, turn_of
from service.domain.basics import AUTO, Json
from service.domain.caller import Caller
from service.domain.credentials import Credential
from service.domain.query import Native, Query, ignore_new_id
from service.domain.value import value


@value
class Received:
    """The request around a body.

    Args:
        path: the names in its path, and those that its route stands for.
        params: the parameters of its URL.
        rule_headers: the headers that rules read, by their names in small letters.
        credential: the caller's own key for a provider; None: it has none, or no arm takes it.
        caller: who sends it; None: the router itself.
        on_new_id: called with an id that the query gets in place of the given one.
    """

    headers: Mapping[str, str]
    tenant: str
    request_id: str
    request_id_given: bool
    received_at: datetime
    path: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    rule_headers: Mapping[str, str] = field(default_factory=dict)
    credential: Credential | None = field(default=None, repr=False)
    caller: Caller | None = None
    on_new_id: Callable[[str], None] = field(default=ignore_new_id, repr=False)

    def query(
        self,
        dialect: str,
        sent: Json,
        chat: Json,
        *,
        model: str | None,
        stream: bool,
        n_prompt_tokens: int,
        max_output_tokens: int | None,
        router: RouterOptions | None,
        native: Native | None = None,
        form: Json | None = None,
        notes: tuple[str, ...] = (),
    ) -> Query:
        """The query of a validated request.

        Args:
            sent: the body as received.
            chat: the same as a Chat Completions request.
            form: what it says about the form of its answer, for the dialect's own use.
            notes: what of it `chat` leaves out.

        Raises:
            BadRequest: an option or an override in a header breaks its rule.
        """
        options = read_options(router, self.headers)
        request, messages = with_hints(sent, chat), chat["messages"]
        shape, said = shape_of(request, self.headers), said_in(messages)
        questions = questions_in(said, is_agents=shape.may_be_agents)
        session_id = session_id_of(options.session_id, self.headers, request)
        turn = turn_of(self.tenant, request, said, questions, session_id, self.headers)
        if options.task is None and (side_call := side_call_of(shape, said)) is not None:
            turn, options = side_turn_of(turn, side_call), replace(options, learn=False)
        return Query(
            tenant=self.tenant,
            request_id=self.request_id,
            request_id_given=self.request_id_given,
            body=chat,
            text=question_text(said, questions),
            body_digest=hashlib.sha256(orjson.dumps(sent, option=orjson.OPT_SORT_KEYS)).digest(),
            dialect=dialect,
            requested_model=None if model is None or model in AUTO else model,
            stream=stream,
            n_prompt_tokens=n_prompt_tokens,
            max_output_tokens=max_output_tokens,
            options=options if session_id is None else replace(options, session_id=session_id),
            received_at=self.received_at,
            native=native,
            n_client_retries=client_retries(self.headers),
            turn=turn,
            _on_new_id=self.on_new_id,
            _form=form or {},
            _notes=notes,
            _rule_headers=self.rule_headers,
            _overrides=read_overrides(self.headers),
            _credential=self.credential,
            _caller=self.caller,
        )
