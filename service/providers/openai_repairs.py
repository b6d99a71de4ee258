"""The repairs of Chat Completions requests: what servers refuse, in their words, and the form they accept."""

from __future__ import annotations

import re
from functools import cache, partial

from service.providers.answer_limits import limit_repair
from service.providers.fitting_table import table, without_neutral
from service.providers.message_forms import (
    REASONING_FIELDS,
    as_system,
    changing,
    each_message,
    not_strict,
    renamed,
    system_first,
    with_effort,
    with_one_reasoning,
    with_one_string,
    with_reasoning,
    without,
    without_cache_marks,
    without_reasoning,
)
from service.providers.repairs import Repair
from service.providers.stop_sequences import with_four_stops
from service.providers.thinking_repairs import THINKING_OFF
from service.providers.tool_ids import with_ids_of_functions, with_nine_letters
from service.providers.tool_names import with_short_names
from service.providers.tool_schemas import RARE, without_choices, without_rare_keywords

_UNKNOWN = (
    r"(?:unsupported|not (?:currently )?support|n't support|unknown|unrecogni[sz]ed|unexpected|extra|no such"
    r"|(?:not|n't) (?:permitted|allowed|accepted|available|recogni[sz]ed)|forbidden|不支持"
    r"|invalid (?:argument|parameter|field)"
    r"|(?:should|must|can) ?not be (?:included|sent|passed|present|provided|specified|set|used))"
)


# Keywords of schemas that no sentence about something else has.
_WORDS = frozenset({"contains", "deprecated", "else", "examples", "if", "not", "then"})
_KEYWORDS = "|".join(re.escape(name.lower()) for name in sorted(RARE - _WORDS))


def _refused(name: str) -> str:
    """What a refusal of a field says: its name, as the blamed parameter or quoted, as one not known."""
    blamed = rf"\A(?:[\w.\[\]]{{0,200}}[.\]])?{name}:"
    # A plain word may mean something else, unless it is quoted or called a field.
    mark = (
        r"[`'\"\[ .]" if "_" in name else r"(?:[`'\"]|(?:supplied|argument|parameter|field|name): ?|body\.)"
    )
    quoted = rf"{mark}{name}\b"
    return rf"{blamed}.{{0,300}}{_UNKNOWN}|{quoted}.{{0,200}}{_UNKNOWN}|{_UNKNOWN}.{{0,200}}{quoted}"


# Some refuse `max_tokens` and name the other one as the right one.
_NEW_NAME_REFUSED = (
    rf"\A(?!.*\buse\b.{{0,5}}max_completion_tokens)(?:.*?)(?:{_refused('max_completion_tokens')})"
)
_ROLE = r"\bdeveloper\b|\broles?\b"
_REASONING_MISSING = (
    r"reasoning[_ ]content.{0,200}(?:missing|must|required?|back|absent|expected|need|provid|includ)"
    r"|(?:missing|must|requires?|expected|provid|includ).{0,200}reasoning[_ ]content"
)
_NO_STRING = (
    r"(?:valid|a|be|expected|type) str(?:ing)?\b|str(?:ing)?[ _]type|not a string"
    r"|invalid type: (?:sequence|null|map)|(?:array|list|parts).{0,80}content"
    r"|content.{0,80}(?:array|list|null|parts|must not be empty|required)"
)
_NAME = r"name.{0,300}(?:long|length|\b64\b|pattern|match|character|invalid)|(?:invalid|long).{0,80}name"
_ID_OF_FUNCTION = r"\bids?\b.{0,200}functions\.|functions\..{0,200}\bids?\b"
_ID_OF_NINE = r"length of 9\b|\b9 (?:characters|letters)"
_SYSTEM_LATER = r"system message.{0,80}(?:begin|first|start)|(?:first|only).{0,40}system message"
_STRICT = r"\bstrict\b|required.{0,80}every key|additionalproperties.{0,80}(?:false|supplied)"
_STOPS = (
    r"\bstop.{0,200}(?:long|most|maximum|limit|\b4\b|up to|few)"
    r"|(?:more than|at most|too many|maximum|up to).{0,80}\bstop"
)
_RARE_KEYWORD = (
    rf"{_UNKNOWN}.{{0,200}}(?<![\w$])(?:{_KEYWORDS})\b|(?<![\w$])(?:{_KEYWORDS})\b.{{0,200}}{_UNKNOWN}"
)
_CHOICE = r"(?:oneof|anyof|allof).{0,80}top[ -]level|top[ -]level.{0,80}(?:oneof|anyof|allof)"
_THINKING_BUDGET = r"budget_tokens|thinking budget"


# Fields whose loss a client would hardly notice.
_WISHES = ("prediction", "seed", "user", "verbosity")

_FORMS = (
    Repair("stream_options", _refused("stream_options"), partial(without, "stream_options")),
    Repair("developer", _ROLE, partial(each_message, as_system)),
    Repair("no reasoning_content", _REASONING_MISSING, partial(each_message, with_reasoning)),
    Repair(
        "reasoning under two names", _refused("reasoning_content"), partial(each_message, with_one_reasoning)
    ),
    *(
        Repair(name, _refused(name), partial(each_message, without_reasoning))
        for name in sorted(REASONING_FIELDS)
    ),
    Repair("OpenRouter's reasoning", _refused("reasoning"), with_effort),
    Repair("text in parts", _NO_STRING, partial(each_message, with_one_string)),
    Repair("max_tokens", _refused("max_tokens"), partial(renamed, "max_tokens", "max_completion_tokens")),
    Repair(
        "max_completion_tokens", _NEW_NAME_REFUSED, partial(renamed, "max_completion_tokens", "max_tokens")
    ),
    Repair("names of tools", _NAME, with_short_names),
    Repair("ids that are not functions.NAME:N", _ID_OF_FUNCTION, partial(changing, with_ids_of_functions)),
    Repair("ids that are not of nine letters", _ID_OF_NINE, partial(changing, with_nine_letters)),
    Repair("cache_control", _refused("cache_control"), without_cache_marks),
    Repair("a later system message", _SYSTEM_LATER, system_first),
    Repair("a strict schema", _STRICT, not_strict),
    Repair("more than four stop sequences", _STOPS, with_four_stops),
    THINKING_OFF,
    Repair(
        "a thinking budget above max_tokens",
        _THINKING_BUDGET,
        partial(without, "reasoning_effort"),
        is_remembered=False,
    ),
    Repair("rare keywords of schemas", _RARE_KEYWORD, without_rare_keywords),
    Repair("a choice at the top of a schema", _CHOICE, without_choices),
)


@cache
def openai_repairs() -> tuple[Repair, ...]:
    """All repairs: those of forms, fields of bookkeeping, and fields that ask for nothing."""
    names = (*table().bookkeeping, *_WISHES)
    return (
        *_FORMS,
        limit_repair(),
        *(Repair(name, _refused(name), partial(without, name)) for name in names),
        *(
            Repair(f"a neutral {name}", _refused(name), partial(without_neutral, name))
            for name in table().fields
        ),
    )
