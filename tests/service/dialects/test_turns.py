from __future__ import annotations

from typing import Any

import pytest

from service.dialects.client_markup import user_text
from service.dialects.turns import is_client_housekeeping, question_text, session_id_of, turn_of
from service.domain.basics import Json
from service.domain.query import Options

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
    assert question_text(messages) == text


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
    assert turn_of("t", {"messages": messages}, Options(), {}).in_tool_loop is loops


# --- the key


def key(
    messages: list[Json] = CLAUDE_CODE,
    *,
    tenant: str = "t",
    session_id: str | None = None,
    headers: dict[str, str] | None = None,
    **body: Any,
) -> bytes | None:
    options = Options(session_id=session_id_of(session_id, headers or {}))
    turn = turn_of(tenant, {"messages": messages, **body}, options, headers or {})
    return turn.key or turn.opening


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
    ("options", "messages", "may_continue"),
    [
        (Options(), CLAUDE_CODE, False),
        (Options(), [*CLAUDE_CODE, ANSWER, user("Commit it")], True),
        (Options(session_id="s-1"), CLAUDE_CODE, True),
    ],
    ids=["first message", "second turn", "named"],
)
def test_a_first_message_alone_continues_nothing(
    options: Options, messages: list[Json], may_continue: bool
) -> None:
    assert bool(turn_of("t", {"messages": messages}, options, {}).keys) is may_continue


def test_a_request_without_a_question_belongs_to_no_conversation() -> None:
    assert key([{"role": "system", "content": "Be brief."}]) is None


# --- housekeeping

TOPIC = "Analyze if this message indicates a new conversation topic. If it does, extract a 2-3 word title"
TITLE = "Please write a 5-10 word title for the following conversation:\n\nUser: fix it"


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "system", "content": TOPIC}, user("fix it")], "max_tokens": 512},
        {"messages": [*CLAUDE_CODE, ANSWER, user(TITLE)], "max_completion_tokens": 512, "tools": []},
        {"messages": [user("quota")], "max_tokens": 1},
    ],
    ids=["topic", "title", "probe"],
)
def test_a_request_that_a_client_sends_for_itself_belongs_to_no_conversation(body: Json) -> None:
    assert is_client_housekeeping(body)
    assert turn_of("t", body, Options(session_id="s-1"), {}).key is None


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [user("Write a title for my novel")], "max_tokens": 20},
        {"messages": [user(TITLE)]},
        {"messages": [user(TITLE)], "max_tokens": 8_000},
        {"messages": [user(TITLE)], "max_tokens": 512, "tools": [{"type": "function"}]},
        {"messages": [user(TITLE), ANSWER, user("Now fix it")], "max_tokens": 512},
    ],
    ids=["another title", "no bound", "a large bound", "with tools", "earlier"],
)
def test_a_request_that_only_resembles_housekeeping_is_the_users(body: Json) -> None:
    assert not is_client_housekeeping(body)
