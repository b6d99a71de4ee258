"""Recognises side calls: requests that a client sends for itself, beside the user's conversation.

Such as a title, tags, follow-up questions, a web search, a check of a command, a summary of the history, a
probe. Their shape differs: a coding agent offers its tools in every request of its user, and not in a side
call; the prompt is about the conversation itself; a transcript stands in place of messages; the answer is
bound to be short. No single sign suffices.

Pure. It reads requests in OpenAI's form.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from service.dialects.client_markup import user_text, users_words
from service.dialects.request_shape import INSTRUCTIONS, Shape
from service.domain.query import SideCall

PROBES = frozenset({"quota", "warmup"})
PROBE_CHARS = 16
TASK_CHARS = 1_500  # at the start of a text, where it says what it asks for
TASK_PROMPT_CHARS = 8_000  # longer instructions are those of an agent, not of one task
TITLE_PROMPT_CHARS = 250  # at the start of instructions that ask for a title
BARE_PROMPT_CHARS = 120  # instructions that only say who the agent is

_SENTENCE = re.compile(r"[^.!?\n]+")
_CONVERSATION = re.compile(
    r"\b(?:conversations?|chats?|chatbot|threads?|sessions?|dialog(?:ue)?s?|discussions?|chat_history|context|"
    r"(?:first|following|latest|user|user's) (?:message|prompt|request|query|question))\b"
)
_TASKS: Mapping[SideCall, re.Pattern[str]] = {
    "title": re.compile(r"\b(?:titles?|headlines?|headings?|topics?)\b"),
    "tags": re.compile(r"\b(?:tags?|categories|categori[sz](?:e|ing)|emojis?)\b"),
    "follow_ups": re.compile(r"\b(?:follow[- ]?ups?\b|suggest|autocomplet|next speaker\b|speak next\b)"),
    "search": re.compile(r"\b(?:search|retrieval) quer(?:y|ies)\b"),
    "summary": re.compile(r"\b(?:summar(?:y|ies|i[sz])|compact|condens|recap|hand-?off)"),
}
_THIS_CONVERSATION = re.compile(
    r"\b(?:this|our|the|above|following|new) (?:\w+ )?(?:conversation|discussion|dialogue|chat history)\b|"
    r"\b(?:this|our|the) chat(?: that\b|[.,:;\n]|$)"
)
_OF_FRONT_ENDS: tuple[SideCall, ...] = ("title", "tags", "follow_ups", "search")
_ASKS = re.compile(
    r"\b(?:come up|generat|writ|creat|provid|giv|produc|output|craft|suggest|propos|repl|respond|return|"
    r"extract|summar|analy[sz]|determin|categori|compact|condens|nam|want|task|perform)\w*"
)
_NEXT_WORDS = re.compile(r"\buser (?:might|may|would|could) (?:\w+ )?(?:type|ask|say|write) next\b")
_GUARDS = re.compile(r"\b(?:polic(?:y|ies)|security|safety|unsafe|malicious|classifier|prefix|hooks?)\b")
_GUARDED = re.compile(r"\b(?:commands?|agents?|actions?)\b")
_TRANSCRIPT = re.compile(r"<(?:chat_history|chat|conversation|transcript|history|messages|dialogue)>")
_RULER = re.compile(r"^-{3,80}$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,4} \w", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Texts:
    """What a request says, in lower case."""

    prompt: str  # its instructions
    asked: Sequence[str]  # the user's words, message by message


def side_call_of(shape: Shape, said: Sequence[tuple[str, str]]) -> SideCall | None:
    """What the client asks for itself; None: the request is the user's.

    Args:
        said: the role and the text of each message.
    """
    if shape.is_in_thread or (not shape.is_agents and (shape.n_functions or shape.n_server_tools)):
        return None
    spoken = next((message for message in reversed(said) if message[0] not in INSTRUCTIONS), None)
    if spoken is None or spoken[0] != "user":
        return None  # a tool's result, or an answer to continue
    if not shape.is_agents and not shape.is_small and "<" not in spoken[1]:
        return None  # neither a short answer nor a transcript
    if not users_words(spoken[1]):
        return None  # only a reminder
    texts = _texts(said)
    if shape.is_agents:
        return _probe(shape, texts) or (
            _of_agents_history(shape, texts) if shape.n_answers else _of_agent(shape, texts)
        )
    return _probe(shape, texts) or _of_front_end(shape, texts) or _title(shape, texts)


def _texts(said: Sequence[tuple[str, str]]) -> _Texts:
    prompt = "\n".join([user_text(text) for role, text in said if role in INSTRUCTIONS])
    asked = [words.lower() for role, text in said if role == "user" and (words := user_text(text))]
    return _Texts(prompt.lower(), asked)


def _probe(shape: Shape, texts: _Texts) -> SideCall | None:
    """One word, and hardly room for an answer: whether the provider answers at all."""
    if shape.n_answers or len(texts.asked) != 1 or not shape.has_little_room:
        return None
    [asked] = texts.asked
    is_least = shape.max_tokens == 1 and not texts.prompt and len(asked) <= PROBE_CHARS
    return "probe" if asked in PROBES or is_least else None


def _of_agent(shape: Shape, texts: _Texts) -> SideCall | None:
    """A question of an agent without the tools that its user's requests offer."""
    if (shape.n_functions and not shape.is_forced) or shape.thinks:
        return None
    if shape.n_server_tools:
        return "search" if shape.n_asked == 1 else None
    if len(texts.prompt) > TASK_PROMPT_CHARS:
        return None
    says = texts.asked[0] if shape.n_asked > 1 else ""  # instructions in the place of the user's words
    if task := _task(texts.prompt) or _task(says) or _task_of_form(shape):
        return task
    if _guards(texts.prompt):
        return "check"
    if texts.prompt and shape.n_asked > 1:
        return "title"  # a task and what it is about, in two messages
    if len(texts.prompt) <= BARE_PROMPT_CHARS and len(_RULER.findall(texts.asked[0])) > 1:
        return "search"  # a page that the agent has fetched
    return "check" if shape.is_small and _CONVERSATION.search(texts.prompt[:TASK_CHARS]) else None


def _of_agents_history(shape: Shape, texts: _Texts) -> SideCall | None:
    """A question of an agent about the whole conversation, such as for a summary in its place."""
    if _NEXT_WORDS.search(texts.asked[-1][:TASK_CHARS]):
        return "follow_ups"
    if shape.n_functions and not shape.is_forced:  # the same tools, so that the provider's cache helps
        return _task(texts.asked[-1], ["summary"])
    task = _task(texts.asked[-1]) or (_task(texts.prompt) if not shape.thinks else None)
    return task or ("check" if shape.is_tiny or shape.is_forced else None)


def _of_front_end(shape: Shape, texts: _Texts) -> SideCall | None:
    """A template of a chat front end: headings, a transcript of the chat, a short answer or one in JSON."""
    if shape.n_answers or len(texts.asked) != 1 or texts.prompt:
        return None
    [asked] = texts.asked
    transcript = _TRANSCRIPT.search(asked)
    if transcript is None or not (shape.is_small or "json" in asked):
        return None
    task = asked[: transcript.start()]
    return _task(task, _OF_FRONT_ENDS) if len(_HEADING.findall(task)) > 1 else None


def _title(shape: Shape, texts: _Texts) -> SideCall | None:
    """A title for the conversation, asked for in short instructions or after its messages."""
    if not shape.is_small:
        return None
    if shape.n_answers == 0 and (task := _task(texts.prompt[:TITLE_PROMPT_CHARS], ["title"])):
        return task
    asked = texts.asked[-1][:TASK_CHARS]
    return _task(asked, ["title"]) if _THIS_CONVERSATION.search(asked) else None


def _task(text: str, among: Collection[SideCall] = tuple(_TASKS)) -> SideCall | None:
    """The task that a sentence of the text asks to do about the conversation itself."""
    for match in _SENTENCE.finditer(text[:TASK_CHARS]):
        sentence = match.group()
        if _CONVERSATION.search(sentence) and _ASKS.search(sentence):
            for task in among:
                if _TASKS[task].search(sentence):
                    return task
    return None


def _task_of_form(shape: Shape) -> SideCall | None:
    """The task that the fields of the answer name."""
    names = " ".join(shape.fields).replace("_", " ").lower()
    return next((task for task, words in _TASKS.items() if words.search(names)), None)


def _guards(prompt: str) -> bool:
    """Whether the instructions are to judge what an agent wants to do."""
    start = prompt[:TASK_CHARS]
    return _GUARDS.search(start) is not None and _GUARDED.search(start) is not None
