"""Which features of a request a refusal names: what the model that refuses cannot do.

Vendors word it in many ways, so a refusal is compared with what the request has, and not with a list of
sentences: it names a feature, and has a word of inability. Refusals of sizes, forms and contents have others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.arms.feature_wordings import (
    ADVICE,
    AS_A_NAME,
    CANNOT,
    FAULTY,
    KINDS,
    KNOWN_VALUE,
    ONE_VALUE,
    PLAIN_WORDS,
    TELLING_VALUES,
    TOGETHER,
)
from service.errors import ProviderRejected
from service.providers.wordings import compared

_MAX_PARTS = 3  # of a feature that is a combination
_SIZES = frozenset({"context_length_exceeded", "request_too_large"})
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
# Named as a part of the other: an inner feature says more than the field that holds it.
_VAGUER = (
    ("system message", "system message in mid-conversation"),
    ("reasoning", "reasoning_effort"),
    *(
        (outer, inner)
        for outer in ("response_format", "output_format")
        for inner in ("json_schema", "json_object")
    ),
    *(("output_config", inner) for inner in ("json_schema", "reasoning_effort")),
)
_IDENTIFIER = re.compile(
    r"[`'\"]([\w.\[\]-]{1,120})[`'\"]|\b([a-z]{1,30}(?:_[a-z]{1,30}){1,6})\b"
    r"|(?:\A|: |; )([a-z][\w.\[\]-]{1,120}):"
)


def refused_features(features: frozenset[str], refusal: ProviderRejected) -> frozenset[str]:
    """The features of the request that the model cannot serve together; empty: the refusal names none.

    Args:
        features: of the request that was refused.
    """
    text = f"{(refusal.param or '').lower()}: {compared(str(refusal))}"
    blamed, param = _before_advice(text), _last_name(refusal.param)
    is_told = refusal.code in _UNSUPPORTED and param in features
    if refusal.code in _SIZES or not (is_told or _blames_ability(text, blamed)) or FAULTY.search(text):
        return frozenset()
    named = _named(features, blamed, param)[:_MAX_PARTS]
    return frozenset(named) if len(named) > 1 else frozenset(_narrowed(n, features, text) for n in named)


def _blames_ability(text: str, blamed: str) -> bool:
    """Whether the sentence says what the model cannot do, rather than what is wrong with the request."""
    is_one_value = ONE_VALUE.search(text) and KNOWN_VALUE.search(blamed)
    return bool(is_one_value or CANNOT.search(text))


def _before_advice(text: str) -> str:
    advice = ADVICE.search(text)
    return text if advice is None or advice.start() < 15 else text[: advice.start()]


def _named(features: frozenset[str], text: str, param: str | None) -> list[str]:
    """The features that the text names, in its order; only that of the parameter if it blames that alone."""
    found = {feature: at for feature in features if (at := _place(feature, text)) is not None}
    for feature in _of_identifiers(features, text):
        found.setdefault(feature, len(text))
    _drop_vaguer(found, text)
    blamed = [feature for feature in found if feature.rpartition(".")[2] == param]
    if blamed and not TOGETHER.search(text):
        return blamed[:1]
    return sorted(found, key=lambda feature: (feature not in blamed, found[feature], feature))


def _drop_vaguer(found: dict[str, int], text: str) -> None:
    """Drop what is named only as a part of something more specific."""
    if "thinking" in found and "effort" not in text and "reasoning" not in text:
        found.pop("reasoning_effort", None)
    if found.get("tools") == found.get("tool_choice"):
        found.pop("tools", None)
    for vague, specific in _VAGUER:
        if specific in found:
            found.pop(vague, None)
    for feature in list(found):
        if (outer := feature.partition("=")[0].partition(".")[0]) != feature:
            found.pop(outer, None)


def _place(feature: str, text: str) -> int | None:
    """Where the text names a feature of the request itself; None: it does not."""
    value = feature.partition("=")[2]
    if value in TELLING_VALUES:
        return _token_at(value, text)
    if feature in KINDS and (found := KINDS[feature].search(text)) is not None:
        return found.start()
    if "=" in feature or "." in feature:
        return None
    return _name_at(feature, text) if feature in PLAIN_WORDS else _token_at(feature, text)


def _token_at(word: str, text: str) -> int | None:
    """Where the text has the word, not as a part of a longer one."""
    at = text.find(word)
    while at >= 0:
        before, behind = text[at - 1 : at] if at else "", text[at + len(word) : at + len(word) + 1]
        if not _is_of_word(before) and not _is_of_word(behind):
            return at
        at = text.find(word, at + 1)
    return None


def _is_of_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in ("_", "-"))


def _name_at(word: str, text: str) -> int | None:
    """Where the text has the word as the name of a field."""
    places = [found.start(1) for form in AS_A_NAME for found in form.finditer(text) if found[1] == word]
    return min(places, default=None)


def _of_identifiers(features: frozenset[str], text: str) -> Iterator[str]:
    """The features inside other fields, and values, that the text names as identifiers."""
    by_name = {_inner_name(feature).lower(): feature for feature in sorted(features, reverse=True)}
    for identifier in _IDENTIFIER.findall(text):
        path = "".join(identifier)
        name = _last_name(path)
        if (feature := by_name.get(path) or by_name.get(name or "")) is not None:
            yield feature


def _inner_name(feature: str) -> str:
    """`strict` of `tools.strict`, `xhigh` of `reasoning_effort=xhigh`; empty: it is no inner one."""
    return feature.partition("=")[2] or feature.partition(".")[2]


def _last_name(path: str | None) -> str | None:
    """The last name of a path: `custom` of `tools[0].custom`."""
    names = [name for name in re.split(r"[.\[\]]", (path or "").lower()) if name and not name.isdigit()]
    return names[-1] if names else None


def _narrowed(feature: str, features: frozenset[str], text: str) -> str:
    """The one value of the feature if only that is refused, else the feature."""
    values = sorted(name for name in features if name.startswith(f"{feature}="))
    quoted = [value for value in values if _token_at(value.partition("=")[2].lower(), text) is not None]
    if quoted:
        return quoted[0]
    return values[0] if values and ONE_VALUE.search(text) else feature
