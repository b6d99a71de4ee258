"""Public priors: the quality of well-known models before any feedback on them here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from service.domain.model_names import canonical, undated

REFERENCE_RATING = 1100.0  # reward: the chance to beat an answer of a model with this rating
RATING_SCALE = 400.0  # points of lead that mean odds of ten to one


@dataclass(frozen=True, slots=True)
class PublicPrior:
    """An expected mean reward, and the date of its table."""

    quality: float
    source: str


def public_prior(model: str) -> PublicPrior | None:
    """The prior of an upstream's model; None when it is not in the table.

    The name may begin with a vendor and end with a date. A dated name in the table is that version; any
    other dated name gets the prior of the undated one. Any other difference means another model.
    """
    table = _table()
    name = canonical(model)
    rating = table.ratings.get(name, table.ratings.get(undated(name)))
    return None if rating is None else PublicPrior(quality_of(rating), table.date)


def quality_of(rating: float) -> float:
    """The mean reward of a rating: the chance to beat a model of the reference rating.

    q = 1 / (1 + 10^((reference - rating) / scale)), by Bradley & Terry (1952), as Elo scales it.
    """
    odds: float = 10.0 ** ((rating - REFERENCE_RATING) / RATING_SCALE)
    return odds / (1.0 + odds)


@dataclass(frozen=True, slots=True)
class _Table:
    date: str
    ratings: Mapping[str, float]  # by canonical name


@cache
def _table() -> _Table:
    text = files("service.arms").joinpath("public_priors.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    named = {**content["ratings"], **{name: content["ratings"][of] for name, of in content["names"].items()}}
    ratings = {canonical(name): float(rating) for name, rating in named.items()}
    return _Table(date=content["date"].isoformat(), ratings=ratings)
