"""The shapes in which providers report tokens: tests read them, docs/usage.md lists them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from service.domain.answer import Usage
from service.domain.basics import Json


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of a report.

    Args:
        report: the usage object.
        usage: what is counted; None: the report counts nothing, so the tokens are estimated.
    """

    name: str
    report: object
    usage: Usage | None


def row(shape: Shape) -> tuple[str, ...]:
    """The row of the shape in docs/usage.md."""
    return (shape.name, f"`{json.dumps(shape.report)}`", *cells(shape.usage))


def cells(usage: Usage | None) -> tuple[str, ...]:
    if usage is None:
        return ("estimated",) * 5
    counts = (usage.prompt_tokens, usage.cached_tokens, usage.cache_write_tokens)
    return tuple(map(str, (*counts, usage.completion_tokens, usage.reasoning_tokens)))


def openai(prompt: int, completion: int, total: int | None = None, **more: object) -> Json:
    counts: Json = {"prompt_tokens": prompt, "completion_tokens": completion}
    return counts | ({} if total is None else {"total_tokens": total}) | more


def anthropic(prompt: int, completion: int, **more: object) -> Json:
    return {"input_tokens": prompt, "output_tokens": completion, **more}


SHAPES = (
    Shape(
        "OpenAI",
        openai(
            90,
            30,
            120,
            prompt_tokens_details={"cached_tokens": 50},
            completion_tokens_details={"reasoning_tokens": 20},
        ),
        Usage(90, 50, 30, 20),
    ),
    Shape("only the two counts", openai(90, 30), Usage(90, 0, 30)),
    Shape(
        "OpenAI's names in Responses: the cache is part of the input",
        anthropic(
            90,
            30,
            total_tokens=120,
            input_tokens_details={"cached_tokens": 50},
            output_tokens_details={"reasoning_tokens": 20},
        ),
        Usage(90, 50, 30, 20),
    ),
    Shape(
        "Anthropic: the cache is beside the input",
        anthropic(14, 30, cache_read_input_tokens=50, cache_creation_input_tokens=6),
        Usage(70, 50, 30, cache_write_tokens=6),
    ),
    Shape(
        "Bedrock",
        {"inputTokens": 14, "outputTokens": 30, "cacheReadInputTokens": 50, "cacheWriteInputTokens": 6},
        Usage(70, 50, 30, cache_write_tokens=6),
    ),
    Shape(
        "Gemini: thinking is beside the candidates",
        {
            "promptTokenCount": 90,
            "candidatesTokenCount": 10,
            "thoughtsTokenCount": 20,
            "totalTokenCount": 120,
            "cachedContentTokenCount": 50,
        },
        Usage(90, 50, 30, 20),
    ),
    Shape(
        "Gemini with results of its own tools",
        {
            "promptTokenCount": 80,
            "toolUsePromptTokenCount": 10,
            "candidatesTokenCount": 30,
            "totalTokenCount": 120,
        },
        Usage(90, 0, 30),
    ),
    Shape("Ollama", {"prompt_eval_count": 90, "eval_count": 30}, Usage(90, 0, 30)),
    Shape(
        "Cohere",
        {"billed_units": {"input_tokens": 80}, "tokens": {"input_tokens": 90, "output_tokens": 30}},
        Usage(90, 0, 30),
    ),
    Shape(
        "both families of names, one of them zero",
        openai(90, 30, 120, input_tokens=0, output_tokens=0, prompt_tokens_details={"cached_tokens": 50}),
        Usage(90, 50, 30),
    ),
    Shape(
        "both families of names, the other one zero",
        openai(0, 0, 0, input_tokens=90, output_tokens=30),
        Usage(90, 0, 30),
    ),
    Shape(
        "both families of names: OpenAI's prompt includes the cache",
        openai(64, 30, 94, input_tokens=14, output_tokens=30, cache_read_input_tokens=50),
        Usage(64, 50, 30),
    ),
    Shape(
        "OpenAI's names, but by the total the cache is beside the prompt",
        openai(14, 30, 94, cache_read_input_tokens=50),
        Usage(64, 50, 30),
    ),
    Shape(
        "OpenAI's names, but the cache is more than the prompt",
        openai(14, 30, cache_read_input_tokens=50, cache_creation_input_tokens=6),
        Usage(70, 50, 30, cache_write_tokens=6),
    ),
    Shape("cached tokens at the top (Moonshot)", openai(90, 30, 120, cached_tokens=50), Usage(90, 50, 30)),
    Shape(
        "cached tokens at the top, zero in the details",
        openai(90, 30, 120, cached_tokens=50, prompt_tokens_details={"cached_tokens": 0}),
        Usage(90, 50, 30),
    ),
    Shape(
        "DeepSeek",
        openai(90, 30, 120, prompt_cache_hit_tokens=50, prompt_cache_miss_tokens=40),
        Usage(90, 50, 30),
    ),
    Shape(
        "a proxy's names for the cache",
        openai(90, 30, cache_read_input_tokens=50, cache_creation_input_tokens=6),
        Usage(90, 50, 30, cache_write_tokens=6),
    ),
    Shape(
        "OpenRouter: tokens written into the cache",
        openai(90, 30, 120, prompt_tokens_details={"cached_tokens": 50, "cache_write_tokens": 6}),
        Usage(90, 50, 30, cache_write_tokens=6),
    ),
    Shape(
        "LiteLLM's and Qwen's tokens written into the cache",
        openai(90, 30, 120, prompt_tokens_details={"cached_tokens": 50, "cache_creation_tokens": 6}),
        Usage(90, 50, 30, cache_write_tokens=6),
    ),
    Shape(
        "thinking beside the completion, as the total says (xAI)",
        openai(90, 10, 120, completion_tokens_details={"reasoning_tokens": 20}),
        Usage(90, 0, 30, 20),
    ),
    Shape(
        "thinking within the completion, as the total says",
        openai(90, 30, 120, completion_tokens_details={"reasoning_tokens": 20}),
        Usage(90, 0, 30, 20),
    ),
    Shape(
        "more thinking than completion, without a total",
        openai(90, 10, reasoning_tokens=20),
        Usage(90, 0, 30, 20),
    ),
    Shape(
        "more thinking than completion, but the total counts none beside it",
        openai(90, 10, 100, reasoning_tokens=20),
        Usage(90, 0, 10, 10),
    ),
    Shape("thinking only in the total (Gemini's OpenAI endpoint)", openai(90, 10, 120), Usage(90, 0, 30)),
    Shape("a prompt only in the total", openai(0, 30, 120), Usage(90, 0, 30)),
    Shape("a total that is too small", openai(90, 30, 30), Usage(90, 0, 30)),
    Shape("numbers as text", {"prompt_tokens": "90", "completion_tokens": "30.0"}, Usage(90, 0, 30)),
    Shape("floats", {"prompt_tokens": 90.0, "completion_tokens": 29.6}, Usage(90, 0, 30)),
    Shape(
        "negative counts and null",
        openai(90, 30, -1, prompt_tokens_details=None, cached_tokens=-5),
        Usage(90, 0, 30),
    ),
    Shape("more cached tokens than prompt", openai(90, 30, cached_tokens=500), Usage(90, 90, 30)),
    Shape("zeros only", openai(0, 0, 0), None),
    Shape("null", None, None),
    Shape("a total only", {"total_tokens": 120}, None),
)
