"""What becomes of a request on its way to an arm, row by row of fitting.yaml."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import pytest
from openai.types.chat import completion_create_params

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.query import Native
from service.errors import StartupError
from service.providers.fitting import applied, fitted, may_be_left_out, reason_against, rows, ruled_out_by
from service.providers.fitting_table import Form, Row, Rule, read, table
from tests.service.providers.scripted import BODY

OPENAI = "https://api.openai.com/v1"
HI: Json = {"role": "user", "content": "Hi."}
TOOL: Json = {
    "type": "function",
    "function": {"name": "read", "parameters": {"type": "object", "properties": {}}},
}


def gpt(model: str = "gpt-4.1", base_url: str = "http://localhost:9/v1", **fields: Any) -> Arm:
    return Arm("a", "openai", model, base_url=base_url, **fields)


def claude(model: str = "claude-haiku-4-5", **fields: Any) -> Arm:
    return Arm("a", "anthropic", model, **fields)


def sent(arm: Arm, **body: Any) -> Json:
    """The fields that the arm gets of a Chat Completions request."""
    got = fitted(arm, {"messages": [HI], **body}, None).body
    return {name: value for name, value in got.items() if name != "messages"}


def told(arm: Arm, **body: Any) -> tuple[str, ...]:
    return fitted(arm, {"messages": [HI], **body}, None).notes


def native(arm: Arm, *turns: Json, **fields: Any) -> Json:
    """The Messages request that the arm gets."""
    body = {"max_tokens": 32_000, "messages": list(turns) or [HI], **fields}
    got = fitted(arm, {"messages": [HI]}, Native(body, {})).native
    assert got is not None
    return got.body


def cannot(arm: Arm, **body: Any) -> str | None:
    return reason_against(arm, {"messages": [HI], **body}, None)


# --- the table


def test_every_field_of_the_official_client_is_known() -> None:
    official: set[str] = set()
    for variant in get_args(completion_create_params.CompletionCreateParams):
        official |= get_type_hints(variant).keys()

    assert official - {"model", "stream", "messages", "stream_options"} == table().all_fields.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [{"name": "x", "rules": {"seed": "forget"}}]}, "seed: 'forget' is neither"),
        ({"rows": [{"name": "x", "unknown": ["seeds"]}]}, "seeds is not one of"),
        ({"rows": [{"name": "x", "rules": {"seed": "drop if rain"}}]}, "'rain' is neither a condition"),
        ({"rows": [{"name": "x", "form": "mail"}]}, "form must be chat or messages"),
        ({"rows": [{"name": "x", "modles": "a"}]}, "unknown keys"),
        ({"rows": [{"name": "x", "models": "("}]}, "unterminated"),
        ({"rows": [{"rules": {}}]}, "name"),
        ({"fields": {"seed": {"unknown": "ignore"}}}, "seed: must be"),
        ({"fields": {"seed": {"unknown": "drop", "neutrals": []}}}, "seed: must be"),
        ({"rows": None}, "NoneType"),
    ],
)
def test_a_broken_table_stops_the_start(change: Json, message: str) -> None:
    document: Json = {"fields": {"seed": {"unknown": "drop"}}, "bookkeeping": {}, "rows": []}

    with pytest.raises(StartupError, match=message):
        read(document | change)


# For each row an arm that it is for.
EXAMPLES: dict[str, Arm] = {
    "every model": gpt("qwen3", max_output_tokens=10),
    "every model through LiteLLM": Arm("a", "litellm", "groq/llama"),
    "every model in Anthropic's form": claude("glm-4.6", max_output_tokens=10),
    "models of other makers than OpenAI": gpt("qwen3"),
    "Qwen on servers of one's own": gpt("Qwen/Qwen3-32B"),
    "hosts without cache marks": gpt("llama", "https://api.groq.com/openai/v1"),
    "hosts with OpenAI's limits of names": Arm("a", "litellm", "gemini/gemini-3"),
    "hosts with text in one string": gpt("deepseek-chat", "https://api.deepseek.com"),
    "OpenAI and Azure": gpt("gpt-4.1", "https://eu.api.openai.com/v1"),
    "every GPT": gpt("gpt-4.1"),
    "GPT-4.1 and earlier": gpt("gpt-4o-mini"),
    "GPT-5 and later, o-series": gpt("o4-mini"),
    "GPT-5 and later, o-series at OpenAI and Azure": gpt("gpt-5.4", OPENAI),
    "GPT-5": gpt("gpt-5-mini-2025-08-07"),
    "GPT-5.1 and later": gpt("gpt-5.1"),
    "GPT-5.4 and later of GPT-5": gpt("gpt-5.4-mini"),
    "o-series": gpt("o3"),
    "Claude in OpenAI's form": Arm("a", "litellm", "bedrock/us.anthropic.claude-opus-4-6-v1:0"),
    "Claude 3.5 and earlier": claude("claude-3-5-haiku-20241022"),
    "Claude 3.7 to 4.5": claude("claude-haiku-4-5"),
    "Claude 3.7 to 4.5 but Opus 4.5": claude("claude-sonnet-4-5"),
    "Claude Opus 4.5": claude("claude-opus-4-5-20251101"),
    "Claude 4.6": claude("claude-sonnet-4-6"),
    "Claude 4.7 and later": claude("claude-opus-4-8"),
    "Claude before 4.6": claude("claude-opus-4-1"),
    "every Claude": claude("claude-opus-4-6"),
    "Gemini through LiteLLM": Arm("a", "litellm", "gemini/gemini-3.8-flash"),
    "Gemini in OpenAI's form": gpt(
        "gemini-3.8-flash", "https://generativelanguage.googleapis.com/v1beta/openai"
    ),
    "Mistral": gpt("mistral-large-latest", "https://api.mistral.ai/v1"),
    "Groq": gpt("llama", "https://api.groq.com/openai/v1"),
    "Grok 4": gpt("grok-4", "https://api.x.ai/v1"),
    "DeepSeek's reasoner": gpt("deepseek-reasoner", "https://api.deepseek.com"),
    "Bedrock": Arm("a", "litellm", "bedrock/amazon.nova-pro-v1:0"),
}
_MARKED: Json = {"type": "text", "text": "Hi.", "cache_control": {"type": "ephemeral"}}
_USE: Json = {"id": "toolu_1", "type": "function", "function": {"name": "x" * 70, "arguments": "{}"}}
_CHOICE: Json = {"type": "object", "anyOf": [{"properties": {"a": {"const": 1}}}]}
# A request with everything that a rule may be about.
EVERYTHING: dict[str, Json] = {
    "chat": {
        "messages": [
            {"role": "developer", "content": [_MARKED] * 5},
            {"role": "system", "content": "Be brief."},
            HI,
            {"role": "assistant", "content": None, "tool_calls": [_USE]},
            {"role": "tool", "tool_call_id": "toolu_1", "content": "1"},
        ],
        **dict.fromkeys(("audio", "function_call", "functions", "prediction", "seed", "user"), "x"),
        **dict.fromkeys(table().bookkeeping, "x"),
        **dict.fromkeys(("frequency_penalty", "presence_penalty", "temperature", "top_p"), 0.5),
        **dict.fromkeys(("max_tokens", "max_completion_tokens"), 20000),
        "logit_bias": {"1": 1},
        "logprobs": True,
        "modalities": ["audio"],
        "n": 2,
        "parallel_tool_calls": False,
        "reasoning": {"effort": "high"},
        "reasoning_effort": "max",
        "response_format": {"type": "json_object"},
        "stop": ["\n", "a", "b", "c", "d"],
        "tool_choice": "required",
        "tools": [
            {"type": "function", "function": {"name": "x" * 70, "strict": True, "parameters": _CHOICE}}
        ],
        "top_logprobs": 2,
        "verbosity": "low",
        "web_search_options": {"user_location": {}},
    },
    "messages": {
        "messages": [{"role": "user", "content": [_MARKED] * 5}, {"role": "system", "content": "s"}],
        "max_tokens": 20_000,
        "thinking": {"type": "enabled", "budget_tokens": 30_000},
        "output_config": {"effort": "xhigh"},
        "temperature": 0.5,
        "top_p": 0.5,
        "top_k": 5,
        "tools": [{"name": "read", "input_schema": {}}],
    },
}
# Variants of it, for rules that wait for something else.
VARIANTS: tuple[Json, ...] = (
    {},
    {"tool_choice": "auto", "tools": None},
    {"tool_choice": {"type": "any"}},
    {"tools": [{"type": "function", "function": {"name": "read"}, "parameters": {}}]},
    {"tools": [{"type": "function", "function": {"name": "read", "parameters": {}}}]},
    {"reasoning_effort": "minimal"},
    {"reasoning_effort": None, "thinking": {"type": "enabled", "budget_tokens": 2_000}},
    {"max_completion_tokens": None},
    {"thinking": {"type": "adaptive"}},
)


def variants(form: Form) -> list[Json]:
    changed = [{**EVERYTHING[form], **variant} for variant in VARIANTS]
    return [{name: value for name, value in body.items() if value is not None} for body in changed]


def forms(row: Row) -> list[Form]:
    return [row.form] if row.form is not None else ["chat", "messages"]


def does_something(row: Row, rule: Rule, arm: Arm) -> bool:
    alone = replace(row, rules=(rule,))
    bodies = [body for form in forms(row) for body in variants(form)]
    return any(applied(alone, arm, body) is not body or ruled_out_by(alone, arm, body) for body in bodies)


def test_every_row_has_an_example() -> None:
    assert [row.name for row in table().rows] == list(EXAMPLES)


@pytest.mark.parametrize("row", table().rows, ids=lambda row: row.name)
def test_every_row_is_for_its_example_and_every_rule_of_it_does_something(row: Row) -> None:
    arm = EXAMPLES[row.name]

    assert all(
        row in rows(arm, form) for form in forms(row) if form == row.form or arm.provider == "anthropic"
    )
    assert [rule for rule in row.rules if not does_something(row, rule, arm)] == []


ODD: list[Json] = [
    {"messages": [{"role": "assistant", "content": None, "tool_calls": [None, 1, {}, {"id": [1]}]}]},
    {"messages": [{"role": "user", "content": [{"type": "text"}, {"text": 1}]}], "reasoning": [1]},
    {
        "messages": [HI],
        "tools": [{"type": "x"}, {"function": 1}, {"function": {"parameters": []}}],
        "tool_choice": 7,
    },
    {"messages": [HI], "reasoning_effort": {"effort": "high"}, "stop": {"a": 1}, "thinking": "x"},
    {"messages": [HI], "response_format": {"type": {}}, "metadata": 1, "modalities": {"a": [1]}, "n": "x"},
]


@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_odd_request_is_left_to_its_server(name: str, body: Json) -> None:
    before = deepcopy(body)

    fitted(EXAMPLES[name], body, None)
    cannot(EXAMPLES[name], **body)

    assert body == before


# --- every model


def test_a_request_that_fits_is_the_same_object() -> None:
    assert fitted(gpt(), BODY, None).body is BODY


def test_only_documented_fields_and_those_of_the_arm_go_up() -> None:
    body = {"seed": 7, "api_base": "http://evil", "extra_headers": {"a": "b"}, "top_k": 40}

    assert sent(gpt(), **body) == {"seed": 7}
    assert sent(replace(gpt(), extra_fields=frozenset({"top_k"})), **body) == {"seed": 7, "top_k": 40}
    assert told(gpt(), **body) == (
        "api_base: left out (not in extra_fields of the model)",
        "extra_headers: left out (not in extra_fields of the model)",
        "top_k: left out (not in extra_fields of the model)",
    )


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_an_answer_is_clamped_to_the_models(name: str) -> None:
    small = gpt("qwen3", max_output_tokens=8_000)

    assert sent(small, **{name: 64_000}) == {name: 8_000}
    assert told(small, **{name: 64_000}) == (f"{name}: 64000 sent as 8000 (every model)",)
    assert sent(small, **{name: 8_000}) == {name: 8_000}
    assert sent(gpt("qwen3"), **{name: 64_000}) == {name: 64_000}


def test_what_the_arm_lists_in_extra_fields_is_left_as_it_is() -> None:
    arm = gpt("gpt-5", OPENAI, extra_fields=frozenset({"temperature", "logit_bias"}))

    assert sent(arm, temperature=0, logit_bias={"1": 1}) == {"temperature": 0, "logit_bias": {"1": 1}}
    assert cannot(arm, logit_bias={"1": 1}) is None


def test_what_the_operator_sets_comes_last() -> None:
    arm = gpt(
        "gpt-5",
        OPENAI,
        extra_fields=frozenset({"top_k", "chat_template_kwargs"}),
        drop=frozenset({"seed", "user"}),
        rename={"max_completion_tokens": "n_predict"},
        set_fields={"chat_template_kwargs": {"enable_thinking": False}, "temperature": 0.7},
    )
    asked: Json = {"seed": 1, "max_tokens": 5, "top_k": 3, "temperature": 0, "chat_template_kwargs": {"a": 1}}

    assert sent(arm, **asked) == {
        "top_k": 3,
        "n_predict": 5,
        "temperature": 0.7,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert told(arm, **asked)[-1] == "seed: left out (not for this model)"


def test_what_the_operator_sets_applies_to_anthropics_form_too() -> None:
    arm = claude(drop=frozenset({"metadata"}), rename={"speed": "pace"}, set_fields={"service_tier": "auto"})

    got = native(arm, metadata={"user_id": "u"}, speed="fast")

    assert got == {"max_tokens": 32_000, "messages": [HI], "pace": "fast", "service_tier": "auto"}


@pytest.mark.parametrize("name", ["thinking", "reasoning_effort"])
def test_what_is_dropped_takes_what_depends_on_it_along(name: str) -> None:
    asked: Json = {"thinking": ADAPTIVE, "output_config": HIGH, "context_management": CLEAR}

    got = native(claude("some-model", drop=frozenset({name})), **asked)

    gone = {"thinking": {"thinking", "context_management"}, "reasoning_effort": {"output_config"}}[name]
    assert got.keys() == {"max_tokens", "messages", *asked} - gone


def test_fields_without_which_an_answer_is_of_use_may_be_left_out() -> None:
    soft = {"seed", "reasoning_effort=xhigh", "thinking=adaptive", "store"}

    assert may_be_left_out({*soft, "tools", "logit_bias", "n", "images", "top_k"}) == {
        "seed",
        "reasoning_effort",
        "thinking",
        "store",
    }


# --- OpenAI's models


@pytest.mark.parametrize(
    "base_url", [OPENAI, "https://eu.api.openai.com/v1", "https://x.openai.azure.com/openai/v1"]
)
def test_openai_and_azure_get_the_new_name_of_max_tokens(base_url: str) -> None:
    assert sent(gpt(base_url=base_url), max_tokens=5) == {"max_completion_tokens": 5}
    assert sent(gpt(), max_tokens=5) == {"max_tokens": 5}
    assert told(gpt(base_url=base_url), max_tokens=5) == ()


@pytest.mark.parametrize(
    "model", ["gpt-4.1", "gpt-4o-mini-2024-07-18", "gpt-3.5-turbo", "chatgpt-4o-latest", "openai/gpt-4.1"]
)
def test_models_that_do_not_reason_get_no_effort(model: str) -> None:
    assert sent(gpt(model), reasoning_effort="high", verbosity="low", temperature=0) == {"temperature": 0}
    assert told(gpt(model), reasoning_effort="high") == ("reasoning_effort: left out (GPT-4.1 and earlier)",)


@pytest.mark.parametrize(
    "model", ["gpt-5", "gpt-5.4", "gpt-6-luna", "o3", "o4-mini", "gpt-5-mini-2025-08-07"]
)
def test_reasoning_models_get_no_sampling_options(model: str) -> None:
    asked: Json = {"temperature": 0, "top_p": 0.9, "max_tokens": 5, "reasoning_effort": "high"}

    assert sent(gpt(model), **asked) == {"max_completion_tokens": 5, "reasoning_effort": "high"}
    assert len(told(gpt(model), **asked)) == 2
    assert told(gpt(model), temperature=1, top_p=1) == ()


@pytest.mark.parametrize(
    "model", ["gpt-5-chat-latest", "gpt-5.1-chat", "gpt-oss-120b", "gpt-unknown", "some-model"]
)
def test_models_of_no_known_family_get_what_was_asked(model: str) -> None:
    asked: Json = {"temperature": 0, "top_p": 0.9, "max_tokens": 5, "reasoning_effort": "high", "seed": 1}

    assert sent(gpt(model), **asked) == asked
    assert cannot(gpt(model), logit_bias={"1": 1}) is None


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({"frequency_penalty": 0}, {}),
        ({"presence_penalty": 0.0}, {}),
        ({"logprobs": False, "top_logprobs": 0}, {}),
        ({"logit_bias": {}}, {}),
    ],
    ids=str,
)
def test_values_that_ask_for_nothing_are_left_out_without_a_word(asked: Json, left: Json) -> None:
    arm = gpt("gpt-5", OPENAI)

    assert sent(arm, **asked) == left
    assert told(arm, **asked) == ()
    assert cannot(arm, **asked) is None
    left_as_it_is = {name: value for name, value in asked.items() if value != {}}
    assert sent(gpt("qwen3"), **asked) == left_as_it_is


@pytest.mark.parametrize(
    "asked",
    [{"frequency_penalty": 0.5}, {"logit_bias": {"1": 1}}, {"logprobs": True}, {"top_logprobs": 3}],
    ids=str,
)
def test_an_arm_that_cannot_do_what_is_asked_is_not_chosen(asked: Json) -> None:
    [name] = asked

    assert cannot(gpt("o3", OPENAI), **asked) == f"does not accept {name}"
    assert cannot(gpt("gpt-4.1", OPENAI), **asked) is None
    assert cannot(gpt("o3"), **asked) is None, "a server that is not known may be able to"


def test_gpt_5_4_uses_tools_without_an_effort() -> None:
    assert "reasoning_effort" not in sent(gpt("gpt-5.4"), tools=[TOOL], reasoning_effort="high")
    assert "reasoning_effort" in sent(gpt("gpt-5.4"), tools=[], reasoning_effort="high")
    assert "reasoning_effort" in sent(gpt("gpt-5.2"), tools=[TOOL], reasoning_effort="high")


# --- other vendors


def test_models_of_other_makers_get_system_messages_of_the_role_system_at_the_start_as_one() -> None:
    turns = [
        {"role": "developer", "content": [{"type": "text", "text": "a"}]},
        {"role": "system", "content": "b"},
        HI,
    ]
    later = {"role": "system", "content": "c"}
    first = {"role": "system", "content": "a\n\nb"}

    def got(model: str) -> list[Json]:
        messages: list[Json] = fitted(gpt(model), {"messages": [*turns, later]}, None).body["messages"]
        return messages

    assert got("llama-4") == [first, HI, later]
    assert got("qwen3-32b") == [first, HI, {"role": "user", "content": "c"}]
    assert got("gpt-4.1") == [*turns, later]


def test_mistral_gets_tool_ids_of_nine_letters_that_still_belong_together() -> None:
    calls: list[Json] = [{"id": i, "type": "function", "function": {}} for i in ("toolu_01A", "a1B2c3D4e")]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "3"} for call in calls]
    messages = [*BODY["messages"], {"role": "assistant", "tool_calls": calls}, *results]
    arm = Arm("a", "openai", "mistral", base_url="https://api.mistral.ai/v1")

    sent = fitted(arm, {"messages": messages}, None).body["messages"]

    ids = [call["id"] for call in sent[1]["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in sent[2:]]
    assert [len(i) for i in ids] == [9, 9]
    assert ids[0].isalnum()
    assert ids[1] == "a1B2c3D4e"
    assert messages[1]["tool_calls"][0]["id"] == "toolu_01A"


# --- Claude, in Anthropic's own form

ADAPTIVE: Json = {"type": "adaptive"}
HIGH: Json = {"effort": "high"}
CLEAR: Json = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
BUDGETED = ["claude-3-7-sonnet-latest", "claude-sonnet-4-20250514", "claude-opus-4-1", "claude-haiku-4-5"]
ADAPTIVE_ONLY = [
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-haiku-5-5",
    "claude-fable-5",
    "claude-opus-4-10",
]


@pytest.mark.parametrize(
    "model", [*BUDGETED, "claude-opus-4-5", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"]
)
@pytest.mark.parametrize(
    ("max_tokens", "effort", "budget"),
    [(64_000, None, 24_576), (64_000, "low", 4_096), (64_000, "max", 48_000), (8_000, "high", 6_000)],
)
def test_adaptive_thinking_becomes_a_budget_for_older_models(
    model: str, max_tokens: int, effort: str | None, budget: int
) -> None:
    got = native(claude(model), thinking=ADAPTIVE, output_config={"effort": effort}, max_tokens=max_tokens)

    assert got["thinking"] == {"type": "enabled", "budget_tokens": budget}


@pytest.mark.parametrize("model", [*BUDGETED, "claude-sonnet-4-5-20250929", "claude-3-5-haiku-20241022"])
def test_older_models_get_no_effort_and_keep_the_format_of_the_output(model: str) -> None:
    form = {"type": "json_schema", "schema": {}}

    assert "output_config" not in native(claude(model), output_config=HIGH)
    assert native(claude(model), output_config={**HIGH, "format": form})["output_config"] == {"format": form}


@pytest.mark.parametrize(
    ("model", "efforts"),
    [
        ("claude-opus-4-5", {"low": "low", "high": "high", "xhigh": "high", "max": "high"}),
        ("claude-opus-4-6", {"low": "low", "high": "high", "xhigh": "high", "max": "max"}),
        ("claude-opus-4-8", {"low": "low", "high": "high", "xhigh": "xhigh", "max": "max"}),
    ],
)
def test_an_effort_that_a_generation_lacks_becomes_its_highest(model: str, efforts: dict[str, str]) -> None:
    for asked, wanted in efforts.items():
        assert native(claude(model), output_config={"effort": asked})["output_config"] == {"effort": wanted}


@pytest.mark.parametrize("model", ADAPTIVE_ONLY)
def test_a_budget_becomes_adaptive_thinking_for_newer_models(model: str) -> None:
    got = native(
        claude(model), thinking={"type": "enabled", "budget_tokens": 4_000}, temperature=0.5, top_k=5
    )

    assert got["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert got["output_config"] == {"effort": "low"}
    assert not got.keys() & {"temperature", "top_k"}
    assert native(claude(model), thinking=ADAPTIVE, output_config=HIGH)["thinking"] == ADAPTIVE


def test_an_effort_of_the_client_stays_when_its_budget_becomes_adaptive() -> None:
    thinking = {"type": "enabled", "budget_tokens": 30_000, "display": "omitted"}

    got = native(claude("claude-opus-4-8"), thinking=thinking, output_config={"effort": "low"})

    assert got["output_config"] == {"effort": "low"}
    assert got["thinking"]["display"] == "omitted"


@pytest.mark.parametrize("model", ["claude-3-5-sonnet-latest", "claude-3-haiku-20240307", "claude-2.1"])
@pytest.mark.parametrize("thinking", [ADAPTIVE, {"type": "enabled", "budget_tokens": 2_000}], ids=str)
def test_models_that_cannot_think_get_no_thinking(model: str, thinking: Json) -> None:
    got = native(claude(model), thinking=thinking, context_management=CLEAR)

    assert not got.keys() & {"thinking", "context_management"}


@pytest.mark.parametrize("model", ["claude-opus-4-6", "claude-sonnet-4-6"])
@pytest.mark.parametrize("thinking", [ADAPTIVE, {"type": "enabled", "budget_tokens": 2_000}], ids=str)
def test_models_that_know_both_kinds_of_thinking_get_what_was_asked(model: str, thinking: Json) -> None:
    assert native(claude(model), thinking=thinking)["thinking"] == thinking


@pytest.mark.parametrize("model", [*BUDGETED, "claude-opus-4-6"])
def test_a_budget_leaves_room_for_the_answer(model: str) -> None:
    thinking = {"type": "enabled", "budget_tokens": 31_999}

    assert native(claude(model), thinking=thinking)["thinking"] == thinking
    small = replace(claude(model), max_output_tokens=8_000)
    assert native(small, thinking=thinking)["thinking"]["budget_tokens"] == 6_000
    assert "thinking" not in native(claude(model), thinking=thinking, max_tokens=1_300)


@pytest.mark.parametrize("model", [*BUDGETED, "claude-opus-4-6"])
def test_thinking_within_a_budget_goes_without_sampling_and_forced_tools(model: str) -> None:
    thinking = {"type": "enabled", "budget_tokens": 2_000}

    got = native(claude(model), thinking=thinking, temperature=0.2, top_p=0.9, top_k=5)
    assert not got.keys() & {"temperature", "top_p", "top_k"}
    for kind in ("any", "tool"):
        forced = native(claude(model), thinking=thinking, tool_choice={"type": kind}, temperature=0.2)
        assert "thinking" not in forced
        assert forced["temperature"] == 0.2
    assert "thinking" in native(claude(model), thinking=thinking, tool_choice={"type": "auto"})


def test_claude_gets_a_temperature_or_top_p_and_not_both() -> None:
    arm = claude("claude-sonnet-4-5")

    assert native(arm, temperature=0.2, top_p=0.9).keys() == {"max_tokens", "messages", "temperature"}
    assert native(arm, temperature=1, top_p=0.9).keys() == {"max_tokens", "messages", "top_p"}
    assert native(arm, top_p=0.9).keys() == {"max_tokens", "messages", "top_p"}


def test_disabled_thinking_goes_up_and_is_not_noted() -> None:
    body: Json = {"max_tokens": 9, "messages": [HI], "thinking": {"type": "disabled"}, "temperature": 1}

    for model in ("claude-haiku-4-5", "claude-3-5-haiku-latest"):
        assert fitted(claude(model), {"messages": [HI]}, Native(body, {})).notes == ()


def said(role: str, *texts: str) -> Json:
    return {"role": role, "content": [{"type": "text", "text": t} for t in texts]}


USE: Json = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "read", "input": {}}]}
RESULT: Json = {"type": "tool_result", "tool_use_id": "t", "content": "1"}


@pytest.mark.parametrize(
    ("turns", "fitting"),
    [
        ([said("user", "a"), said("system", "s")], [said("user", "a", "s")]),
        (
            [said("user", "a"), said("assistant", "b"), said("system", "s"), said("user", "c")],
            [said("user", "a"), said("assistant", "b"), said("user", "s", "c")],
        ),
        (
            [
                HI,
                USE,
                said("system", "s"),
                {"role": "user", "content": [RESULT, {"type": "text", "text": "c"}]},
            ],
            [
                HI,
                USE,
                {
                    "role": "user",
                    "content": [RESULT, {"type": "text", "text": "s"}, {"type": "text", "text": "c"}],
                },
            ],
        ),
        (
            [HI, USE, {"role": "user", "content": [RESULT]}, {"role": "system", "content": "s"}],
            [HI, USE, {"role": "user", "content": [RESULT, {"type": "text", "text": "s"}]}],
        ),
        (
            [said("user", "a"), said("assistant", "b"), said("system", "s")],
            [said("user", "a"), said("assistant", "b"), said("user", "s")],
        ),
        (
            [said("assistant", "b"), said("system", "s"), said("system", "t"), said("assistant", "c")],
            [said("assistant", "b"), said("user", "s", "t"), said("assistant", "c")],
        ),
    ],
)
def test_older_models_get_system_turns_as_the_users(turns: list[Json], fitting: list[Json]) -> None:
    assert native(claude(), *turns)["messages"] == fitting
    assert native(claude("claude-opus-4-8"), *turns)["messages"] == turns


def test_system_turns_before_the_first_of_the_user_are_part_of_the_system_prompt() -> None:
    got = native(claude(), said("system", "b"), {"role": "system", "content": "c"}, HI, system="a")

    assert [block["text"] for block in got["system"]] == ["a", "b", "c"]
    assert got["messages"] == [HI]


MARK: Json = {"cache_control": {"type": "ephemeral"}}


def test_claude_gets_at_most_four_cache_marks() -> None:
    turns = [{"role": "user", "content": [{"type": "text", "text": str(i), **MARK}]} for i in range(5)]
    system = [{"type": "text", "text": "a", **MARK}, {"type": "text", "text": "b", **MARK}]

    got = native(claude(), *turns, system=system)

    assert ["cache_control" in block for block in got["system"]] == [True, False]
    assert ["cache_control" in turn["content"][0] for turn in got["messages"]] == [
        False,
        False,
        True,
        True,
        True,
    ]
    four = native(claude(), *turns[:4])
    assert four["messages"] == turns[:4]
    assert sum("cache_control" in t["content"][0] for t in native(claude(), *turns, **MARK)["messages"]) == 3


def test_marks_in_results_of_tools_count_and_schemas_do_not() -> None:
    inner = [{"type": "text", "text": str(i), **MARK} for i in range(3)]
    tool = {"name": "t", "input_schema": {"properties": {"cache_control": {"type": "string"}}}, **MARK}
    turns = [HI, USE, {"role": "user", "content": [{**RESULT, "content": inner, **MARK}]}]

    got = native(claude(), *turns, tools=[tool])

    [returned] = got["messages"][-1]["content"]
    assert "cache_control" in got["tools"][0]
    assert ["cache_control" in block for block in (returned, *returned["content"])] == [
        False,
        True,
        True,
        True,
    ]
    assert got["tools"][0]["input_schema"] == tool["input_schema"]
