"""Side calls of clients, in the shapes in which they were seen, and requests of users that resemble them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from service.dialects.chat import requests as chat
from service.dialects.messages import requests as messages
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Query

CLAUDE = {"x-claude-code-session-id": "cc-1", "user-agent": "claude-cli/2.1.285 (external, cli)"}
OPENCODE = {"x-session-id": "oc-1", "x-session-affinity": "oc-1", "user-agent": "opencode/1.2 ai-sdk"}
QWEN = {"user-agent": "QwenCode/0.14.0 (linux; x64)"}
BILLING = "x-anthropic-billing-header: cc_version=2.1.285; cch=1f2e;"
IDENTITY = "You are Claude Code, Anthropic's official CLI for Claude."
TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in ("Read", "Edit", "Bash")]
FUNCTIONS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("read", "bash")]
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
LONG_PROMPT = "You are an interactive agent. Help the user with software engineering tasks. " * 150
HISTORY = [
    {"role": "user", "content": "Fix the test"},
    {"role": "assistant", "content": "It is fixed."},
]


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def schema(**fields: str) -> Json:
    properties = {name: {"type": kind} for name, kind in fields.items()}
    return {"type": "object", "properties": properties, "required": [*fields], "additionalProperties": False}


def claude(*turns: Json, system: str = "", **body: Any) -> Query:
    """A request of Claude Code."""
    texts = [BILLING, IDENTITY, *([system] if system else [])]
    sent = {
        "model": "auto",
        "max_tokens": 32_000,
        "stream": True,
        "system": [{"type": "text", "text": text} for text in texts],
        "messages": list(turns),
        "metadata": {"user_id": "u"},
        "output_config": {"effort": "high"},
        **body,
    }
    return messages.read_query(orjson.dumps(sent), received(CLAUDE))


def openai(*turns: Json, headers: dict[str, str] | None = None, **body: Any) -> Query:
    """A Chat Completions request."""
    sent = {"model": "auto", "messages": list(turns), **body}
    return chat.read_query(orjson.dumps(sent), received(headers or {}))


def received(headers: dict[str, str]) -> Received:
    return Received(headers, "t", "r-1", True, datetime(2026, 11, 30, tzinfo=UTC))


def opencode(*turns: Json, **body: Any) -> Query:
    return openai(*turns, headers=OPENCODE, max_tokens=32_000, stream=True, **body)


def system(text: str) -> Json:
    return {"role": "system", "content": text}


def title_form(*names: str) -> Json:
    return {
        "effort": "high",
        "format": {"type": "json_schema", "schema": schema(**dict.fromkeys(names, "string"))},
    }


def template(task: str, field: str) -> str:
    """A template of Open WebUI."""
    return (
        f"### Task:\n{task}\n\n### Guidelines:\n- Be concise.\n\n### Output:\nJSON format: "
        f'{{ "{field}": "..." }}\n\n### Chat History:\n<chat_history>\nUSER: fix it\nASSISTANT: Done.\n'
        "</chat_history>"
    )


OPENCODE_TITLE = (
    "You are a title generator. You output ONLY a thread title. Nothing else.\n\n"
    "<task>\nGenerate a brief title.\n</task>"
)
TITLE = "Generate a concise, 3-5 word title with an emoji summarizing the chat history."
TAGS = "Generate 1-3 broad tags categorizing the main themes of the chat history."
FOLLOW_UPS = (
    "Suggest 3-5 relevant follow-up questions or prompts that the user might naturally ask next in this "
    "conversation as a **user**, based on the chat history."
)
QUERIES = "Analyze the chat history to determine the necessity of generating search queries."
CLAUDE_TITLE = (
    "Generate a concise, sentence-case title (3-7 words) that captures the main topic or goal of this coding "
    'session. Return JSON with a single "title" field.'
)
BASH = (
    "Your task is to process Bash commands that an AI coding agent wants to run.\n\n"
    "This policy spec defines how to determine the prefix of a Bash command:"
)
COMPACT = (
    "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\n"
    "Your task is to create a detailed summary of the conversation so far, paying close attention to the "
    "user's explicit requests and your previous actions."
)
WEB_PAGE = "\nWeb page content:\n---\n# Rome\nThe capital.\n---\n\nWhat is the capital? Be concise."

SIDE_CALLS = {
    "Claude Code: web search": (
        "search",
        claude(
            user("Perform a web search for the query: rust 1.90"),
            system="You are an assistant for performing a web search tool use",
            tools=[SEARCH],
            tool_choice={"type": "auto"},
        ),
    ),
    "Claude Code: forced web search": (
        "search",
        claude(user("Look up rust 1.90"), tools=[SEARCH], tool_choice={"type": "tool", "name": "web_search"}),
    ),
    "Claude Code: web page": ("search", claude(user(WEB_PAGE))),
    "Claude Code: title": (
        "title",
        claude(user("fix the test"), system=CLAUDE_TITLE, tools=[], output_config=title_form("title")),
    ),
    "Claude Code: title in other words": (
        "title",
        claude(
            user("fix the test"),
            system="Come up with a headline of this session for a list. Answer in the user's language.",
            output_config=title_form("headline"),
        ),
    ),
    "Claude Code: title by its form": (
        "title",
        claude(user("fix the test"), system="Name it in three words.", output_config=title_form("title")),
    ),
    "Claude Code: topic": (
        "title",
        claude(
            user("fix the test"),
            system="Analyze if this message indicates a new conversation topic. If it does, extract a title.",
            max_tokens=512,
        ),
    ),
    "Claude Code: check of a command": ("check", claude(user("Command: git status"), system=BASH)),
    "Claude Code: hook": (
        "check",
        claude(
            user("Hook condition: tests pass"),
            system="You are evaluating a hook in Claude Code. Say whether the agent may stop.",
            output_config=title_form("reason"),
        ),
    ),
    "Claude Code: forced classification": (
        "check",
        claude(
            user("The agent wants to run: rm -rf build"),
            system="You are a security monitor for autonomous agents.",
            tools=TOOLS[:1],
            tool_choice={"type": "tool", "name": "Read"},
        ),
    ),
    "Claude Code: quota": ("probe", claude(user("quota"), max_tokens=1)),
    "Claude Code: compaction": ("summary", claude(*HISTORY, user(COMPACT), tools=TOOLS, system=LONG_PROMPT)),
    "Claude Code: suggested next words": (
        "follow_ups",
        claude(
            *HISTORY,
            user("[SUGGESTION MODE: Suggest what the user might naturally type next into Claude Code.]"),
            tools=TOOLS,
            system=LONG_PROMPT,
        ),
    ),
    "opencode: title": (
        "title",
        opencode(
            system(OPENCODE_TITLE), user("Generate a title for this conversation:\n"), user("fix the test")
        ),
    ),
    "opencode: title in other words": (
        "title",
        opencode(system("Name what the text below is about."), user("The text:"), user("fix the test")),
    ),
    "opencode: compaction": (
        "summary",
        opencode(
            system("You are a helpful AI assistant tasked with summarizing conversations."),
            *HISTORY,
            user("Provide a detailed prompt for continuing our conversation above."),
        ),
    ),
    "Qwen Code: compression": (
        "summary",
        openai(
            system("You are the component that summarizes internal chat history into a given structure."),
            *HISTORY,
            user("First, reason in your scratchpad. Then, generate the <state_snapshot>."),
            headers=QWEN,
        ),
    ),
    "Qwen Code: next speaker": (
        "check",
        openai(
            *HISTORY,
            user("Analyze your preceding answer: who speaks, the model or the person at the keyboard?"),
            headers=QWEN,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": schema(reasoning="string", next_speaker="string")},
            },
        ),
    ),
    "Open WebUI: title": (
        "title",
        openai(
            user(template(TITLE, "title")),
            stream=False,
            max_tokens=1_000,
        ),
    ),
    "Open WebUI: tags": (
        "tags",
        openai(user(template(TAGS, "tags"))),
    ),
    "Open WebUI: follow-ups": (
        "follow_ups",
        openai(
            user(template(FOLLOW_UPS, "follow_ups")),
            stream=False,
        ),
    ),
    "Open WebUI: search queries": (
        "search",
        openai(
            user(template(QUERIES, "queries"))
        ),
    ),
    "LibreChat: title": (
        "title",
        openai(
            system("Provide a concise, 5-word-or-less title for the conversation, using its language."),
            user("fix the test"),
            max_tokens=75,
        ),
    ),
    "Continue: title": (
        "title",
        openai(
            user("Please reply with a title for the chat that is 3-4 words in length.\n\nDone."),
            max_tokens=12,
        ),
    ),
    "crush: title": (
        "title",
        openai(
            system("You will generate a short title based on the first message of a conversation."),
            user("fix the test"),
            max_tokens=40,
        ),
    ),
    "front end: title after the messages": (
        "title",
        openai(
            *HISTORY,
            user("Please write a 5-10 word title for the following conversation:\n\nUser: fix it"),
            max_completion_tokens=512,
            tools=[],
        ),
    ),
    "monitor: one token": ("probe", openai(user("hi"), max_tokens=1)),
}  # fmt: skip

THINKS: dict[str, Any] = {"thinking": {"type": "adaptive"}, "context_management": {"edits": []}}
TITLE_CHAT = "Please write a 5-10 word title for the following conversation:\n\nUser: fix it"
OF_USERS = {
    "Claude Code: first request": claude(user("Write a title for my essay"), tools=TOOLS, **THINKS),
    "Claude Code: first request, about a chat": claude(
        user("Write a title for this conversation in TITLE.md"), tools=TOOLS, system=LONG_PROMPT
    ),
    "Claude Code: without tools": claude(user("Write a title for my essay"), system=LONG_PROMPT, **THINKS),
    "Claude Code: without tools and thinking": claude(
        user("Write a title for my essay"), system=LONG_PROMPT, thinking={"type": "disabled"}
    ),
    "Claude Code: own short prompt": claude(user("Write a poem"), system="You are a pirate."),
    "Claude Code: one tool": claude(user("Read a.py"), tools=TOOLS[:1], system=LONG_PROMPT),
    "Claude Code: own tools and a search": claude(user("Who won?"), tools=[*TOOLS, SEARCH]),
    "Claude Code: bash as typed by the provider": claude(
        user("List files"), tools=[{"type": "bash_20250124", "name": "bash"}]
    ),
    "Claude Code: continued thread": claude(
        user("Commit it"), thread={"type": "continue", "previous_message_id": "msg_1"}, max_tokens=1_000
    ),
    "Claude Code: nothing but a question": claude(user("What is a bandit?"), max_tokens=100),
    "Claude Code: second turn": claude(*HISTORY, user("Commit it"), tools=TOOLS, **THINKS),
    "Claude Code: tool loop of a summary": claude(
        *HISTORY,
        user("Summarize this conversation in NOTES.md"),
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "Read", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}]},
        tools=TOOLS,
    ),
    "Claude Code: summary of a file": claude(*HISTORY, user("Summarize README.md"), tools=TOOLS),
    "opencode: first request": opencode(system(LONG_PROMPT), user("Generate a title"), tools=FUNCTIONS),
    "opencode: without tools": opencode(system(LONG_PROMPT), user("Generate a title for my talk")),
    "application with an affinity header": openai(
        system("You are a helpful assistant. Suggest follow-up questions in each conversation."),
        user("What is a bandit?"),
        headers={"x-session-affinity": "a"},
    ),
    "chat: title of a feature": openai(user("Write a title for the chat feature of my app"), max_tokens=50),
    "chat: essay": openai(user("Write a title for my essay")),
    "chat: essay, limited": openai(user("Write a title for my essay"), max_tokens=20),
    "chat: essay, in JSON": openai(
        user("Write a title for my essay"),
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "t", "schema": schema(title="string")},
        },
    ),
    "chat: summary of the chat": openai(*HISTORY, user("Summarize our conversation so far")),
    "chat: title of the chat, not limited": openai(*HISTORY, user("Give this conversation a title")),
    "chat: pasted chat": openai(user(TITLE_CHAT)),
    "chat: pasted chat, much room": openai(user(TITLE_CHAT), max_tokens=8_000),
    "chat: pasted chat, with tools": openai(user(TITLE_CHAT), max_tokens=512, tools=FUNCTIONS),
    "chat: asked earlier": openai(user(TITLE_CHAT), HISTORY[1], user("Now fix it"), max_tokens=512),
    "chat: general prompt": openai(
        system("You are a helpful assistant. Stay on topic and keep the conversation friendly."),
        user("What is a bandit?"),
        max_tokens=500,
    ),
    "chat: search by the provider": openai(user("Who won yesterday?"), web_search_options={}),
    "chat: session and search": openai(
        user("Who won?"), headers={"x-session-id": "s-1"}, tools=[{"type": "web_search"}]
    ),
    "pipeline: conversations in JSON": openai(
        user("Extract the order number as JSON.\n\n<conversation>\nUSER: 17\n</conversation>")
    ),
    "pipeline: tickets": openai(
        system("You classify support tickets. Answer in JSON."),
        user("### Ticket\nIt broke.\n### History\n<chat_history>\nUSER: hi\n</chat_history>"),
    ),
    "pipeline: summaries": openai(
        user(template("Summarize what the customer wants in the chat history.", "summary"))
    ),
    "pipeline: tagged by its client": openai(
        user(template("Generate 1-3 broad tags for the chat history.", "tags")), router={"task": "tagging"}
    ),
    "evaluation: one token": openai(
        user("Question: what is the capital of Italy? A) Rome B) Oslo\nAnswer:"), max_tokens=1
    ),
    "user: starts an answer": openai(user("Title?"), {"role": "assistant", "content": "{"}, max_tokens=9),
    "user: quota": openai(user("quota")),
    "RAG": openai(
        user("### Task:\nAnswer with the context.\n### Context\n<context>\nJSON\n</context>\nWhat is X?")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIDE_CALLS)
def test_what_a_client_asks_for_itself_is_recognised(name: str) -> None:
    kind, query = SIDE_CALLS[name]

    assert query.turn.side_call == kind
    assert not query.options.learn
    assert not query.turn.moves_conversation


@pytest.mark.parametrize("name", OF_USERS)
def test_a_request_that_only_resembles_a_side_call_is_the_users(name: str) -> None:
    query = OF_USERS[name]

    assert query.turn.side_call is None
    assert query.options.learn
    assert query.turn.moves_conversation


def test_there_are_more_requests_of_users_than_side_calls() -> None:
    assert len(OF_USERS) > len(SIDE_CALLS)
