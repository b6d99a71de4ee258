"""Counts the tokens of a request's input, for every dialect that has a path for it."""

from __future__ import annotations

from service.domain.basics import Json
from service.domain.tokens import shared_tokenizer
from service.parts import Parts


async def counted(
    parts: Parts, model: str | None, chat: Json, n_estimated: int
) -> tuple[int, dict[str, str]]:
    """The tokens of a request in OpenAI's form, and the header that says who counted them.

    Args:
        model: the name in the request; None: the router chooses.
        n_estimated: the answer if nobody can count.

    Raises:
        UnknownModel: no model has that name.
    """
    arm = parts.catalog.one_arm(model)
    tokenizer = shared_tokenizer(parts.catalog.arms if arm is None else [arm])
    n_tokens = None if tokenizer is None else await parts.tokens.count(chat, tokenizer)
    if tokenizer is None or n_tokens is None:
        n_tokens, tokenizer = n_estimated, "estimate"
    return n_tokens, {"X-Router-Token-Count": tokenizer}
