"""Recognises the text that client programs, not their users, put into messages.

Pure. In requests of agents, a block between tags on lines of its own, before or after the user's words, is
recognised by this form. The rest was seen in the traffic of Claude Code, Codex and Cline. It changes with
their releases, so it is kept in this one place.
"""

from __future__ import annotations

import re

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
    ("<current_datetime>", "</current_datetime>"),  # Copilot CLI
)
ATTRIBUTION = "x-anthropic-billing-header"  # starts a line that changes between requests

# Tags that programs put around the user's own words; without separators and capitals, as the next.
AROUND_USERS_WORDS = frozenset(
    {
        "answer", "feedback", "goal", "input", "instruction", "instructions", "issue", "message", "newtask",
        "problem", "prompt", "query", "question", "request", "task", "userfeedback", "userinput",
        "usermessage", "userprompt", "userquery", "userquestion", "userrequest",
    }
)  # fmt: skip
# Tags of the documents that users paste.
OF_DOCUMENTS = frozenset(
    {
        "a", "abbr", "article", "aside", "audio", "b", "blockquote", "body", "button", "canvas", "code",
        "defs", "details", "div", "dl", "em", "fieldset", "figure", "footer", "form", "g", "h1", "h2", "h3",
        "h4", "h5", "h6", "head", "header", "html", "i", "iframe", "label", "li", "link", "main", "nav",
        "ol", "option", "p", "path", "pre", "script", "section", "select", "span", "strong", "style",
        "summary", "svg", "table", "tbody", "td", "template", "textarea", "tfoot", "th", "thead", "title",
        "tr", "ul", "video",
    }
)  # fmt: skip
MAX_BLOCKS = 20  # at each end of a message
_OPENING = re.compile(r"<([a-z][A-Za-z0-9_-]{0,80})(?: [^<>\n]{0,200})?>")
_CLOSING = re.compile(r"</([a-z][A-Za-z0-9_-]{0,80})>$")


def user_text(text: str) -> str:
    """The text without the blocks and lines that a program put into it."""
    if "</" in text:  # as every closing mark has it
        for opening, closing in BLOCKS:
            if opening in text:
                text = _without(text, opening, closing)
    return without_attribution(text).strip()


def users_words(text: str) -> str:
    """The user's words in a message of an agent: without the blocks before and after them."""
    words = user_text(text)
    for without_block in (_without_first_block, _without_last_block):
        for _ in range(MAX_BLOCKS):
            if (shorter := without_block(words)) is None:
                break
            words = shorter
    return words


def without_attribution(text: str) -> str:
    """The text without the lines that attribute it to a client of Anthropic."""
    if ATTRIBUTION not in text:
        return text
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(ATTRIBUTION))


def _without_first_block(text: str) -> str | None:
    """The text after the block that it starts with; None: it starts with no block on lines of its own."""
    opening = _OPENING.match(text)
    if opening is None or not _is_a_programs(opening[1]):
        return None
    closing = f"</{opening[1]}>"
    end = text.find(closing, opening.end())
    after = text[end + len(closing) :] if end >= 0 else ""
    return after.lstrip() if end >= 0 and after[:1] in ("", "\n") else None


def _without_last_block(text: str) -> str | None:
    """The text before the block that it ends with; None: it ends with no block on lines of its own."""
    closing = _CLOSING.search(text[-90:])
    if closing is None or not _is_a_programs(closing[1]):
        return None
    start = text.rfind(f"<{closing[1]}", 0, len(text) - len(closing[0]))
    opening = _OPENING.match(text, max(0, start))
    is_own_line = start == 0 or text[start - 1 : start] == "\n"
    if start < 0 or opening is None or opening[1] != closing[1] or not is_own_line:
        return None
    return text[:start].rstrip()


def _is_a_programs(tag: str) -> bool:
    name = tag.replace("_", "").replace("-", "").lower()
    return name not in AROUND_USERS_WORDS and name not in OF_DOCUMENTS


def _without(text: str, opening: str, closing: str) -> str:
    """The text without its blocks, in one pass; a block that is never closed stays."""
    outside, at = [], 0
    while (start := text.find(opening, at)) >= 0 and (end := text.find(closing, start)) >= 0:
        outside.append(text[at:start])
        at = end + len(closing)
    return "".join([*outside, text[at:]])
