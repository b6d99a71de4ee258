"""What is publicly known of a model's quality, before anybody rated an answer of it here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

REFERENCE_RATING = 1100.0  # a reward stands for beating an answer of a model rated so
RATING_SCALE = 400.0  # a lead of so many points means odds of ten to one

# Places where a model is served stand before its name, as do its makers: `us.anthropic.`, `openai/`.
_PLACES = re.compile(r"^(.*/)?([a-z]+\.)*(meta-(?=llama))?")
# What says how a model is served, not which it is. Any other tag may name another model, so it stays.
_SERVING = re.compile(r"(:free|:nitro|:floor|-v\d+:\d+)$")
_DATE = re.compile(r"-(20\d{6}|20\d\d-\d\d-\d\d|latest)$")
_POINT = re.compile(r"(?<=\d)\.(?=\d)")


@dataclass(frozen=True, slots=True)
class PublicPrior:
    """An expected mean reward, and the date of the table it is from."""

    quality: float
    source: str


def public_prior(model: str) -> PublicPrior | None:
    """The prior of an upstream's model; None when it is not in the table.

    Its name may carry a vendor before it and a date behind it. A dated name that the table has is that
    version; one that it has not is taken for the undated. Any other difference is another model.
    """
    table = _table()
    name = canonical(model)
    rating = table.ratings.get(name, table.ratings.get(_DATE.sub("", name)))
    return None if rating is None else PublicPrior(quality_of(rating), table.date)


def quality_of(rating: float) -> float:
    """A mean reward: the chance to beat a model of the reference rating.

    q = 1 / (1 + 10^((reference - rating) / scale)), by Bradley & Terry (1952), as Elo scales it.
    """
    odds: float = 10.0 ** ((rating - REFERENCE_RATING) / RATING_SCALE)
    return odds / (1.0 + odds)


def canonical(model: str) -> str:
    """A model's name without where and how it is served; `3.5` is written `3-5`."""
    return _POINT.sub("-", _SERVING.sub("", _PLACES.sub("", model.lower()))).replace("@", "-")


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
