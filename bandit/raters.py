"""Who rated an arm lately, so that no single rater alone can say that it has changed."""

from dataclasses import dataclass

MOST_RATERS = 16  # that an arm's history and each side of its CUSUM name
AWAY_S = 3 * 86_400.0  # longer than a weekend, after which a rater who is silent no longer counts

Shares = tuple[tuple[str, float], ...]  # rater and number, in the order of the numbers, the largest first


@dataclass(frozen=True, slots=True)
class Raters:
    """The raters of one arm, each with the time of the latest decision that it was first to rate.

    Args:
        latest: at most MOST_RATERS, seconds since the moment from which `Rating.decided_at` counts.
    """

    latest: Shares = ()

    def after(self, rater: str, decided_at: float) -> "Raters":
        """The raters after one more rating."""
        latest = dict(self.latest)
        latest[rater] = max(decided_at, latest.get(rater, decided_at))
        return Raters(largest(latest))

    @property
    def are_several(self) -> bool:
        """Whether a second one rated a decision less than AWAY_S before the newest rated one."""
        return len(self.latest) > 1 and self.latest[1][1] > self.latest[0][1] - AWAY_S


NO_RATERS = Raters()


def largest(numbers: dict[str, float]) -> Shares:
    """The MOST_RATERS largest numbers with their raters; equal ones in the order of the raters."""
    return tuple(sorted(numbers.items(), key=lambda item: (-item[1], item[0]))[:MOST_RATERS])
