"""Prompts and answers in the debug log, for an operator who asks for them; secrets in them are masked."""

from __future__ import annotations

import re

import structlog

from service.completion.request_run import RequestRun
from service.domain.answer import Outcome
from service.telemetry import WholeText

log = structlog.get_logger(__name__)

MAX_CHARS = 2_000  # of a prompt, and of an answer
MASK = "[masked]"

_SECRETS = (
    re.compile(r"\b(?:sk|pk|rk|xox[abprs]|gh[pousr]|github_pat|glpat|hf)[-_][A-Za-z0-9_-]{12,}"),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\bAIza[0-9A-Za-z_-]{30,}"),
    re.compile(r"\beyJ[A-Za-z0-9_.-]{16,}"),  # a JSON Web Token
)
_BEARER = re.compile(r"(?i)\b(bearer )[A-Za-z0-9._~+/=-]{12,}")
_NAMED = re.compile(
    r"(?i)\b((?:password|passwd|secret|api[_-]?key|access[_-]?token)['\"]?\s{0,3}[:=]\s{0,3})"
    r"['\"]?[^\s'\",;]{4,}"
)


def log_texts(run: RequestRun, outcome: Outcome) -> None:
    """Log the question and the answer of a request on the level debug."""
    answer = "" if run.last is None or outcome.status != "ok" else run.last.text
    log.debug(
        "texts",
        request_id=run.query.request_id,
        model=outcome.arm_id,
        prompt=WholeText(shown(run.query.text)),
        answer=WholeText(shown(answer)),
    )


def shown(text: str) -> str:
    """The text without what looks like a secret, and cut to MAX_CHARS characters."""
    text = text[: 2 * MAX_CHARS]  # a secret that begins before the cut is masked as a whole
    for pattern in _SECRETS:
        text = pattern.sub(MASK, text)
    for named in (_BEARER, _NAMED):
        text = named.sub(rf"\1{MASK}", text)
    return text if len(text) <= MAX_CHARS else f"{text[: MAX_CHARS - 1]}…"
