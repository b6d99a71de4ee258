"""One model has many names: canonical forms, in which they can be compared."""

from __future__ import annotations

import re

# A model's name may begin with its region, host or maker: `us.anthropic.`, `openai/`, `models/`.
_PREFIX = re.compile(r"^(.*/)?([a-z]+\.)*(meta-(?=llama))?")
# Tags that say how a model is served, not which it is. Any other tag may name another model, so it stays.
_SERVING_TAG = re.compile(r"(:free|:nitro|:floor|:online|-v1|-v\d+:\d+)$")
_FREE_TAG = re.compile(r":free(?=:|$)")
_DATE = re.compile(r"-(20\d{6}|20\d\d-\d\d-\d\d|\d\d-20\d\d|00\d|latest)$")
_DEEPSEEK_CHAT = re.compile(r"^deepseek-chat-(?=v\d)")  # OpenRouter's names of DeepSeek V3 and later
_POINT = re.compile(r"(?<=\d)\.(?=\d)")


def canonical(model: str) -> str:
    """A model's name without its prefix and serving tags; `3.5` is written `3-5`."""
    name = _PREFIX.sub("", model.strip().lower()).replace("@", "-")
    while (bare := _SERVING_TAG.sub("", name)) != name:
        name = bare
    return _POINT.sub("-", _DEEPSEEK_CHAT.sub("deepseek-", name))


def undated(name: str) -> str:
    """A canonical name without the date or the number of its version."""
    return _DATE.sub("", name)


def is_free_variant(model: str) -> bool:
    """Whether the name is OpenRouter's for a variant that costs nothing."""
    return _FREE_TAG.search(model.strip().lower()) is not None
