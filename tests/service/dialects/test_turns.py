from __future__ import annotations

from typing import Any

import pytest

from service.conversations.answer_names import text_of
from service.dialects.client_markup import user_text, users_words
from service.dialects.session_names import session_id_of
from service.dialects.turns import question_text, questions_in, said_in, turn_of
from service.domain.basics import Json
from service.domain.query import Turn

REMINDER = "<system-reminder>\nAs you answer, use the following context:\n# claudeMd\n</system-reminder>"
BILLING = "x-anthropic-billing-header: cc_version=2.1.156; cch=1f2e;"
SYSTEM: Json = {
    "role": "system",
    "content": [
        {"type": "text", "text": BILLING},
        {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude."},
    ],
}
CALL: Json = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "Read", "arguments": "{}"}}],
}
RESULT: Json = {"role": "tool", "tool_call_id": "call_1", "content": "1 def f(): pass"}
ANSWER: Json = {"role": "assistant", "content": "Done."}
CODEX_ENVIRONMENT = "<environment_context>\n<cwd>/src</cwd>\n<shell>bash</shell>\n</environment_context>"
CODEX_AGENTS = "# AGENTS.md instructions for /src\n\n<INSTRUCTIONS>\nBe terse.\n</INSTRUCTIONS>"


def user(*texts: str) -> Json:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def asked_in(messages: list[Json], *, is_agents: bool = False) -> str:
    said = said_in(messages)
    return question_text(said, questions_in(said, is_agents=is_agents))


def turn(
    request: Json, session_id: str | None = None, headers: dict[str, str] | None = None, tenant: str = "t"
) -> Turn:
    said = said_in(request["messages"])
    return turn_of(tenant, request, said, questions_in(said), session_id, headers or {})


CLAUDE_CODE = [SYSTEM, user(REMINDER, "Fix the failing test")]
CODEX = [user(CODEX_AGENTS), user(CODEX_ENVIRONMENT), user("Fix the failing test")]


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("Why?", "Why?"),
        (f"{REMINDER}\nWhy?\n{REMINDER}", "Why?"),
        (REMINDER, ""),
        ("What does <system-reminder> mean?", "What does <system-reminder> mean?"),
        (f"{BILLING}\nYou are helpful.", "You are helpful."),
        (f"{CODEX_AGENTS}\n{CODEX_ENVIRONMENT}", ""),
        ("Do it.\n<environment_details>\nopen tabs: a.py\n</environment_details>", "Do it."),
        ("<local-command-stdout>ok</local-command-stdout>and now?", "and now?"),
        ("<ide_opened_file>The user opened a.py.</ide_opened_file>\nFix it", "Fix it"),
        ("<ide_selection>The user selected lines 5 to 10.</ide_selection>\nFix it", "Fix it"),
        ("Fix it\n<user-prompt-submit-hook>Run the linter.</user-prompt-submit-hook>", "Fix it"),
        ("<task-notification><task-id>7</task-id> is done.</task-notification>", ""),
    ],
)
def test_text_that_a_program_put_into_a_message_is_removed(text: str, own: str) -> None:
    assert user_text(text) == own


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("<current_datetime>2026-11-30T19:00:00Z</current_datetime>\n\nFix it", "Fix it"),
        ("<mode-reminder>\nPlan only.\n</mode-reminder>\nFix it", "Fix it"),
        ("Fix it\n\n<format_reminder>\nUse diffs.\n</format_reminder>", "Fix it"),
        ("<a-b>1</a-b>\n<editorContext n=1>\nx\n</editorContext>\nFix it\n<x_y>\n2\n</x_y>", "Fix it"),
        ("<env>\ncwd: /src\n</env>\nFix <b>it</b>\nnow", "Fix <b>it</b>\nnow"),
        ("<notes-1>\na\n</notes-1>", ""),
        ("<task>\nFix it\n</task>", "<task>\nFix it\n</task>"),
        ("<user_query>\nFix it\n</user_query>", "<user_query>\nFix it\n</user_query>"),
        ("<userRequest>\nFix it\n</userRequest>", "<userRequest>\nFix it\n</userRequest>"),
        ("<div>\n1\n</div>\nWhy is it left?", "<div>\n1\n</div>\nWhy is it left?"),
        ("Render this:\n<ul>\n<li>1</li>\n</ul>", "Render this:\n<ul>\n<li>1</li>\n</ul>"),
        ("<a-b>1</a-b> is what I see", "<a-b>1</a-b> is what I see"),
        ("What is <a-b>1</a-b>", "What is <a-b>1</a-b>"),
        ("<a-b>\nnever closed\nFix it", "<a-b>\nnever closed\nFix it"),
        ("Fix it\nnever opened\n</a-b>", "Fix it\nnever opened\n</a-b>"),
        ("List<string> x;\nFix it", "List<string> x;\nFix it"),
        ("", ""),
        ("</a-b>", "</a-b>"),
        ("<a-b></a-b>" * 3, "<a-b></a-b>" * 3),
        ("<a-b>\n1\n</a-b>\n" * 100 + "Fix it", "<a-b>\n1\n</a-b>\n" * 80 + "Fix it"),
    ],
    ids=range(20),
)  # fmt: skip
def test_blocks_before_and_after_the_users_words_are_an_agents(text: str, own: str) -> None:
    assert users_words(text) == own


def test_blocks_are_left_out_only_of_an_agents_requests() -> None:
    asked = user("<context>\nRome\n</context>\nWhich city?")

    assert asked_in([asked], is_agents=True) == "Which city?"
    assert asked_in([asked]) == text_of(asked)


def test_a_message_of_blocks_alone_is_kept_if_it_is_all_there_is() -> None:
    block = user("<my-notes>\nRome\n</my-notes>")

    assert asked_in([block], is_agents=True) == text_of(block)
    assert asked_in([user("Why?"), ANSWER, block], is_agents=True) == "Why?"


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (CLAUDE_CODE, "Fix the failing test"),
        ([*CLAUDE_CODE, CALL, RESULT], "Fix the failing test"),
        ([*CLAUDE_CODE, CALL, RESULT, user(REMINDER)], "Fix the failing test"),
        ([*CLAUDE_CODE, ANSWER, user("Commit it")], "Commit it\nFix the failing test"),
        (CODEX, "Fix the failing test"),
        ([*CODEX, ANSWER, user("Commit it")], "Commit it\nFix the failing test"),
        ([user("a" * 600), ANSWER, user("shorter"), ANSWER, user("Commit it")], "Commit it\nshorter"),
        ([user(REMINDER)], REMINDER),
    ],
    ids=range(8),
)
def test_the_context_is_the_users_newest_questions(messages: list[Json], text: str) -> None:
    assert asked_in(messages) == text


@pytest.mark.parametrize(
    ("messages", "loops"),
    [
        (CLAUDE_CODE, False),
        ([*CLAUDE_CODE, CALL, RESULT], True),
        ([*CLAUDE_CODE, CALL, RESULT, user(REMINDER)], True),
        ([*CLAUDE_CODE, CALL, RESULT, user("Stop, do this instead")], True),
        ([*CLAUDE_CODE, ANSWER, user("Commit it")], False),
        ([*CLAUDE_CODE, ANSWER], True),
        ([user("Look"), ANSWER, {"role": "user", "content": [{"type": "image_url"}]}], False),
    ],
    ids=range(7),
)
def test_a_tool_loop_lasts_until_the_model_has_answered(messages: list[Json], loops: bool) -> None:
    assert turn({"messages": messages}).in_tool_loop is loops


# --- the key


def key(
    messages: list[Json] = CLAUDE_CODE,
    *,
    tenant: str = "t",
    session_id: str | None = None,
    headers: dict[str, str] | None = None,
    **body: Any,
) -> bytes | None:
    request = {"messages": messages, **body}
    name = session_id_of(session_id, headers or {}, request)
    found = turn(request, name, headers, tenant)
    return found.key or (None if found.place is None else found.place.opening)


SESSION_HEADER = {"x-claude-code-session-id": "s-1"}
AGENT_HEADERS = SESSION_HEADER | {"x-claude-code-agent-id": "a-1"}


@pytest.mark.parametrize("names", [{"session_id": "s-1"}, {"headers": SESSION_HEADER}])
def test_a_session_id_names_a_conversation_with_any_messages(names: dict[str, Any]) -> None:
    assert key([user("One")], **names) == key([user("Two")], **names, metadata={"user_id": "u"})


def test_the_routers_session_id_overrides_claude_codes() -> None:
    assert key(session_id="s-2", headers=SESSION_HEADER) == key(session_id="s-2")
    assert key(headers=SESSION_HEADER) == key(session_id="s-1")


def test_a_sub_agent_has_its_own_conversation() -> None:
    assert key(headers=AGENT_HEADERS) != key(headers=SESSION_HEADER)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-session-id": "s-1"},
        {"session-id": "s-1", "thread-id": "s-1"},
        {"thread-id": "s-1"},
        {"conversation_id": "s-1"},
        {"x-session-id": "s-1", "session-id": "s-2"},
    ],
)
def test_session_headers_of_clients_name_one_conversation(headers: dict[str, str]) -> None:
    assert key([user("One")], headers=headers) == key([user("Two")], session_id="s-1")


@pytest.mark.parametrize(
    "body", [{"conversation_id": "c-1"}, {"metadata": {"conversation_id": "c-1", "user_id": "u"}}]
)
def test_a_conversation_id_in_the_body_names_one_conversation(body: dict[str, Any]) -> None:
    assert key([user("One")], **body) == key([user("Two")], session_id="c-1")
    assert key([user("One")], headers={"x-session-id": "s-1"}, **body) == key(session_id="s-1")


def test_each_thread_of_a_session_is_a_conversation() -> None:
    session, thread = {"session-id": "s-1"}, {"thread-id": "t-1"}

    assert key(headers=session | thread) != key(headers=session)
    assert key(headers=session | thread) != key(headers=thread)


@pytest.mark.parametrize("value", [3, None, {"id": "x"}, ["c"], "c" * 257, ""])
def test_a_conversation_id_of_another_kind_is_ignored(value: object) -> None:
    assert key(conversation_id=value, metadata={"conversation_id": value}) == key()
    assert key(metadata=value, prompt_cache_key=value) == key()


def test_tenants_never_share_a_conversation() -> None:
    assert key(session_id="s-1", tenant="a") != key(session_id="s-1", tenant="b")
    assert key(tenant="a") != key(tenant="b")


def test_without_a_name_the_first_message_identifies_the_conversation() -> None:
    later = [*CLAUDE_CODE, ANSWER, user("Commit it")]

    assert key(later) == key(CLAUDE_CODE)
    assert key([SYSTEM, user("Something else")]) != key(CLAUDE_CODE)
    assert key([user(REMINDER, "Fix the failing test")]) != key(CLAUDE_CODE)


def test_lines_that_change_between_requests_do_not_change_the_key() -> None:
    other = {**SYSTEM, "content": [{"type": "text", "text": f"{BILLING}9"}, SYSTEM["content"][1]]}

    assert key([other, *CLAUDE_CODE[1:]]) == key(CLAUDE_CODE)


@pytest.mark.parametrize("hint", [{"metadata": {"user_id": "u-1"}}, {"prompt_cache_key": "k-1"}])
def test_a_shared_key_separates_only_conversations_with_equal_first_messages(hint: dict[str, Any]) -> None:
    assert key(CLAUDE_CODE, **hint) != key(CLAUDE_CODE)
    assert key(CODEX, **hint) != key(CLAUDE_CODE, **hint)


@pytest.mark.parametrize("name", ["", "s" * 257])
def test_an_empty_or_too_long_name_is_ignored(name: str) -> None:
    assert key(headers={"x-claude-code-session-id": name}) == key()
    assert key(prompt_cache_key=name) == key()


@pytest.mark.parametrize(
    ("session_id", "messages", "may_continue"),
    [
        (None, CLAUDE_CODE, False),
        (None, [*CLAUDE_CODE, ANSWER, user("Commit it")], True),
        ("s-1", CLAUDE_CODE, True),
    ],
    ids=["first message", "second turn", "named"],
)
def test_a_first_message_alone_continues_nothing(
    session_id: str | None, messages: list[Json], may_continue: bool
) -> None:
    assert bool(turn({"messages": messages}, session_id).keys) is may_continue


def test_a_request_without_a_question_belongs_to_no_conversation() -> None:
    assert key([{"role": "system", "content": "Be brief."}]) is None
