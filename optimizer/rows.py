"""The rows that prompts are optimised on: distinct requests of the log, split in three."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.calibration.grading.grader import Grader
from service.calibration.prompts import CalibrationPrompt, prompt_key
from service.calibration.sampling import NOT_ABOUT_THE_ANSWER
from service.domain.basics import Json
from service.domain.logged_request import RatedRequest
from service.errors import BadRequest, StartupError

GOOD_REWARD = 0.7  # from which on an answer is one to learn from
LEAST_ROWS = 20  # with fewer, the held-out rows could hardly show a difference
TRAINED, VALIDATED = 0.3, 0.3  # shares; the rest is held out


@dataclass(frozen=True, slots=True)
class Row:
    """A request, and how its answers are graded.

    Args:
        history: messages before the request, the client's system text included.
        request: text of the newest message, the user's.
        prompt: for the grader; `expected` is the reference.
        reference: a highly rated answer; None: the log has none.
    """

    history: tuple[Json, ...]
    request: str
    prompt: CalibrationPrompt
    reference: str | None


@dataclass(frozen=True, slots=True)
class Split:
    """Rows that share no request."""

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    held_out: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """The usable rows, and how many requests were left out, by reason."""

    rows: tuple[Row, ...]
    left_out: Counter[str]

    def require_enough(self, task: str, n_logged: int) -> None:
        """Raises StartupError: there are too few rows."""
        if len(self.rows) >= LEAST_ROWS:
            return
        why = "".join(f"; {n} left out: {reason}" for reason, n in self.left_out.most_common())
        raise StartupError(
            f"task {task!r} has {len(self.rows)} distinct requests to optimise on, and {LEAST_ROWS} are "
            f"needed: the log has {n_logged} with stored texts{why}"
        )


def rows_of(requests: Sequence[RatedRequest], task: str, grader: Grader) -> Rows:
    """One row for each distinct request, with its best answer as the reference.

    Args:
        requests: the newest first.
    """
    left_out: Counter[str] = Counter()
    best: dict[str, RatedRequest] = {}
    bodies: dict[str, Json] = {}
    for request in requests:
        body = {name: value for name, value in request.body.items() if name not in NOT_ABOUT_THE_ANSWER}
        if (reason := _unusable(body)) is not None:
            left_out[reason] += 1
            continue
        key = prompt_key({"messages": body["messages"]})
        if key in best:
            left_out["repeats another"] += 1
        if key not in best or (request.reward or 0.0) > (best[key].reward or 0.0):
            best[key], bodies[key] = request, body
    rows = []
    for key, request in best.items():
        row = _row(key, bodies[key], request, task)
        if (reason := _ungradable(row, grader)) is None:
            rows.append(row)
        else:
            left_out[reason] += 1
    return Rows(tuple(rows), left_out)


def split(rows: Sequence[Row], rng: np.random.Generator) -> Split:
    """Split rows at random; the order in which they come does not matter."""
    ordered = sorted(rows, key=lambda row: row.prompt.key)
    shuffled = [ordered[i] for i in rng.permutation(len(ordered))]
    n_train, n_validation = round(TRAINED * len(rows)), round(VALIDATED * len(rows))
    return Split(
        tuple(shuffled[:n_train]),
        tuple(shuffled[n_train : n_train + n_validation]),
        tuple(shuffled[n_train + n_validation :]),
    )


def _unusable(body: Json) -> str | None:
    """Why a request is no row: a prompt is optimised for text alone."""
    messages = body["messages"]
    if body.get("tools") or body.get("functions"):
        return "has tools"
    if any(m.get("role") not in ("system", "user", "assistant") for m in messages):
        return "has other roles than system, user and assistant"
    if not all(isinstance(m.get("content"), str) and m["content"] for m in messages):
        return "has more than text"
    return None if messages[-1]["role"] == "user" else "does not end with the user's message"


def _row(key: str, body: Json, request: RatedRequest, task: str) -> Row:
    *history, newest = body["messages"]
    is_good = request.reward is not None and request.reward >= GOOD_REWARD
    reference = request.answer if is_good else None
    prompt = CalibrationPrompt(key=key, body=body, text=newest["content"], expected=reference, task=task)
    return Row(tuple(history), newest["content"], prompt, reference)


def _ungradable(row: Row, grader: Grader) -> str | None:
    try:
        reason = None if row.prompt.query.body else "has no body"  # the router would accept it now
    except BadRequest as error:
        reason = str(error)
    if reason is None and (reason := grader.reason_against(row.prompt)) is not None and row.reference is None:
        return f"has no answer rated {GOOD_REWARD:g} or better"
    return reason
