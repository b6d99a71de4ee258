"""One model has many names: canonical forms, in which they can be compared."""

from __future__ import annotations

import re

# A model's name may begin with its region, host or maker: `us.anthropic.`, `openai/`, `models/`.
_PREFIX = re.compile(r"^(.*/)?([a-z]+\.)*(meta-(?=llama))?")
# Tags that say how a model is served, not which it is. Any other tag may name another model, so it stays.
# `[1m]` is the window that Claude Code wants.
_SERVING_TAG = re.compile(r"(:free|:nitro|:floor|:online|-v1|-v\d+:\d+|\[\d{1,4}[km]\])$")
_FREE_TAG = re.compile(r":free(?=:|$)")
_DATE = re.compile(r"-(20\d{6}|20\d\d-\d\d-\d\d|\d\d-20\d\d|00\d|latest)$")
_DEEPSEEK_CHAT = re.compile(r"^deepseek-chat-(?=v\d)")  # OpenRouter's names of DeepSeek V3 and later
# Beginnings of the names of models that answer in text, as their vendors write them.
_WELL_KNOWN = re.compile(
    r"(?:claude|gpt|chatgpt|codex|gemini|gemma|grok|deepseek|mistral|mixtral|ministral|magistral|devstral"
    r"|codestral|llama|qwen|qwq|kimi|glm|command|minimax|nova|sonar)[\d-][!-~]{1,100}"
    r"|o[1-9](?:-[!-~]{1,100})?|opus|sonnet|haiku|opusplan"
)
_VISIBLE = re.compile(r"[!-~]{1,128}")
_NOT_CHAT = re.compile(r"embed|image|tts|transcri|realtime|audio|moderation|-live|rerank|guard|-ocr")
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


def is_same_model(name: str, other: str) -> bool:
    """Whether two names are of one model; the date of the version may be missing in one of them."""
    one, two = canonical(name), canonical(other)
    if undated(one) != undated(two):
        return False
    return one == two or not (_has_date(one) and _has_date(two))


def is_well_known(name: str) -> bool:
    """Whether the name is like those of a well-known vendor's models that answer in text."""
    bare = canonical(name)
    is_visible = _VISIBLE.fullmatch(name) is not None  # it goes into a header
    return is_visible and _WELL_KNOWN.fullmatch(bare) is not None and _NOT_CHAT.search(bare) is None


def _has_date(name: str) -> bool:
    return undated(name) != name and not name.endswith("-latest")
