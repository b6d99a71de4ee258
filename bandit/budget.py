"""The pacer: keeps mean spend at a budget by a price on dollars, and bounds overspend by a purse."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bandit.arrays import Bools, Floats

WINDOW = 100  # requests that the price is solved on
SOLVE_EVERY = 5  # requests
PURSE_LIMIT = 16.0  # request-budgets
PURSE_START = 8.0  # request-budgets
PURSE_PULL = 0.2  # how far a full or an empty purse moves the target
HIGHEST_PRICE = 1000.0  # utility per request-budget; a higher price would change no choice
HALVINGS = 40


@dataclass(frozen=True, slots=True, eq=False)
class WeighedRequest:
    """One request in the window: utilities, and dollars in request-budgets, of its eligible arms."""

    utilities: Floats
    dollars: Floats
    arms: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Pacer:
    """Keeps the mean cost of one stream of requests, such as a replica's share, at `budget_usd`.

    There are two mechanisms. The price is the one at which the last requests, replayed, would have cost the
    budget. The purse gains one request-budget per request and pays the request's dollars; an arm that costs
    more than the purse and more than the budget is barred. Any n requests therefore overspend by at most
    16 / n of the budget, if each costs what was expected.

    Without a budget the price is 0 and no arm is barred.

    Args:
        budget_usd: dollars per request, above 0; None for no budget.
    """

    budget_usd: float | None
    price: float = 0.0
    purse: float = PURSE_START
    window: deque[WeighedRequest] = field(default_factory=lambda: deque(maxlen=WINDOW))
    n_since_solved: int = 0

    def barred(self, expected_usd: Floats) -> Bools:
        """Return which arms the purse cannot pay for now, shape (n_arms,); the cheapest is never barred."""
        if self.budget_usd is None:
            return np.zeros(expected_usd.size, dtype=np.bool_)
        dollars = expected_usd / self.budget_usd
        cheapest = float(dollars.min())
        return dollars > max(self.purse, 1.0, cheapest)

    def record(self, utilities: Floats, expected_usd: Floats, chosen: int, arms: Sequence[str] = ()) -> None:
        """Add one decision to the window and reserve its expected dollars.

        Reserving at once keeps the purse correct while many calls are in flight.

        Args:
            utilities: shape (n_arms,), drawn once per arm, without the price.
            expected_usd: shape (n_arms,).
            chosen: index of the arm that will be called.
            arms: the arms' names, for `reprice`.
        """
        if self.budget_usd is None:
            return
        dollars = expected_usd / self.budget_usd
        self.purse = min(PURSE_LIMIT, self.purse + 1.0 - float(dollars[chosen]))
        self.window.append(WeighedRequest(utilities, dollars, tuple(arms)))
        self.n_since_solved += 1
        if self.n_since_solved >= SOLVE_EVERY:
            self._solve()

    def reprice(self, arm: str, factor: float) -> None:
        """Apply an announced change of an arm's price, by this factor, to the window at once."""
        for i, request in enumerate(self.window):
            changed = np.array([name == arm for name in request.arms], dtype=np.bool_)
            if changed.any():
                self.window[i] = replace(request, dollars=np.where(changed, factor, 1.0) * request.dollars)
        if self.window:
            self._solve()

    def _solve(self) -> None:
        self.n_since_solved = 0
        target = 1.0 + PURSE_PULL * (self.purse - PURSE_START) / PURSE_START
        self.price = solve_price(*_stack(self.window), target)

    def settle(self, expected_usd: float, cost_usd: float) -> None:
        """Replace a reservation by the request's actual cost, 0 if nothing was billed."""
        if self.budget_usd is not None:
            self.purse = min(PURSE_LIMIT, self.purse + (expected_usd - cost_usd) / self.budget_usd)


def solve_price(utilities: Floats, dollars: Floats, target: float) -> float:
    """Find the lowest price at which these requests would have cost `target` on average, by bisection.

    Each request goes to the arm of largest utilities - price * dollars, so dollars fall as the price rises.

    Args:
        utilities: shape (n_requests, n_arms), minus infinity for an arm that was not eligible.
        dollars: shape (n_requests, n_arms), in the unit of target.

    Returns:
        At least 0; HIGHEST_PRICE if even the cheapest arms cost more than the target.
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


def _stack(window: deque[WeighedRequest]) -> tuple[Floats, Floats]:
    """Pad the requests to the largest number of eligible arms, and stack them."""
    shape = len(window), max(request.utilities.size for request in window)
    utilities, dollars = np.full(shape, -np.inf), np.zeros(shape)
    for row, request in enumerate(window):
        utilities[row, : request.utilities.size] = request.utilities
        dollars[row, : request.dollars.size] = request.dollars
    return utilities, dollars
