"""Variants in the YAML file: entries of `models:` that are another entry with a prompt of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from service.domain.basics import Json
from service.settings.models import ModelSettings

OWN = frozenset({"id", "aliases", "variant_of", "prompt", "tasks"})  # a variant inherits none of these
MAX_ARTIFACT_BYTES = 4 * 2**20


class _Fault(Exception):
    """A key of an entry that breaks a rule."""

    def __init__(self, key: str, rule: str) -> None:
        super().__init__(rule)
        self.key = key


def with_variants(entries: object) -> object:
    """The entries of `models:`, each variant completed with the fields of its model and of its artifact.

    A field that the variant sets itself counts more than its model's.

    Raises:
        ValidationError: `variant_of` names no other entry, or an artifact cannot be read.
    """
    if not isinstance(entries, list | tuple):
        return entries
    bases = dict(_bases(entries))
    completed: list[object] = []
    faults: list[InitErrorDetails] = []
    for i, entry in enumerate(entries):
        try:
            completed.append(_completed(entry, bases) if isinstance(entry, Mapping) else entry)
        except _Fault as fault:
            reason = PydanticCustomError("value_error", "{error}", {"error": str(fault)})
            faults.append(InitErrorDetails(type=reason, loc=(i, fault.key), input=entry[fault.key]))
    if faults:
        raise ValidationError.from_exception_data("models", faults)
    return completed


def _bases(entries: list[object] | tuple[object, ...]) -> Iterator[tuple[str, Json]]:
    """The entries that are no variants, by id."""
    for entry in entries:
        if isinstance(entry, ModelSettings):
            entry = entry.model_dump(exclude_unset=True)
        if isinstance(entry, Mapping) and isinstance(entry.get("id"), str) and not entry.get("variant_of"):
            yield entry["id"], {name: value for name, value in entry.items() if name not in OWN}


def _completed(entry: Mapping[str, object], bases: Mapping[str, Json]) -> Json:
    own = dict(entry)
    if isinstance(path := own.get("prompt"), str):
        own["prompt"] = _prompt_in(Path(path))
    if (base := own.get("variant_of")) is None:
        return own
    if not isinstance(base, str) or base == own.get("id") or base not in bases:
        raise _Fault("variant_of", "must be the id of another entry of models that is no variant")
    if own.get("prompt") is None:
        raise _Fault("variant_of", "needs prompt: a variant without one would be its model twice")
    return {**bases[base], **own}


def _prompt_in(path: Path) -> object:
    """The prompt of an artifact of `router optimize`, or of a file that has nothing else."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_ARTIFACT_BYTES + 1)
    except (OSError, ValueError) as error:  # a path may have a character that no file name has
        reason = getattr(error, "strerror", None) or error
        raise _Fault("prompt", f"cannot be read ({reason})") from error
    if len(content) > MAX_ARTIFACT_BYTES:
        raise _Fault("prompt", f"must be a file of at most {MAX_ARTIFACT_BYTES} bytes")
    try:
        artifact = json.loads(content)
    except ValueError as error:
        raise _Fault("prompt", f"must be a file of JSON ({error})") from error
    if not isinstance(artifact, dict):
        raise _Fault("prompt", "must be a file with a JSON object")
    return artifact.get("prompt", artifact)
