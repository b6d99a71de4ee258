"""Finds the question of a request and the conversation that the request belongs to.

Pure. It reads messages in OpenAI's form, for both dialects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from service.conversations.answer_names import digest, names_of_result, possible_names, text_of
from service.dialects.client_markup import user_text, users_words
from service.dialects.request_shape import INSTRUCTIONS, continues_thread
from service.dialects.session_names import part_of_session, shared_key
from service.domain.basics import Json
from service.domain.conversation import Place
from service.domain.query import SideCall, Turn

WINDOW_CHARS = 500  # of the user's earlier questions, as context of the newest

Said: TypeAlias = tuple[str, str]  # the role and the text of a message
Question: TypeAlias = tuple[int, str]  # the user's own words, after the position of their message
_OUTSIDE = Turn()
_NOTHING_ASKED = digest()


def said_in(messages: Sequence[Json]) -> list[Said]:
    """What each message says; its text is read here once for all who look at it."""
    return [(message["role"], text_of(message)) for message in messages]


def questions_in(said: Sequence[Said], *, is_agents: bool = False) -> list[Question]:
    """The user's own words, of every message that has any."""
    own = users_words if is_agents else user_text
    return [(i, words) for i, (role, text) in enumerate(said) if role == "user" and (words := own(text))]


def question_text(said: Sequence[Said], questions: Sequence[Question]) -> str:
    """The user's newest question, followed by the questions shortly before it.

    If no message has a user's own words, it is the text of the last message that has any.
    """
    if not questions:
        return next((text for _, text in reversed(said) if text.strip()), "")
    *earlier, newest = [text for _, text in questions]
    return "\n".join([newest, *_window(earlier)])


def _window(earlier: Sequence[str]) -> list[str]:
    """The newest of the earlier questions, newest first, as many as fit into WINDOW_CHARS."""
    window, left = [], WINDOW_CHARS
    for question in reversed(earlier):
        left -= len(question)
        if left < 0:
            break
        window.append(question)
    return window


def turn_of(
    tenant: str,
    body: Json,
    said: Sequence[Said],
    questions: Sequence[Question],
    session_id: str | None,
    headers: Mapping[str, str],
) -> Turn:
    """The place of a request in its conversation.

    A session id names the conversation, which then has affinity from its first request. Any other
    conversation is named by its newest answer: the request continues it if this router gave the answer. A key
    that several conversations can share counts together with the first message.
    """
    messages: Sequence[Json] = body["messages"]
    key = place = None
    answered: tuple[bytes, ...] = ()
    if session_id is not None:
        key = digest(tenant, "named", session_id, part_of_session(session_id, headers))
    elif not questions:
        return _OUTSIDE
    else:
        opening = digest(tenant, "opened", shared_key(body), _instructions(said), questions[0][1])
        place = _place(opening, questions, len(messages))
        answered = _names_of_newest_answer(opening, messages, questions)
    is_thread = continues_thread(body)
    return Turn(
        key,
        place,
        answered,
        in_tool_loop=_is_in_tool_loop(messages) or is_thread,
        continues_thread=is_thread,
        n_asked_chars=len(questions[-1][1]) if questions else 0,
    )


def _place(opening: bytes, questions: Sequence[Question], end: int) -> Place:
    """The place of an answer before the message at `end`."""
    before = [text for at, text in questions if at < end]
    asked = ["".join(text.split()) for text in before[-2:]]
    return Place(opening, digest(*asked), digest(*asked[:-1]) if len(asked) > 1 else _NOTHING_ASKED)


def side_turn_of(turn: Turn, side_call: SideCall) -> Turn:
    """The place of a side call: outside of the conversation, unless it is about its whole history."""
    outside = Turn(n_asked_chars=turn.n_asked_chars) if side_call != "summary" else turn
    return replace(outside, side_call=side_call)


def _names_of_newest_answer(
    opening: bytes, messages: Sequence[Json], questions: Sequence[Question]
) -> tuple[bytes, ...]:
    """The names that the newest answer has if this router gave it, the surest first.

    A started answer at the end may be the client's own, so the answer before it counts too. The last name is
    the one that versions up to 0.2 gave to the whole conversation: their rows are read until they expire.
    """
    names: dict[bytes, None] = {}
    end = len(messages)
    while end > 0:
        start, stop = _newest_answer(messages[:end])
        if stop == 0:
            break
        place = _place(opening, questions, start)
        for result in messages[stop:end]:
            names.update(dict.fromkeys(names_of_result(place, result.get("tool_call_id"))))
        names.update(dict.fromkeys(possible_names(place, messages[start:stop])))
        names.update(dict.fromkeys(possible_names(place, messages[stop - 1 : stop])))
        is_started = stop == len(messages)
        end = start if is_started else 0
    if names:
        names[opening] = None
    return tuple(names)


def _newest_answer(messages: Sequence[Json]) -> tuple[int, int]:
    """Where the newest run of an assistant's messages starts and stops; (0, 0): there is none."""
    stop = len(messages)
    while stop > 0 and messages[stop - 1]["role"] != "assistant":
        stop -= 1
    start = stop
    while start > 0 and messages[start - 1]["role"] == "assistant":
        start -= 1
    return start, stop


def _is_in_tool_loop(messages: Sequence[Json]) -> bool:
    """Whether a tool result is unanswered, or the last message is an answer to continue.

    A user's message after a tool result does not end the loop: an agent may have written it.
    """
    for message in reversed(messages):
        if message["role"] in {"tool", "function"}:
            return True
        if message["role"] == "assistant":
            return message is messages[-1]
    return False


def _instructions(said: Sequence[Said]) -> str:
    """The text of the first system or developer message."""
    return next((user_text(text) for role, text in said if role in INSTRUCTIONS), "")
