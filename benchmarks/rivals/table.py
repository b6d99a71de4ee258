"""The available rivals: those of the extra `rivals` only if it is installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from benchmarks.rivals.baselines import BASELINES
from benchmarks.rivals.litellm import adaptive_router
from benchmarks.rivals.playing import Rival

EXTRA = {"paretobandit": "pareto_bandit", "vowpalwabbit": "vowpalwabbit"}  # package: module


def missing() -> list[str]:
    return [package for package in EXTRA if not is_installed(package)]


def is_installed(package: str) -> bool:
    return find_spec(EXTRA[package]) is not None


@cache
def rivals() -> dict[str, Rival]:
    found = {**BASELINES, "LiteLLM adaptive, registry": adaptive_router}
    if is_installed("vowpalwabbit"):
        from benchmarks.rivals.vowpal import vowpal_wabbit

        found["Vowpal Wabbit, none"] = vowpal_wabbit
    if is_installed("paretobandit"):
        from benchmarks.rivals import paretobandit

        found |= {"paretobandit, registry": paretobandit.warm, "paretobandit, none": paretobandit.cold}
    return found
