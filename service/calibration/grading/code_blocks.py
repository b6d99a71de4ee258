"""The code blocks of an answer in Markdown."""

from __future__ import annotations

from typing import NamedTuple

FENCE = "```"


class CodeBlock(NamedTuple):
    """A fenced block: its language in lower case, which may be empty, and its text."""

    language: str
    text: str


def code_blocks(answer: str) -> list[CodeBlock]:
    """The fenced blocks of an answer; the last one may lack its end. Takes linear time on any text."""
    blocks: list[CodeBlock] = []
    language: str | None = None  # None: outside a block
    lines: list[str] = []
    for line in answer.splitlines(keepends=True):
        start, fence, rest = line.partition(FENCE)
        if language is None:
            if fence and FENCE not in rest:
                language, lines = next(iter(rest.split()), "").lower(), []
            continue
        is_end = bool(fence) and (not start.strip() or not rest.strip())
        lines.append(start if is_end else line)
        if is_end:
            blocks.append(CodeBlock(language, "".join(lines)))
            language = None
    if language is not None and lines:
        blocks.append(CodeBlock(language, "".join(lines)))
    return blocks
