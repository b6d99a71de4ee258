"""The artifact of an optimisation: one JSON file with the prompt, its scores and where it comes from."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson

from optimizer.run import Optimised
from optimizer.search import Search
from service.domain.basics import Json
from service.errors import StartupError

KIND, VERSION = "router optimize", 1


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a prompt comes from, beside what the optimisation itself knows.

    Args:
        start: name of the prompt in use; None: requests went as they are.
    """

    task: str
    tenant: str
    since: datetime
    until: datetime
    grader: str
    model: str
    proposer: str
    start: str | None


def artifact_of(optimised: Optimised, provenance: Provenance, search: Search, created_at: datetime) -> Json:
    prompt, parts = optimised.prompt, optimised.split
    return {
        "artifact": KIND,
        "version": VERSION,
        "better": optimised.is_better,
        "prompt": {
            "instructions": prompt.instructions,
            "demos": [{"request": demo.request, "answer": demo.answer} for demo in prompt.demos],
            "task": prompt.task,
        },
        "scores": _scores(optimised),
        "provenance": {
            "task": provenance.task,
            "tenant": provenance.tenant,
            "since": provenance.since.isoformat(),
            "until": provenance.until.isoformat(),
            "created_at": created_at.isoformat(),
            "rows": {
                "train": len(parts.train),
                "validation": len(parts.validation),
                "held_out": len(parts.held_out),
            },
            "seed": search.seed,
            "optimizer": search.optimizer,
            "grader": provenance.grader,
            "models": {"answers": provenance.model, "proposes": provenance.proposer},
            "prompt_in_use": provenance.start,
            "cost_usd": float(optimised.spent_usd),
            "calls": optimised.n_calls,
            "is_capped": optimised.is_capped,
            "versions": {
                "llm-router": importlib.metadata.version("llm-router"),
                "dspy": importlib.metadata.version("dspy"),
                "python": platform.python_version(),
            },
        },
    }


def _scores(optimised: Optimised) -> Json | None:
    if (comparison := optimised.comparison) is None:
        return None
    difference = comparison.difference
    return {
        "rows": comparison.n,
        "before": comparison.before,
        "after": comparison.after,
        "difference": {"value": difference.value, "low": difference.low, "high": difference.high},
    }


def write(artifact: Json, path: Path) -> None:
    """Write the file whole or not at all. Raises StartupError."""
    unfinished = path.with_name(f"{path.name}.new")
    try:
        unfinished.write_bytes(orjson.dumps(artifact, option=orjson.OPT_INDENT_2) + b"\n")
        unfinished.replace(path)
    except OSError as error:
        raise StartupError(f"{path}: cannot be written: {error.strerror or error}") from error
