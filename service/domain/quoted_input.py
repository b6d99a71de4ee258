"""Messages without what they quote: a refusal may repeat a prompt or an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

LEAST_CHARS = 12  # of a run of a request's text that counts as quoted; shorter ones are words of any message
MOST_CHARS = 100_000  # of a request's texts; in longer ones nothing is searched
LEFT_OUT = "…"

_LONG = 16  # characters between quotation marks; names of fields and of models are mostly shorter
# To the end of the message if the quotation was cut. Numbers in brackets are a place in a list, or a range.
_QUOTED = re.compile(
    rf"""(?<!\w)'[^']{{{_LONG},}}(?:'|\Z)|"[^"]{{{_LONG},}}(?:"|\Z)|`[^`]{{{_LONG},}}(?:`|\Z)"""
    r"""|\{.*|\[(?![\d., -]{1,20}\]).*|(?<=\bgot )(?![\d.-]{1,20}\b).*""",
    re.DOTALL,
)


def unquoted(message: str) -> str:
    """The message with `…` in place of long quotations, of JSON, and of the text that a rule `got`."""
    return _QUOTED.sub(LEFT_OUT, message)


def without_texts_of(said: Sequence[object], message: str) -> str:
    """The message without quotations, and without runs of LEAST_CHARS characters that were said before.

    Args:
        said: the request, and what there is of the answer, as JSON. The names of their own fields are the
            dialect's, and no text of anybody.
    """
    message = unquoted(message)
    texts = "\n".join(_texts(said))
    if len(texts) > MOST_CHARS:
        return LEFT_OUT
    quotable = [texts]
    if "\\" in message:
        quotable += [json.dumps(texts), json.dumps(texts, ensure_ascii=False)]
    is_quoted = [False] * len(message)
    for start in range(len(message) - LEAST_CHARS + 1):
        run = message[start : start + LEAST_CHARS]
        if any(run in text for text in quotable):
            is_quoted[start : start + LEAST_CHARS] = [True] * LEAST_CHARS
    return "".join(
        LEFT_OUT if is_quoted[i] else character
        for i, character in enumerate(message)
        if not (is_quoted[i] and i and is_quoted[i - 1])
    )


def _texts(said: Sequence[object]) -> Iterator[str]:
    """Every text in JSON values, also the keys of objects in them, which clients choose in schemas."""
    values: list[object] = []
    for one in said:
        values.extend(one.values() if isinstance(one, dict) else [one])
    while values:
        value = values.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            values.extend(value)
            values.extend(value.values())
        elif isinstance(value, list):
            values.extend(value)
