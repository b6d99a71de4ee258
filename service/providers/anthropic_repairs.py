"""The repairs of Messages requests: what servers of Anthropic's dialect refuse, and the form they accept.

Claude's own generations are in fitting.yaml. This is for models whose name says nothing, and for other
servers of the dialect. What changes the meaning, as other thinking does, goes to another model.
"""

from __future__ import annotations

from functools import partial

from service.providers import thinking
from service.providers.answer_limits import limit_repair
from service.providers.message_blocks import with_four_cache_marks, without_system_turns
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
_NO_SYSTEM_TURN = (
    r"unexpected role.{0,5}system|messages\.\d+\.role|role.{0,40}(?:must be|one of|expected).{0,40}user"
)


NATIVE_REPAIRS = (
    NATIVE_THINKING_OFF,
    limit_repair(),
    Repair("system turns", _NO_SYSTEM_TURN, without_system_turns),
    Repair("more than four cache marks", r"maximum of 4 blocks with cache_control", with_four_cache_marks),
    Repair(
        "a thinking budget above max_tokens",
        r"max_tokens.{0,40}greater than.{0,20}budget_tokens",
        thinking.with_fitting_budget,
        is_remembered=False,
    ),
    *(
        Repair(name, rf"\b{name}\b.{{0,60}}extra inputs are not permitted", partial(without, name))
        for name in _BOOKKEEPING
    ),
)
