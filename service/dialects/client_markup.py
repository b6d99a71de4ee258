"""Recognises the text that client programs, not their users, put into messages.

Pure. All of it was seen in the traffic of Claude Code, Codex, Cline, opencode, crush, LibreChat and
Open WebUI. It changes with their releases, so it is kept in this one place.
"""

from __future__ import annotations

from collections.abc import Iterable

# Opening and closing marks of a program's text; the marks and the text between them are not the user's.
BLOCKS = (
    ("<system-reminder>", "</system-reminder>"),  # Claude Code
    ("<local-command-caveat>", "</local-command-caveat>"),
    ("<local-command-stdout>", "</local-command-stdout>"),
    ("<local-command-stderr>", "</local-command-stderr>"),
    ("<ide_opened_file>", "</ide_opened_file>"),
    ("<ide_selection>", "</ide_selection>"),
    ("<user-prompt-submit-hook>", "</user-prompt-submit-hook>"),
    ("<task-notification>", "</task-notification>"),
    ("<environment_context>", "</environment_context>"),  # Codex
    ("<user_instructions>", "</user_instructions>"),
    ("<permissions instructions>", "</permissions instructions>"),
    ("# AGENTS.md instructions for ", "</INSTRUCTIONS>"),
    ("<environment_details>", "</environment_details>"),  # Cline
)
ATTRIBUTION = "x-anthropic-billing-header"  # starts a line that changes between requests

# Prompts for titles, topics and summaries that a client sends for itself. Lower case.
HOUSEKEEPING_PROMPTS = (
    "analyze if this message indicates a new conversation topic",  # Claude Code
    "word title for the following conversation",
    "generate a concise, sentence-case title",
    "summarize this coding conversation in under",
    "your task is to process bash commands that an ai coding agent wants to run",
    "extract any file paths that this command reads or modifies",
    "you are a title generator. you output only",  # opencode
    "you will generate a short title based on the first message",  # crush
    "word-or-less title for the conversation",  # LibreChat
    "word title with an emoji summarizing the chat history",  # Open WebUI
)
HOUSEKEEPING_PROBES = frozenset({"quota", "warmup"})  # the whole prompt of a probe of Claude Code
HOUSEKEEPING_MAX_TOKENS = 1_500  # these requests limit their answers


def user_text(text: str) -> str:
    """The text without the blocks and lines that a program put into it."""
    for opening, closing in BLOCKS:
        if opening in text:
            text = _without(text, opening, closing)
    return without_attribution(text).strip()


def without_attribution(text: str) -> str:
    """The text without the lines that attribute it to a client of Anthropic."""
    if ATTRIBUTION not in text:
        return text
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(ATTRIBUTION))


def _without(text: str, opening: str, closing: str) -> str:
    """The text without its blocks, in one pass; a block that is never closed stays."""
    outside, at = [], 0
    while (start := text.find(opening, at)) >= 0 and (end := text.find(closing, start)) >= 0:
        outside.append(text[at:start])
        at = end + len(closing)
    return "".join([*outside, text[at:]])


def is_housekeeping(texts: Iterable[str], max_output_tokens: int | None) -> bool:
    """Whether a client sends the request for itself, such as for a title.

    Conservative: the request must limit its answer, and its prompt must be a known one.

    Args:
        texts: the texts of the system messages and of the last message.
    """
    if max_output_tokens is None or max_output_tokens > HOUSEKEEPING_MAX_TOKENS:
        return False
    prompts = [user_text(text).lower() for text in texts]
    return any(text in HOUSEKEEPING_PROBES for text in prompts) or any(
        prompt in text for text in prompts for prompt in HOUSEKEEPING_PROMPTS
    )
