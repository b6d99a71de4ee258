"""What programs, not their users, put into messages; in one place, since it changes with every release.

Pure. What is listed here was seen in the traffic of Claude Code, Codex, Cline, opencode, crush, LibreChat
and Open WebUI.
"""

from __future__ import annotations

from collections.abc import Iterable

# Pairs of marks; with all between them they are the program's, not the user's.
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
ATTRIBUTION = "x-anthropic-billing-header"  # begins a line that changes between requests

# What a client asks for itself: titles, topics, summaries, probes. Lower case.
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
HOUSEKEEPING_PROBES = frozenset({"quota", "warmup"})  # the whole of what Claude Code asks to see who answers
HOUSEKEEPING_MAX_TOKENS = 1_500  # such answers are short, and asked to be


def own_words(text: str) -> str:
    """The text without what a program put into it."""
    for opening, closing in BLOCKS:
        if opening in text:
            text = _without(text, opening, closing)
    return unattributed(text).strip()


def unattributed(text: str) -> str:
    """The text without the lines by which Anthropic tells its own clients apart."""
    if ATTRIBUTION not in text:
        return text
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(ATTRIBUTION))


def _without(text: str, opening: str, closing: str) -> str:
    """The text without its blocks, in one pass; what is opened and never closed stays."""
    kept, at = [], 0
    while (start := text.find(opening, at)) >= 0 and (end := text.find(closing, start)) >= 0:
        kept.append(text[at:start])
        at = end + len(closing)
    return "".join([*kept, text[at:]])


def is_housekeeping(texts: Iterable[str], max_output_tokens: int | None) -> bool:
    """Whether a client asks for itself.

    Conservative: a short answer is asked for, and the instructions are among those known.

    Args:
        texts: of the system messages and of the last message.
    """
    if max_output_tokens is None or max_output_tokens > HOUSEKEEPING_MAX_TOKENS:
        return False
    said = [own_words(text).lower() for text in texts]
    return any(text in HOUSEKEEPING_PROBES for text in said) or any(
        prompt in text for text in said for prompt in HOUSEKEEPING_PROMPTS
    )
