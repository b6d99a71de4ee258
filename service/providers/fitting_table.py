"""The table of fitting.yaml: which rules are for which models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias, get_args

import yaml

from service.domain.basics import Json
from service.errors import StartupError
from service.providers.fitting_changes import CHANGES, CONDITIONS
from service.providers.message_forms import Change, without

Form: TypeAlias = Literal["chat", "messages"]

UNLISTED = "unlisted"
_ROW_KEYS = {"name", "form", "providers", "hosts", "not_hosts", "models", "rules", "unknown"}


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
    change: Change | None = field(init=False)  # None: the verb itself says what is done
    needs: str | None = field(init=False)  # the field without which a request has no such part; None: any

    def __post_init__(self) -> None:
        change = CHANGES.get((self.part, self.verb))
        object.__setattr__(self, "change", change)
        object.__setattr__(self, "needs", self.part.partition(".")[0] if change is None else None)


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


@dataclass(frozen=True, slots=True)
class Table:
    fields: Mapping[str, Field]
    bookkeeping: Mapping[str, Field]
    all_fields: Mapping[str, Field]
    rows: tuple[Row, ...]


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
        all_fields = {**fields, **bookkeeping}
        rows = tuple(_row(row, all_fields) for row in document["rows"])
    except (AttributeError, KeyError, TypeError, ValueError, re.error) as error:
        raise StartupError(f"fitting.yaml: {error!r}") from error
    return Table(fields, bookkeeping, all_fields, rows)


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
    if written.get("form") not in (None, *get_args(Form)):
        raise ValueError(f"{name}: form must be chat or messages")
    rules = [
        _rule(name, part, verb, fields)
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


def _rule(row: str, part: str, written: Any, fields: Mapping[str, Field]) -> Rule:
    if isinstance(written, dict):
        return Rule(part, "values", values=written)
    verb, _, written_conditions = written.partition(" if ")
    conditions = tuple(written_conditions.split(" and ")) if written_conditions else ()
    is_known = verb in ("drop", "cannot", "clamp") or (part, verb) in CHANGES or verb.startswith("as ")
    if not is_known:
        raise ValueError(f"{row}: {part}: {verb!r} is neither a verb nor a change of fitting_changes.py")
    if strange := [name for name in conditions if name not in CONDITIONS and name not in fields]:
        raise ValueError(f"{row}: {part}: {strange[0]!r} is neither a condition nor a field")
    return Rule(part, verb, conditions)


# --- values that ask for nothing


def without_neutral(name: str, body: Json) -> Json:
    """The body without the field, if it asks for nothing."""
    return without(name, body) if is_neutral(name, body.get(name)) else body


def is_neutral(name: str, value: object) -> bool:
    known = table().all_fields.get(name)
    return Field("drop").is_neutral(value) if known is None else known.is_neutral(value)
