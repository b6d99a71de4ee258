"""The settings of a Gemini request as fields of Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from service.dialects.chat.requests import MAX_STOPS
from service.dialects.gemini.fields import Message, has_value
from service.dialects.gemini.schemas import json_schema
from service.dialects.gemini.wrapped_schemas import Unwrapping, is_object, wrapped
from service.dialects.json_body import items
from service.domain.basics import Json
from service.domain.reasoning import EFFORTS, effort_of_budget
from service.domain.strict_schemas import is_strict
from service.errors import BadRequest

MAX_MODALITIES = 10
JSON_TYPE, ENUM_TYPE = "application/json", "text/x.enum"
# Settings that ask for another answer than text; the others that the router does not know are left out.
_REFUSED = (
    "audioTranscriptionConfig",
    "imageConfig",
    "responseFormat",
    "speechConfig",
    "audio_transcription_config",
    "image_config",
    "response_format",
    "speech_config",
)
_SAME: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_output_tokens": "max_tokens",
    "candidate_count": "n",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "stop_sequences": "stop",
}


class ThinkingConfig(Message):
    include_thoughts: bool = False
    thinking_budget: Annotated[int, Field(ge=-1)] | None = None
    thinking_level: str | None = None


class GenerationConfig(Message):
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[float, Field(ge=0)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    candidate_count: Annotated[int, Field(ge=1, le=128)] | None = None
    stop_sequences: Annotated[list[str], items(MAX_STOPS)] | None = None
    seed: int | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    response_logprobs: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_mime_type: str | None = None
    response_schema: Json | None = None
    response_json_schema: Json | None = None
    response_modalities: Annotated[list[str], items(MAX_MODALITIES)] | None = None
    thinking_config: ThinkingConfig | None = None


def setting_fields(config: GenerationConfig) -> Json:
    """The fields of the request. Raises BadRequest: a setting asks for something other than text or JSON."""
    _refuse_other_media(config)
    fields: Json = {theirs: value for ours, theirs in _SAME.items() if (value := getattr(config, ours))}
    for name in ("temperature", "top_p", "seed"):  # of which zero is a setting
        if (value := getattr(config, name)) is not None:
            fields[name] = value
    if fields.get("n") == 1:
        del fields["n"]
    if "top_k" in fields:
        fields["top_k"] = int(fields["top_k"])
    if config.response_logprobs:
        fields["logprobs"] = True
        fields |= {} if config.logprobs is None else {"top_logprobs": config.logprobs}
    return {**fields, **_format(config), **_effort(config.thinking_config)}


def left_out(config: GenerationConfig) -> list[str]:
    """The settings that no model is sent."""
    return [f"generationConfig.{name}" for name in config.unknown()]


def _refuse_other_media(config: GenerationConfig) -> None:
    others = [
        m for m in config.response_modalities or [] if m.upper() not in ("TEXT", "MODALITY_UNSPECIFIED")
    ]
    if others:
        raise _fault("responseModalities", f"must be TEXT, got {others[0][:100]!r}")
    for name, value in (config.model_extra or {}).items():
        if name in _REFUSED and has_value(value):
            raise _fault(name, "no model here can use it")


def _fault(name: str, rule: str) -> BadRequest:
    return BadRequest(f"generationConfig.{name}: {rule}", param=f"generationConfig.{name}")


def _format(config: GenerationConfig) -> Json:
    """The format of the answer; a schema means JSON, whatever the media type."""
    kind, schema = (config.response_mime_type or "").lower(), _schema(config)
    if kind not in ("", "text/plain", JSON_TYPE, ENUM_TYPE):
        raise _fault(
            "responseMimeType", f"must be text/plain, {JSON_TYPE} or {ENUM_TYPE}, got {kind[:100]!r}"
        )
    if kind == ENUM_TYPE and "enum" not in (schema or {}):
        raise _fault("responseMimeType", f"{ENUM_TYPE} needs a responseSchema with enum")
    if schema:
        shape = schema if is_object(schema) else wrapped(schema)
        answer: Json = {"name": "answer", "schema": shape, "strict": is_strict(shape)}
        return {"response_format": {"type": "json_schema", "json_schema": answer}}
    return {"response_format": {"type": "json_object"}} if kind == JSON_TYPE else {}


def _schema(config: GenerationConfig) -> Json | None:
    schema = config.response_json_schema or config.response_schema
    translated: Json | None = json_schema(schema) if schema else None
    return translated


def unwrapping(config: GenerationConfig) -> Unwrapping | None:
    """How the answer is taken out of the object that wraps it; None: nothing wraps it."""
    schema = _schema(config)
    if schema is None or is_object(schema):
        return None
    return "text" if (config.response_mime_type or "").lower() == ENUM_TYPE else "json"


def _effort(thinking: ThinkingConfig | None) -> Json:
    """The reasoning effort, given as a word or as a budget of tokens; -1 leaves it to the model."""
    level: Any = thinking and thinking.thinking_level
    budget = thinking.thinking_budget if thinking else None
    if level and level.lower() in EFFORTS:
        return {"reasoning_effort": EFFORTS[level.lower()]}
    if budget is None or budget < 0:
        return {}
    return {"reasoning_effort": effort_of_budget(budget) if budget else "none"}
