"""What a request becomes for the model that it goes to: the table of fitting.yaml, applied; pure.

The table is the first line: it knows vendors and families. What it does not know is sent as it is, and
`repairs.py` changes it if the server refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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
from service.providers.message_forms import Change, changing, renamed, with_effort, with_properties, without
from service.providers.tool_ids import with_nine_letters

Form: TypeAlias = Literal["chat", "messages"]

UNLISTED = "unlisted"
_THROUGH_LITELLM = frozenset({"anthropic", "litellm"})  # providers; LiteLLM gets no bookkeeping
_ROW_KEYS = {"name", "form", "hosts", "not_hosts", "models", "rules", "unknown"}
_BESIDE_FIELDS = frozenset({"messages", "model", "stream", "stream_options", "reasoning"})

# What a rule may call a condition, beside the name of a field.
CONDITIONS: Mapping[str, Callable[[Json], bool]] = {
    "budget": lambda body: (body.get("thinking") or {}).get("type") == "enabled",
    "forced tool": thinking.is_forced,
}
# Changes that the rules name, by the part that they change.
CHANGES: Mapping[tuple[str, str], Change] = {
    ("cache_control", "four marks"): with_four_cache_marks,
    ("reasoning", "as an effort"): with_effort,
    ("system turns", "into the user's"): without_system_turns,
    ("thinking", "as a budget"): thinking.with_budget,
    ("thinking", "as adaptive"): thinking.adaptive,
    ("thinking", "within the answer"): thinking.with_fitting_budget,
    ("thinking", "drop"): thinking.without_thinking,
    ("top_p", "or temperature"): with_one_sampler,
    ("tool ids", "of nine letters"): partial(changing, with_nine_letters),
    ("tools", "with properties in every schema"): with_properties,
}
# Changes after which the request means the same.
_SILENT = frozenset({"cache_control", "reasoning", "system turns", "tool ids", "tools"})


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
    hosts: frozenset[str] | None
    not_hosts: frozenset[str]
    models: re.Pattern[str] | None
    rules: tuple[Rule, ...]

    def matches(self, host: str, model: str, form: Form) -> bool:
        if self.form not in (None, form) or host in self.not_hosts:
            return False
        if self.hosts is not None and host not in self.hosts:
            return False
        return self.models is None or self.models.fullmatch(model) is not None


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
    form = form_of(arm, native)
    asked = native.body if native is not None and form == "messages" else body
    fitting = _Fitting(arm, asked)
    if form == "chat":
        fitting.leave_out_unknown()
    for row in _rows(arm, form):
        fitting.apply(row)
    if native is not None and form == "messages":
        return Fitted(body, replace(native, body=fitting.body), tuple(fitting.notes))
    return Fitted(fitting.body, native, tuple(fitting.notes))


def reason_against(arm: Arm, body: Json, native: Native | None) -> str | None:
    """Why the arm cannot answer the request, by the table; None: it can."""
    form = form_of(arm, native)
    asked = native.body if native is not None and form == "messages" else body
    for row in _rows(arm, form):
        for rule in row.rules:
            is_ruled_out = rule.verb == "cannot" and rule.part not in arm.extra_fields
            if is_ruled_out and not _is_neutral(rule.part, asked.get(rule.part)) and _applies(rule, asked):
                return f"does not accept {rule.part}"
    return None


class _Fitting:
    """One request on its way to one arm."""

    def __init__(self, arm: Arm, body: Json) -> None:
        self.body = body
        self.notes: list[str] = []
        self._arm = arm

    def leave_out_unknown(self) -> None:
        """Leave out the fields that neither OpenAI documents nor the model lists in `extra_fields`."""
        known = table().fields if self._arm.provider in _THROUGH_LITELLM else table().all_fields
        unknown = self.body.keys() - known.keys() - _BESIDE_FIELDS - self._arm.extra_fields
        for name in sorted(unknown):
            if not _is_neutral(name, self.body[name]):
                self.notes.append(f"{name}: left out (not in extra_fields of the model)")
        if unknown:
            self.body = {name: value for name, value in self.body.items() if name not in unknown}

    def apply(self, row: Row) -> None:
        for rule in row.rules:
            if rule.part in self._arm.extra_fields or not _applies(rule, self.body):
                continue
            before, self.body = self.body, _changed(rule, self.body, self._arm)
            if self.body is not before and (what := _told(rule, before, self.body)):
                self.notes.append(f"{rule.part}: {what} ({row.name})")


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
    if (
        was == now
        or rule.part in _SILENT
        or (rule.verb.startswith("as ") and (rule.part, rule.verb) not in CHANGES)
    ):
        return None
    if rule.part == "thinking" and not thinking.is_on(before):
        return None
    if now is None:
        return None if _is_neutral(rule.part, was) else "left out"
    if isinstance(now, str | int):
        return f"{was} sent as {now}"
    return rule.verb


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


def _rows(arm: Arm, form: Form) -> tuple[Row, ...]:
    return _rows_of(host_of(arm) or UNLISTED, arm.model, form)


@cache
def _rows_of(host: str, model: str, form: Form) -> tuple[Row, ...]:
    name = undated(canonical(model))
    return tuple(row for row in table().rows if row.matches(host, name, form))


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
    hosts, models = written.get("hosts"), written.get("models")
    return Row(
        name=name,
        form=written.get("form"),
        hosts=None if hosts is None else frozenset(hosts),
        not_hosts=frozenset(written.get("not_hosts", ())),
        models=None if models is None else re.compile(models),
        rules=tuple(rules),
    )


def _rule(row: str, part: str, written: Any) -> Rule:
    if isinstance(written, dict):
        return Rule(part, "values", values=written)
    verb, _, condition = written.partition(" if ")
    is_known = verb in ("drop", "cannot", "clamp") or (part, verb) in CHANGES or verb.startswith("as ")
    if not is_known:
        raise ValueError(f"{row}: {part}: {verb!r} is neither a verb nor a change of fitting.py")
    return Rule(part, verb, tuple(condition.split(" and ")) if condition else ())
