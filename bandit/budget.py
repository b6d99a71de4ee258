"""The pacer: holds mean spend to a budget by a price on dollars, and bounds overspend by a purse."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bandit.arrays import Bools, Floats

WINDOW = 100  # requests that the price is solved on
SOLVE_EVERY = 5
PURSE_LIMIT = 16.0  # request-budgets
PURSE_START = 8.0
PURSE_PULL = 0.2  # how far a full or an empty purse moves the target
HIGHEST_PRICE = 1000.0  # utility per request-budget; more would change no choice
HALVINGS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """One request as it was weighed: utilities, and dollars in request-budgets, of the eligible arms."""

    utilities: Floats
    dollars: Floats
    arms: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Pacer:
    """Keeps one stream of requests, such as a replica's share, to `budget_usd` each on average.

    Two mechanisms. The price is that at which the last requests, replayed, would have cost the budget. The
    purse gains one request-budget per request and pays its dollars; an arm that is dearer than the purse and
    than the budget is barred. Any n requests therefore overspend by at most 16 / n of the budget, as far as
    dollars are what was expected.

    Without a budget the price is 0 and no arm is barred.

    Args:
        budget_usd: dollars per request, above 0; None for no budget.
    """

    budget_usd: float | None
    price: float = 0.0
    purse: float = PURSE_START
    window: deque[Weighed] = field(default_factory=lambda: deque(maxlen=WINDOW))
    unsolved: int = 0

    def barred(self, expected_usd: Floats) -> Bools:
        """Say which arms the purse cannot pay for now, shape (n_arms,); never the cheapest."""
        if self.budget_usd is None:
            return np.zeros(expected_usd.size, dtype=np.bool_)
        dollars = expected_usd / self.budget_usd
        cheapest = float(dollars.min())
        return dollars > max(self.purse, 1.0, cheapest)

    def record(self, utilities: Floats, expected_usd: Floats, chosen: int, arms: Sequence[str] = ()) -> None:
        """Remember one decision and reserve its expected dollars.

        Reserving at once keeps the purse honest while many calls are in flight.

        Args:
            utilities: shape (n_arms,), drawn once per arm, without the price.
            expected_usd: shape (n_arms,).
            chosen: index of the arm that will be called.
            arms: their names, by which `reprice` knows them.
        """
        if self.budget_usd is None:
            return
        dollars = expected_usd / self.budget_usd
        self.purse = min(PURSE_LIMIT, self.purse + 1.0 - float(dollars[chosen]))
        self.window.append(Weighed(utilities, dollars, tuple(arms)))
        self.unsolved += 1
        if self.unsolved >= SOLVE_EVERY:
            self._solve()

    def reprice(self, arm: str, factor: float) -> None:
        """Take note at once that an arm's dollars were announced to change by this factor."""
        for i, weighed in enumerate(self.window):
            changed = np.array([name == arm for name in weighed.arms], dtype=np.bool_)
            if changed.any():
                self.window[i] = replace(weighed, dollars=np.where(changed, factor, 1.0) * weighed.dollars)
        if self.window:
            self._solve()

    def _solve(self) -> None:
        self.unsolved = 0
        target = 1.0 + PURSE_PULL * (self.purse - PURSE_START) / PURSE_START
        self.price = solve_price(*_stack(self.window), target)

    def settle(self, expected_usd: float, cost_usd: float) -> None:
        """Replace a reservation by what the request did cost, 0 when nothing was billed."""
        if self.budget_usd is not None:
            self.purse = min(PURSE_LIMIT, self.purse + (expected_usd - cost_usd) / self.budget_usd)


def solve_price(utilities: Floats, dollars: Floats, target: float) -> float:
    """Find the lowest price at which these requests would have cost `target` on average, by bisection.

    Each request takes the arm of largest utilities - price * dollars, so dollars fall as the price rises.

    Args:
        utilities: shape (n_requests, n_arms), minus infinity for an arm that was not eligible.
        dollars: shape (n_requests, n_arms), in the unit of target.

    Returns:
        At least 0; the highest price where even the cheapest arms cost more than the target.
    """

    def mean_dollars(price: float) -> float:
        chosen = np.argmax(utilities - price * dollars, axis=1)
        return float(dollars[np.arange(chosen.size), chosen].mean())

    if mean_dollars(0.0) <= target:
        return 0.0
    low, high = 0.0, HIGHEST_PRICE
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_dollars(middle) > target else (low, middle)
    return high


def _stack(window: deque[Weighed]) -> tuple[Floats, Floats]:
    """Line up requests whose eligible arms differ in number."""
    shape = len(window), max(weighed.utilities.size for weighed in window)
    utilities, dollars = np.full(shape, -np.inf), np.zeros(shape)
    for row, weighed in enumerate(window):
        utilities[row, : weighed.utilities.size] = weighed.utilities
        dollars[row, : weighed.dollars.size] = weighed.dollars
    return utilities, dollars
