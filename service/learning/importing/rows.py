"""Recorded outcomes as rows, from JSON Lines or Parquet, a few at a time."""

from __future__ import annotations

import base64
from codecs import BOM_UTF8
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import numpy as np
import orjson
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from service.domain.basics import Json, Vector
from service.domain.feedback import Experience
from service.errors import StartupError
from service.store.connection.values import from_bytes, to_bytes

BATCH = 500  # rows of a Parquet file in memory at once
NORM_ERROR = 0.001
LEAST_WEIGHT = Decimal("0.000001")
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


def _no_words(value: object) -> object:
    if isinstance(value, str | bool):
        raise ValueError("must be a number")
    return value


Number = Annotated[float, BeforeValidator(_no_words)]


class Row(BaseModel):
    """The recorded outcome of one model for one prompt. Other fields of a record are ignored.

    The prompt is a text, or what the learner needs of it: its vector in the space of an encoder.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())

    prompt: Annotated[str, StringConstraints(min_length=1)] | None = None
    context: str | None = None  # base64 of float32, little endian, in place of the prompt
    encoder: str | None = None  # of the context
    model: Annotated[str, StringConstraints(min_length=1)]  # an arm's id or alias
    score: Number = Field(ge=0, le=1)
    cost_usd: Decimal | None = Field(None, ge=0, le=10_000)
    latency_s: Number | None = Field(None, ge=0, le=86_400)
    propensity: Number | None = Field(None, gt=0, le=1)  # of the model for this prompt
    weight: Decimal = Field(Decimal(1), ge=LEAST_WEIGHT, le=1)  # of the score
    at: AwareDatetime | None = None
    task: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")] | None = None
    prompt_tokens: int | None = Field(None, ge=0)  # absent: estimated from the prompt
    request_id: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")] | None = None

    @field_validator("context")
    @classmethod
    def _is_a_unit_vector(cls, value: str | None) -> str | None:
        if value is not None and not abs(float(np.linalg.norm(_vector(value))) - 1.0) < NORM_ERROR:
            raise ValueError("must be the base64 of a vector of length 1, as float32")
        return value

    @model_validator(mode="after")
    def _has_a_prompt_or_its_context(self) -> Row:
        if (self.prompt is None) == (self.context is None):
            raise ValueError("must have one of prompt and context")
        if (self.context is None) != (self.encoder is None):
            raise ValueError("must have both context and encoder, or neither")
        return self

    @property
    def vector(self) -> Vector | None:
        """The context, shape (d,); None: the row has a prompt."""
        return None if self.context is None else _vector(self.context)


def _vector(context: str) -> Vector:
    try:
        return from_bytes(base64.b64decode(context, validate=True))
    except ValueError:  # not base64, or no whole number of floats
        return np.zeros(0, dtype=np.float32)


def exported(experience: Experience) -> Json:
    """A rated decision as a record that `read_rows` reads; it has no text."""
    return {
        "context": base64.b64encode(to_bytes(experience.context)).decode(),
        "encoder": experience.encoder,
        "model": experience.arm_id,
        "score": experience.reward,
        "weight": experience.weight,
        "cost_usd": experience.cost_usd,
        "latency_s": experience.latency_s,
        "task": experience.task,
        "at": experience.decided_at.isoformat(),
        "request_id": experience.request_id,
    }


def read_rows(path: Path, now: datetime) -> Iterator[Row]:
    """Read a file from its beginning.

    A Parquet file has the columns of `Row`, or `prompt` and for each model `score:<model>` and optionally
    `cost:<model>`; in the second form each score that is not null is a row.

    Args:
        now: latest time of a row. After the arm changes, a rating from the future would outweigh all ratings
            until then.

    Raises:
        StartupError: the file cannot be read, or a row breaks a rule; the message names line, field and rule.
    """
    records = _parquet_records if path.suffix == ".parquet" else json_records
    try:
        for place, record in records(path):
            row = _row(record, f"{path} {place}")
            if row.at is not None and not EARLIEST <= row.at <= now:
                rule = f"must be from {EARLIEST:%Y} on and not in the future"
                raise StartupError(f"{path} {place}: at: {rule}, got {row.at.isoformat()}")
            yield row
    except OSError as error:
        raise StartupError(f"{path}: cannot be read: {error.strerror or error}") from error


def _row(record: object, place: str) -> Row:
    try:
        return Row.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        value = "" if first["type"] == "missing" else f", got {_shown(first['input'])}"
        rule = first["msg"].removeprefix("Value error, ")
        raise StartupError(f"{place}: {field or 'row'}: {rule}{value}") from error


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{type(value).__name__} of {len(shown)} characters"


def json_records(path: Path) -> Iterator[tuple[str, object]]:
    """The values of a JSON Lines file, each after its place. Raises StartupError: a line is not JSON."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            line = line.removeprefix(BOM_UTF8)
            if line.strip():
                yield f"line {number}", _parsed(line, f"{path} line {number}")


def _parsed(line: bytes, place: str) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise StartupError(f"{place}: must be a JSON object: {error}") from error


def _parquet_records(path: Path) -> Iterator[tuple[str, Json]]:
    try:
        import pyarrow  # type: ignore[import-untyped]  # pyarrow has no types
        from pyarrow import parquet
    except ImportError as error:
        raise StartupError("reading Parquet needs pyarrow: pip install pyarrow") from error
    try:
        with parquet.ParquetFile(path) as file:
            models = [c.removeprefix("score:") for c in file.schema_arrow.names if c.startswith("score:")]
            number = 0
            for batch in file.iter_batches(batch_size=BATCH):
                for record in batch.to_pylist():
                    number += 1
                    for row in _of_each_model(record, models) if models else [record]:
                        yield f"row {number}", row
    except pyarrow.ArrowException as error:
        raise StartupError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())}") from error


def _of_each_model(record: Json, models: list[str]) -> Iterator[Json]:
    for model in models:
        if (score := record[f"score:{model}"]) is not None:
            cost = record.get(f"cost:{model}")
            shared = {name: record.get(name) for name in ("prompt", "task", "prompt_tokens")}
            yield {**shared, "model": model, "score": score, "cost_usd": cost}
