"""What is wrong with an answer that is worth another model's call."""

from __future__ import annotations

from typing import Literal, TypeGuard, get_args

from service.domain.feedback import Signal

# An unsure answer may be the honest one, so it is no evidence against its model as a signal is.
Doubt = Literal["unsure", "improbable"]
Weakness = Signal | Doubt


def is_signal(weakness: Weakness) -> TypeGuard[Signal]:
    """Whether the weakness is implicit feedback on its model too."""
    return weakness not in get_args(Doubt)
