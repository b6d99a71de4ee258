"""What a request becomes for the model that it goes to: the table of fitting.yaml, applied; pure.

The table is the first line: it knows vendors and families. What it does not know is sent as it is, and
`repairs.py` changes it if the server refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.resources import files
from typing import Any, Literal, TypeAlias

import yaml

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.model_hosts import host_of
from service.domain.model_names import canonical, undated
from service.domain.query import Native
from service.errors import StartupError
from service.providers import thinking
from service.providers.message_blocks import with_four_cache_marks, with_one_sampler, without_system_turns
from service.providers.message_forms import (
    Change,
    as_system,
    changing,
    each_message,
    renamed,
    system_first,
    with_effort,
    with_json_in_words,
    with_one_string,
    with_one_system,
    without,
    without_cache_marks,
)
from service.providers.stop_sequences import with_four_stops, without_blank_stops, without_stops
from service.providers.tool_ids import with_nine_letters
from service.providers.tool_names import with_short_names
from service.providers.tool_schemas import (
    strict_only_if_complete,
    with_properties,
    without_choices,
    without_rare_keywords,
)

Form: TypeAlias = Literal["chat", "messages"]

UNLISTED = "unlisted"
_ROW_KEYS = {"name", "form", "providers", "hosts", "not_hosts", "models", "rules", "unknown"}
_BESIDE_FIELDS = frozenset({"messages", "model", "stream", "stream_options", "reasoning"})

# What a rule may call a condition, beside the name of a field.
CONDITIONS: Mapping[str, Callable[[Json], bool]] = {
    "budget": lambda body: (body.get("thinking") or {}).get("type") == "enabled",
    "forced tool": thinking.is_forced,
    "free choice": lambda body: body.get("tool_choice") in ("auto", "none"),
    "no tools": lambda body: not body.get("tools"),
}
# Changes that the rules name, by the part that they change.
CHANGES: Mapping[tuple[str, str], Change] = {
    ("cache marks", "drop"): without_cache_marks,
    ("cache marks", "four"): with_four_cache_marks,
    ("developer turns", "to system"): partial(each_message, as_system),
    ("reasoning", "as an effort"): with_effort,
    ("reasoning_effort", "as a budget"): thinking.budget_for_effort,
    ("response_format", "in words"): with_json_in_words,
    ("stop", "ended by the router"): without_stops,
    ("stop", "four, then by the router"): with_four_stops,
    ("stop", "blank ones by the router"): without_blank_stops,
    ("strict", "if complete"): strict_only_if_complete,
    ("system turns", "into the user's"): without_system_turns,
    ("system turns", "one at the start"): system_first,
    ("system turns", "the first as one"): with_one_system,
    ("text parts", "in one string"): partial(each_message, with_one_string),
    ("thinking", "as a budget"): thinking.with_budget,
    ("thinking", "as adaptive"): thinking.adaptive,
    ("thinking", "drop"): thinking.without_thinking,
    ("thinking", "within the answer"): thinking.with_fitting_budget,
    ("tool ids", "of nine letters"): partial(changing, with_nine_letters),
    ("tool names", "short"): with_short_names,
    ("tool schemas", "of common keywords"): without_rare_keywords,
    ("tool schemas", "without choices"): without_choices,
    ("tool schemas", "with properties"): with_properties,
    ("top_p", "or temperature"): with_one_sampler,
}
# Changes after which the request means the same.
_SILENT = frozenset(
    {
        "cache marks",
        "developer turns",
        "reasoning",
        "stop",
        "system turns",
        "text parts",
        "tool ids",
        "tool names",
    }
)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of Chat Completions.

    Args:
        unknown: what becomes of it where a model does not know it.
        neutral: values that ask for nothing.
    """

    unknown: Literal["drop", "cannot"]
    neutral: tuple[Any, ...] = ()

    def is_neutral(self, value: object) -> bool:
        return value in (None, [], {}) or any(
            value == n and isinstance(value, bool) == isinstance(n, bool) for n in self.neutral
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of one part of a request, if the request meets the condition."""

    part: str
    verb: str
    conditions: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Row:
    """The rules for some models."""

    name: str
    form: Form | None
    providers: frozenset[str] | None
    hosts: frozenset[str] | None
    not_hosts: frozenset[str]
    models: re.Pattern[str] | None
    rules: tuple[Rule, ...]

    def matches(self, provider: str, host: str, model: str, form: Form) -> bool:
        return (
            self.form in (None, form)
            and (self.providers is None or provider in self.providers)
            and (self.hosts is None or host in self.hosts)
            and host not in self.not_hosts
            and (self.models is None or self.models.fullmatch(model) is not None)
        )

    def applied(self, arm: Arm, body: Json, notes: list[str] | None = None) -> Json:
        """The body after the rules; the same object if none changes it. Adds to the notes."""
        for rule in self.rules:
            if rule.part in arm.extra_fields or not _applies(rule, body):
                continue
            before, body = body, _changed(rule, body, arm)
            if notes is not None and body is not before and (what := _told(rule, before, body)):
                notes.append(f"{rule.part}: {what} ({self.name})")
        return body

    def rules_out(self, arm: Arm, body: Json) -> str | None:
        """What of the request the arm cannot do; None: nothing."""
        for rule in self.rules:
            if rule.verb != "cannot" or rule.part in arm.extra_fields:
                continue
            if not _is_neutral(rule.part, body.get(rule.part)) and _applies(rule, body):
                return rule.part
        return None


@dataclass(frozen=True, slots=True)
class Table:
    fields: Mapping[str, Field]
    bookkeeping: Mapping[str, Field]
    rows: tuple[Row, ...]

    @property
    def all_fields(self) -> Mapping[str, Field]:
        return {**self.fields, **self.bookkeeping}


@dataclass(frozen=True, slots=True)
class Fitted:
    """A request as the model gets it, and what was changed of its meaning."""

    body: Json
    native: Native | None
    notes: tuple[str, ...] = ()


def form_of(arm: Arm, native: Native | None) -> Form:
    """The form in which the arm gets the request."""
    return "messages" if native is not None and arm.provider == "anthropic" else "chat"


def fitted(arm: Arm, body: Json, native: Native | None) -> Fitted:
    """The request, fitted to the arm.

    Args:
        body: in the form of Chat Completions.
        native: in Anthropic's, if the client speaks it; of both only the one that the arm gets is fitted.
    """
    notes: list[str] = []
    if native is not None and form_of(arm, native) == "messages":
        for row in rows(arm, "messages"):
            native = replace(native, body=row.applied(arm, native.body, notes))
        return Fitted(body, replace(native, body=_as_configured(arm, native.body, notes)), tuple(notes))
    body = _without_unknown(arm, _without_empty(body), notes)
    for row in rows(arm, "chat"):
        body = row.applied(arm, body, notes)
    return Fitted(_as_configured(arm, body, notes), native, tuple(notes))


def reason_against(arm: Arm, body: Json, native: Native | None) -> str | None:
    """Why the arm cannot answer the request, by the table; None: it can."""
    form = form_of(arm, native)
    asked = native.body if native is not None and form == "messages" else body
    reasons = (row.rules_out(arm, asked) for row in rows(arm, form))
    return next((f"does not accept {part}" for part in reasons if part is not None), None)


def may_be_left_out(features: Iterable[str]) -> frozenset[str]:
    """Which of these features of a request are fields without which an answer is still of use."""
    names = {feature.partition("=")[0] for feature in features}
    fields = table().all_fields
    return frozenset(n for n in names if n == "thinking" or (n in fields and fields[n].unknown == "drop"))


def _without_effort(body: Json) -> Json:
    """A request of either form without an effort."""
    config = body.get("output_config")
    has_effort = isinstance(config, dict) and "effort" in config
    return without("reasoning_effort", _without(body, "output_config.effort") if has_effort else body)


# Fields that other fields depend on, or that Anthropic's form has elsewhere.
_DROPS: Mapping[str, Change] = {
    "reasoning_effort": _without_effort,
    "thinking": thinking.without_thinking,
}


def _as_configured(arm: Arm, body: Json, notes: list[str]) -> Json:
    """The body with what the operator says of the arm: it comes last, so that it counts most."""
    for old, new in arm.rename.items():
        body = renamed(old, new, body)
    for name in sorted(arm.drop):
        before, body = body, _DROPS.get(name, partial(without, name))(body)
        notes += [f"{name}: left out (not for this model)"] if body is not before else []
    return {**body, **arm.set_fields} if arm.set_fields else body


def _without_empty(body: Json) -> Json:
    """The body without fields that are null or empty: they ask for nothing, and some servers refuse them."""
    empty = {name for name, value in body.items() if value in (None, [], {})} - {"messages"}
    return {name: value for name, value in body.items() if name not in empty} if empty else body


def _without_unknown(arm: Arm, body: Json, notes: list[str]) -> Json:
    """The body without fields that neither OpenAI documents nor the arm lists in `extra_fields`."""
    unknown = body.keys() - table().all_fields.keys() - _BESIDE_FIELDS - arm.extra_fields
    notes += [f"{name}: left out (not in extra_fields of the model)" for name in sorted(unknown)]
    return {name: value for name, value in body.items() if name not in unknown} if unknown else body


def _applies(rule: Rule, body: Json) -> bool:
    return _is_asked(rule, body) and all(_holds(condition, body) for condition in rule.conditions)


def _is_asked(rule: Rule, body: Json) -> bool:
    """Whether the request has the part that the rule is about."""
    if (rule.part, rule.verb) in CHANGES:
        return True
    return _value(body, rule.part) is not None or (rule.verb in ("drop", "cannot") and rule.part in body)


def _holds(condition: str, body: Json) -> bool:
    if (check := CONDITIONS.get(condition)) is not None:
        return check(body)
    return not _is_neutral(condition, body.get(condition))


def _changed(rule: Rule, body: Json, arm: Arm) -> Json:
    if (change := CHANGES.get((rule.part, rule.verb))) is not None:
        return change(body)
    if rule.values:
        value = _value(body, rule.part)
        return _with(body, rule.part, rule.values[value]) if value in rule.values else body
    if rule.verb == "clamp":
        limit, value = arm.max_output_tokens, body[rule.part]
        return {**body, rule.part: limit} if limit is not None and value > limit else body
    if rule.verb.startswith("as "):
        return renamed(rule.part, rule.verb.removeprefix("as "), body)
    if rule.verb == "cannot" and not _is_neutral(rule.part, body[rule.part]):
        return body  # for the server to refuse: the client wants this arm and no other
    return _without(body, rule.part)


def _told(rule: Rule, before: Json, after: Json) -> str | None:
    """What is noted of a change; None: the request means the same."""
    was, now = _value(before, rule.part), _value(after, rule.part)
    if (rule.part, rule.verb) in CHANGES:
        return _told_of_change(rule, before, after)
    if was == now or _is_neutral(rule.part, was) or rule.verb.startswith("as "):
        return None
    return "left out" if now is None else f"{was} sent as {now}"


def _told_of_change(rule: Rule, before: Json, after: Json) -> str | None:
    if rule.part in _SILENT or (rule.part, rule.verb) == ("tool schemas", "with properties"):
        return None
    was, now = _value(before, rule.part), _value(after, rule.part)
    if rule.part == "thinking":
        return None if not thinking.is_on(before) else rule.verb if thinking.is_on(after) else "left out"
    if rule.part == "reasoning_effort":
        return None if _is_neutral(rule.part, was) else rule.verb if thinking.is_on(after) else "left out"
    if rule.part == "top_p":
        return "left out" if now is None and not _is_neutral(rule.part, was) else None
    return rule.verb


def without_neutral(name: str, body: Json) -> Json:
    """The body without the field, if it asks for nothing."""
    return without(name, body) if _is_neutral(name, body.get(name)) else body


def _is_neutral(name: str, value: object) -> bool:
    known = table().all_fields.get(name)
    return Field("drop").is_neutral(value) if known is None else known.is_neutral(value)


def _value(body: Json, path: str) -> Any:
    holder, _, name = path.rpartition(".")
    inside = body if not holder else body.get(holder)
    return inside.get(name) if isinstance(inside, dict) else None


def _with(body: Json, path: str, value: object) -> Json:
    holder, _, name = path.rpartition(".")
    return {**body, holder: {**body[holder], name: value}} if holder else {**body, name: value}


def _without(body: Json, path: str) -> Json:
    holder, _, name = path.rpartition(".")
    if not holder:
        return without(name, body)
    rest = without(name, body[holder])
    return {**body, holder: rest} if rest else without(holder, body)


# --- the table


def rows(arm: Arm, form: Form) -> tuple[Row, ...]:
    """The rows that are for the arm."""
    return _rows_of(arm.provider, host_of(arm) or UNLISTED, arm.model, form)


@cache
def _rows_of(provider: str, host: str, model: str, form: Form) -> tuple[Row, ...]:
    name = undated(canonical(model))
    return tuple(row for row in table().rows if row.matches(provider, host, name, form))


@cache
def table() -> Table:
    """The table of fitting.yaml. Raises StartupError: it has a fault."""
    try:
        document = yaml.safe_load(files("service.providers").joinpath("fitting.yaml").read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise StartupError(f"fitting.yaml: {error}") from error
    return read(document)


def read(document: Any) -> Table:
    """The table in this document. Raises StartupError with the faulty place."""
    try:
        fields, bookkeeping = _fields(document["fields"] or {}), _fields(document["bookkeeping"] or {})
        rows = tuple(_row(row, {**fields, **bookkeeping}) for row in document["rows"])
    except (AttributeError, KeyError, TypeError, ValueError, re.error) as error:
        raise StartupError(f"fitting.yaml: {error!r}") from error
    return Table(fields, bookkeeping, rows)


def _fields(written: Mapping[str, Any]) -> dict[str, Field]:
    """The fields of `fields` or `bookkeeping`."""
    for name, value in written.items():
        if value.get("unknown") not in ("drop", "cannot") or value.keys() - {"unknown", "neutral"}:
            raise ValueError(f"{name}: must be {{unknown: drop or cannot, neutral: [...]}}")
    return {name: Field(value["unknown"], tuple(value.get("neutral", ()))) for name, value in written.items()}


def _row(written: Mapping[str, Any], fields: Mapping[str, Field]) -> Row:
    name = written["name"]
    if strange := written.keys() - _ROW_KEYS:
        raise ValueError(f"{name}: unknown keys {sorted(strange)}")
    rules = [
        _rule(name, part, verb)
        for part, verbs in written.get("rules", {}).items()
        for verb in (verbs if isinstance(verbs, list) else [verbs])
    ]
    for part in written.get("unknown", ()):
        if part not in fields:
            raise ValueError(f"{name}: {part} is not one of `fields` and `bookkeeping`")
        rules.append(Rule(part, fields[part].unknown))
    models = written.get("models")
    return Row(
        name=name,
        form=written.get("form"),
        providers=_set_or_all(written.get("providers")),
        hosts=_set_or_all(written.get("hosts")),
        not_hosts=frozenset(written.get("not_hosts", ())),
        models=None if models is None else re.compile(models),
        rules=tuple(rules),
    )


def _set_or_all(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _rule(row: str, part: str, written: Any) -> Rule:
    if isinstance(written, dict):
        return Rule(part, "values", values=written)
    verb, _, condition = written.partition(" if ")
    is_known = verb in ("drop", "cannot", "clamp") or (part, verb) in CHANGES or verb.startswith("as ")
    if not is_known:
        raise ValueError(f"{row}: {part}: {verb!r} is neither a verb nor a change of fitting.py")
    return Rule(part, verb, tuple(condition.split(" and ")) if condition else ())
