"""The most dollars that a calibration may cost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(slots=True)
class SpendingCap:
    """Dollars spent, and those reserved for calls under way; their sum never exceeds the cap.

    Only a provider that bills more than the worst price of a call can carry the spent dollars above it.

    Args:
        max_usd: None: no limit.
        spent_usd: by calls that have ended.
    """

    max_usd: Decimal | None
    spent_usd: Decimal = Decimal(0)
    _reserved_usd: Decimal = field(default=Decimal(0), init=False)
    _settled: asyncio.Condition = field(default_factory=asyncio.Condition, init=False)

    async def reserve(self, usd: Decimal) -> bool:
        """Reserve the worst price of a call before it starts; False: the cap leaves too little.

        Waits while calls under way may still cost less than was reserved for them.
        """
        async with self._settled:
            await self._settled.wait_for(lambda: self._fits(usd) or not self._may_fit(usd))
            if not self._fits(usd):
                return False
            self._reserved_usd += usd
            return True

    async def settle(self, reserved_usd: Decimal, spent_usd: Decimal) -> None:
        """Replace the dollars reserved for a call by those that it cost."""
        async with self._settled:
            self._reserved_usd -= reserved_usd
            self.spent_usd += spent_usd
            self._settled.notify_all()

    def _fits(self, usd: Decimal) -> bool:
        return self.max_usd is None or self.spent_usd + self._reserved_usd + usd <= self.max_usd

    def _may_fit(self, usd: Decimal) -> bool:
        """Whether it would fit if the calls under way cost nothing."""
        return self.max_usd is None or self.spent_usd + usd <= self.max_usd
