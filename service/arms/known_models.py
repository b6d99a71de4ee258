"""The table of well-known models that ships with the router."""

from __future__ import annotations

from importlib.resources import files

import yaml

from service.domain.basics import Json


def known_models() -> list[Json]:
    """Well-known models of `known_models.yaml`, in the shape of the configuration's `models`."""
    text = files("service.arms").joinpath("known_models.yaml").read_text(encoding="utf-8")
    models: list[Json] = yaml.safe_load(text)["models"]
    return models
