"""The changes and conditions that the rules of fitting.yaml name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from service.domain.basics import Json
from service.providers import thinking
from service.providers.message_blocks import with_four_cache_marks, with_one_sampler, without_system_turns
from service.providers.message_forms import (
    Change,
    as_system,
    changing,
    each_message,
    system_first,
    with_effort,
    with_json_in_words,
    with_one_string,
    with_one_system,
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

# What a rule may call a condition, beside the name of a field.
CONDITIONS: Mapping[str, Callable[[Json], bool]] = {
    "budget": lambda body: thinking.kind(body) == "enabled",
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
SILENT = frozenset(
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
