"""What a request becomes for the model that it goes to: the table of fitting.yaml, applied; pure.

The table is the first line: it knows vendors and families. What it does not know is sent as it is, and
`repairs.py` changes it if the server refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.model_hosts import host_of
from service.domain.model_names import canonical, undated
from service.domain.query import Native
from service.domain.value import value
from service.providers import thinking
from service.providers.fitting_changes import CONDITIONS, SILENT
from service.providers.fitting_table import UNLISTED, Form, Row, Rule, is_neutral, table
from service.providers.message_forms import Change, renamed, without

_BESIDE_FIELDS = frozenset({"messages", "model", "stream", "stream_options", "reasoning"})


@value
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
    if arm.prompt is not None:
        body = arm.prompt.before(body)
        native = native and replace(native, body=arm.prompt.before_native(native.body))
        notes.append(f"prompt: {arm.prompt.name} before the request")
    if native is not None and form_of(arm, native) == "messages":
        for row in rows(arm, "messages"):
            native = replace(native, body=applied(row, arm, native.body, notes))
        return Fitted(body, replace(native, body=_as_configured(arm, native.body, notes)), tuple(notes))
    body = _without_unknown(arm, _without_empty(body), notes)
    for row in rows(arm, "chat"):
        body = applied(row, arm, body, notes)
    return Fitted(_as_configured(arm, body, notes), native, tuple(notes))


def reason_against(arm: Arm, body: Json, native: Native | None) -> str | None:
    """Why the arm cannot answer the request, by the table; None: it can."""
    form = form_of(arm, native)
    if not (ruling := _ruling_rows(arm.provider, host_of(arm) or UNLISTED, arm.model, form)):
        return None
    asked = native.body if native is not None and form == "messages" else body
    reasons = (ruled_out_by(row, arm, asked) for row in ruling)
    return next((f"does not accept {part}" for part in reasons if part is not None), None)


def applied(row: Row, arm: Arm, body: Json, notes: list[str] | None = None) -> Json:
    """The body after the rules of the row; the same object if none changes it. Adds to the notes."""
    for rule in row.rules:
        if not _applies(rule, body) or rule.part in arm.extra_fields:
            continue
        before, body = body, _changed(rule, body, arm)
        if notes is not None and body is not before and (what := _told(rule, before, body)):
            notes.append(f"{rule.part}: {what} ({row.name})")
    return body


def ruled_out_by(row: Row, arm: Arm, body: Json) -> str | None:
    """What of the request the arm cannot do, by the row; None: nothing."""
    for rule in row.rules:
        if rule.verb != "cannot" or rule.part in arm.extra_fields:
            continue
        if not is_neutral(rule.part, body.get(rule.part)) and _applies(rule, body):
            return rule.part
    return None


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
    empty = [n for n, value in body.items() if not value and value in (None, [], {}) and n != "messages"]
    return {name: value for name, value in body.items() if name not in empty} if empty else body


def _without_unknown(arm: Arm, body: Json, notes: list[str]) -> Json:
    """The body without fields that neither OpenAI documents nor the arm lists in `extra_fields`."""
    known = table().all_fields
    unknown = [n for n in body if n not in known and n not in _BESIDE_FIELDS and n not in arm.extra_fields]
    notes += [f"{name}: left out (not in extra_fields of the model)" for name in sorted(unknown)]
    return {name: value for name, value in body.items() if name not in unknown} if unknown else body


def _applies(rule: Rule, body: Json) -> bool:
    if rule.needs is not None and not (rule.needs in body and _has_part(rule, body)):
        return False
    return not rule.conditions or all(_holds(condition, body) for condition in rule.conditions)


def _has_part(rule: Rule, body: Json) -> bool:
    """Whether the request has the part that the rule is about."""
    return _value(body, rule.part) is not None or (rule.verb in ("drop", "cannot") and rule.part in body)


def _holds(condition: str, body: Json) -> bool:
    if (check := CONDITIONS.get(condition)) is not None:
        return check(body)
    return not is_neutral(condition, body.get(condition))


def _changed(rule: Rule, body: Json, arm: Arm) -> Json:
    if rule.change is not None:
        return rule.change(body)
    if rule.values:
        value = _value(body, rule.part)
        is_translated = isinstance(value, str) and value in rule.values
        return _with(body, rule.part, rule.values[value]) if is_translated else body
    if rule.verb == "clamp":
        limit, value = arm.max_output_tokens, body[rule.part]
        return {**body, rule.part: limit} if limit is not None and value > limit else body
    if rule.verb.startswith("as "):
        return renamed(rule.part, rule.verb.removeprefix("as "), body)
    if rule.verb == "cannot" and not is_neutral(rule.part, body[rule.part]):
        return body  # for the server to refuse: the client wants this arm and no other
    return _without(body, rule.part)


def _told(rule: Rule, before: Json, after: Json) -> str | None:
    """What is noted of a change; None: the request means the same."""
    if rule.change is not None:
        return _told_of_change(rule, before, after)
    was, now = _value(before, rule.part), _value(after, rule.part)
    if was == now or is_neutral(rule.part, was) or rule.verb.startswith("as "):
        return None
    return "left out" if now is None else f"{was} sent as {now}"


def _told_of_change(rule: Rule, before: Json, after: Json) -> str | None:
    if rule.part in SILENT or (rule.part, rule.verb) == ("tool schemas", "with properties"):
        return None
    was, now = _value(before, rule.part), _value(after, rule.part)
    if rule.part == "thinking":
        return None if not thinking.is_on(before) else rule.verb if thinking.is_on(after) else "left out"
    if rule.part == "reasoning_effort":
        return None if is_neutral(rule.part, was) else rule.verb if thinking.is_on(after) else "left out"
    if rule.part == "top_p":
        return "left out" if now is None and not is_neutral(rule.part, was) else None
    return rule.verb


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


def rows(arm: Arm, form: Form) -> tuple[Row, ...]:
    """The rows that are for the arm."""
    return _rows_of(arm.provider, host_of(arm) or UNLISTED, arm.model, form)


@cache
def _rows_of(provider: str, host: str, model: str, form: Form) -> tuple[Row, ...]:
    name = undated(canonical(model))
    return tuple(row for row in table().rows if row.matches(provider, host, name, form))


@cache
def _ruling_rows(provider: str, host: str, model: str, form: Form) -> tuple[Row, ...]:
    """The rows that can rule the arm out for a request."""
    of_arm = _rows_of(provider, host, model, form)
    return tuple(row for row in of_arm if any(rule.verb == "cannot" for rule in row.rules))
