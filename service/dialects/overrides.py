"""Reads the headers by which one request overrides the operator's choice of models."""

from __future__ import annotations

import re
from collections.abc import Mapping

from service.domain.overrides import NO_OVERRIDES, Overrides, read_model_map
from service.errors import BadRequest

BACKEND = "X-Backend"
FORCE_MODEL = "X-Router-Force-Model"
MODEL_MAP = "X-Router-Model-Map"
FORCE_EXPERT_ROUTING = "X-Router-Force-Expert-Routing"
OVERRIDE_HEADERS = (BACKEND, FORCE_MODEL, MODEL_MAP, FORCE_EXPERT_ROUTING)
_IN_SMALL_LETTERS = frozenset(map(str.lower, OVERRIDE_HEADERS))
NAME = re.compile(r"[!-~]{1,128}")
MAX_ENTRIES = 100
SWITCHES = {"true": True, "1": True, "false": False, "0": False}


def read_overrides(headers: Mapping[str, str]) -> Overrides:
    """What the headers of a request override. Raises BadRequest, which names the header."""
    if _IN_SMALL_LETTERS.isdisjoint(headers):
        return NO_OVERRIDES
    return Overrides(
        backend=_name(headers, BACKEND),
        model=_name(headers, FORCE_MODEL),
        model_map=_model_map(headers),
        expert_routing=_switch(headers, FORCE_EXPERT_ROUTING),
    )


def _name(headers: Mapping[str, str], header: str) -> str | None:
    if (sent := headers.get(header.lower())) is None:
        return None
    name = sent.strip()
    if not NAME.fullmatch(name):
        raise BadRequest(f"{header}: must be 1 to 128 visible ASCII characters", param=header)
    return name


def _model_map(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    sent = headers.get(MODEL_MAP.lower(), "")
    try:
        pairs = read_model_map(sent)
    except ValueError as error:
        raise BadRequest(f"{MODEL_MAP}: {error}", param=MODEL_MAP) from error
    if len(pairs) > MAX_ENTRIES:
        raise BadRequest(f"{MODEL_MAP}: must have at most {MAX_ENTRIES} entries", param=MODEL_MAP)
    return pairs


def _switch(headers: Mapping[str, str], header: str) -> bool | None:
    if (sent := headers.get(header.lower())) is None:
        return None
    if (switch := SWITCHES.get(sent.strip().lower())) is None:
        raise BadRequest(f"{header}: must be true or false, got {sent[:40]!r}", param=header)
    return switch
