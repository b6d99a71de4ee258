"""The repairs of Messages requests: what servers of Anthropic's dialect refuse, and the form they accept.

Claude's own generations are in fitting.yaml. This is for models whose name says nothing, and for other
servers of the dialect.
"""

from __future__ import annotations

from functools import partial

from service.domain.basics import Json
from service.providers import thinking
from service.providers.message_blocks import with_four_cache_marks, with_one_sampler, without_system_turns
from service.providers.message_forms import without
from service.providers.repairs import Repair
from service.providers.thinking_repairs import NATIVE_THINKING_OFF

# Fields that clients add for Anthropic's own service: they concern its books, or save tokens.
_BOOKKEEPING = (
    "cache_control",
    "context_management",
    "diagnostics",
    "metadata",
    "safeguards",
    "service_tier",
)
_NO_ADAPTIVE = (
    r"adaptive.{0,60}(?:not|n't) (?:be )?(?:supported|available|allowed)|not support.{0,40}adaptive"
    r"|thinking.{0,80}tag 'adaptive'|thinking.{0,80}expected.{0,40}'enabled'"
)
_NO_BUDGET = (
    r"thinking\.type\.enabled.{0,40}not supported|not support.{0,40}(?:thinking\.type\.enabled|budget)"
)
_NO_SYSTEM_TURN = (
    r"unexpected role.{0,5}system|messages\.\d+\.role|role.{0,40}(?:must be|one of|expected).{0,40}user"
)


def _unforced(body: Json) -> Json:
    return thinking.without_thinking(body) if thinking.is_forced(body) else body


def _without_sampling(body: Json) -> Json:
    """A thinking request at the temperature that thinking needs."""
    if not thinking.is_on(body):
        return body
    for name in ("temperature", "top_p", "top_k"):
        body = without(name, body)
    return body


NATIVE_REPAIRS = (
    NATIVE_THINKING_OFF,
    Repair("adaptive thinking", _NO_ADAPTIVE, thinking.with_budget),
    Repair("thinking with a budget", _NO_BUDGET, thinking.adaptive),
    Repair("system turns", _NO_SYSTEM_TURN, without_system_turns),
    Repair("more than four cache marks", r"maximum of 4 blocks with cache_control", with_four_cache_marks),
    Repair(
        "a thinking budget above max_tokens",
        r"max_tokens.{0,40}greater than.{0,20}budget_tokens",
        thinking.with_fitting_budget,
        is_remembered=False,
    ),
    Repair("thinking beside a forced tool", r"thinking may not be enabled when tool_choice", _unforced),
    Repair(
        "sampling beside thinking",
        r"temperature.{0,40}set to 1 when thinking|top_[pk].{0,60}thinking",
        _without_sampling,
    ),
    Repair("temperature beside top_p", r"temperature.{0,20}top_p.{0,40}cannot both", with_one_sampler),
    *(
        Repair(name, rf"\b{name}\b.{{0,60}}extra inputs are not permitted", partial(without, name))
        for name in _BOOKKEEPING
    ),
)
