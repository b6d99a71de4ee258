"""Sets up the logs, and counts the metrics that Prometheus reads."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any, Literal

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from structlog.typing import EventDict, Processor

from service.domain.answer import Attempt, Outcome
from service.domain.feedback import ImplicitSignal, Learned
from service.domain.limit import Limit, Passed
from service.domain.relayed_model import Relayed
from service.errors import StartupError
from service.log_file import LogFile, SharedLogFile

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIGNIFICANT_DIGITS = 3
MAX_TEXT = 80  # characters of a text in a log line
MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
_JSON = json.JSONEncoder(separators=(",", ":"), default=repr)


class WholeText(str):
    """A text that a log line has whole."""

    __slots__ = ()


Form = Literal["auto", "json", "text"]


def set_up_logs(level: str, form: Form, file: LogFile | None = None) -> None:
    """Write log events to standard error, and to a file if one is given, as JSON lines or as text.

    Raises:
        StartupError: the file cannot be written.
    """
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        processors=[
            shortened,
            _with_level_and_time,
            *_kept_by(file, as_text=form == "text"),
            *_rendered(as_text=as_text, colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _rendered(*, as_text: bool, colors: bool = False) -> list[Processor]:
    """What makes a line of an event."""
    if as_text:
        # The usual tracebacks show local variables: prompts and keys, after seconds of work.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return [structlog.processors.format_exc_info, _as_json]


def _kept_by(file: LogFile | None, *, as_text: bool) -> list[Processor]:
    """What writes each event to the file too, together with the warnings of libraries."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, SharedLogFile)]:
        root.removeHandler(handler)
        handler.close()
    if file is None:
        return []
    try:
        kept = SharedLogFile(file)
    except OSError as error:
        raise StartupError(f"LOG_FILE: cannot write {file.path}: {error.strerror}") from error
    kept.setFormatter(_FileLines(_rendered(as_text=as_text)))
    root.addHandler(kept)

    def keep(_: object, __: str, event: EventDict) -> EventDict:
        record = logging.LogRecord(__name__, logging.INFO, "", 0, event, None, None)
        kept.handle(record)
        return event

    return [keep]


class _FileLines(logging.Formatter):
    """Lines of the router's own events, and of what libraries log, in one form."""

    def __init__(self, processors: Sequence[Processor]) -> None:
        super().__init__()
        self._processors = processors

    def format(self, record: logging.LogRecord) -> str:
        line: Any = dict(record.msg) if isinstance(record.msg, dict) else _event_of(record)
        for processor in self._processors:
            line = processor(None, "", line)
        return str(line)


def _event_of(record: logging.LogRecord) -> EventDict:
    """What a library logs, as an event."""
    event: EventDict = {"event": record.getMessage(), "logger": record.name}
    if record.exc_info:
        event["exc_info"] = record.exc_info
    return _with_level_and_time(None, record.levelname.lower(), event)


def shortened(_: object, __: str, event: EventDict) -> EventDict:
    """Keep a line short: round numbers to three digits, cut long texts, leave out what says nothing."""
    return {name: _short(value) for name, value in event.items() if value or value == 0}


def _short(value: object) -> object:
    if isinstance(value, str):
        is_long = len(value) > MAX_TEXT and not isinstance(value, WholeText)
        return f"{value[: MAX_TEXT - 1]}…" if is_long else value
    if isinstance(value, float | Decimal):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return value


def _with_level_and_time(_: object, method: str, event: EventDict) -> EventDict:
    """Add the level, and the time in UTC, to the millisecond."""
    event["level"] = "error" if method == "exception" else method
    event["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _as_json(_: object, __: str, event: EventDict) -> str:
    return _JSON.encode(event)


class Metrics:
    """The metrics for Prometheus: one registry per application, or files that worker processes share."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counters(
            "router_requests", "Requests answered or abandoned", ["model", "decision", "status"]
        )
        self.attempts = self._counters("router_attempts", "Model calls", ["model", "status"])
        self.cost_usd = self._counters("router_cost_usd", "US dollars spent", ["model"])
        self.own_cost_usd = self._counters(
            "router_own_cost_usd", "US dollars that the router spent for itself", ["purpose"]
        )
        self.calls_of_unknown_cost = self._counters(
            "router_calls_of_unknown_cost", "Model calls whose cost nobody knows", ["model"]
        )
        self.tokens = self._counters("router_tokens", "Tokens used", ["model", "kind"])
        self.relayed_requests = self._counters(
            "router_relayed_requests",
            "Requests for embeddings and moderations",
            ["what", "model", "status"],
        )
        self.feedback = self._counters("router_feedback", "Feedback events", ["status"])
        self.signals = self._counters("router_signals", "Implicit signals learned from", ["signal"])
        self.signals_dropped = self._counter(
            "router_signals_dropped", "Implicit signals lost because PostgreSQL was unavailable"
        )
        self.contexts_dropped = self._counter(
            "router_contexts_dropped", "Requests that were never embedded, because too many waited"
        )
        self.callbacks = self._counters(
            "router_callbacks", "Calls of the operator's callbacks", ["callback", "result"]
        )
        self.degraded = self._counters(
            "router_degraded", "Decisions made without a dependency", ["dependency"]
        )
        self.overloaded = self._counter(
            "router_overload_refusals", "Requests refused because too many others waited"
        )
        self.limit_refusals = self._counters(
            "router_limit_refusals", "Calls that a limit left too little for", ["of", "measure", "period"]
        )
        self.limit_alerts = self._counters(
            "router_limit_alerts",
            "Shares of limits that were passed, each once in its period",
            ["of", "measure", "period", "percent"],
        )
        self.loop_lag_s = self._histogram("router_loop_lag_seconds", "How late the event loop is")
        self.longest_loop_lag_s = Gauge(
            "router_loop_lag_longest_seconds",
            "The longest of the last minute",
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.tasks = Gauge(
            "router_tasks",
            "Tasks of the event loop, when they were last asked for",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.overhead_s = self._histogram("router_overhead_seconds", "The router's own time per request")
        self.latency_s = self._histograms(
            "router_latency_seconds", "Time of the call that answered", ["model"]
        )
        self.ttft_s = self._histograms("router_ttft_seconds", "Time to the first content", ["model"])

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, registry=self.registry)

    def _counters(self, name: str, text: str, labels: list[str]) -> Callable[..., Counter]:
        """The counter of each set of labels, looked up once."""
        return cache(Counter(name, text, labels, registry=self.registry).labels)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, registry=self.registry, buckets=SECONDS)

    def _histograms(self, name: str, text: str, labels: list[str]) -> Callable[..., Histogram]:
        """The histogram of each set of labels, looked up once."""
        return cache(Histogram(name, text, labels, registry=self.registry, buckets=SECONDS).labels)

    def completed(self, outcome: Outcome, attempts: Sequence[Attempt], degraded: Sequence[str]) -> None:
        """Count one answered or abandoned request."""
        model = outcome.arm_id
        self.requests(model, outcome.kind, outcome.status).inc()
        for attempt in attempts:
            self.attempts(attempt.arm_id, attempt.status).inc()
            if attempt.cost_usd is None:
                self.calls_of_unknown_cost(attempt.arm_id).inc()
            else:
                self.cost_usd(attempt.arm_id).inc(float(attempt.cost_usd))
        self.tokens(model, "prompt").inc(outcome.usage.prompt_tokens)
        self.tokens(model, "completion").inc(outcome.usage.completion_tokens)
        for dependency in dict.fromkeys(degraded):
            self.degraded(dependency).inc()
        self.overhead_s.observe(outcome.overhead_s)
        if attempts:
            self.latency_s(model).observe(outcome.latency_s)
        if outcome.ttft_s is not None:
            self.ttft_s(model).observe(outcome.ttft_s)

    def relayed(self, what: str, relayed: Relayed) -> None:
        """Count one request for embeddings or moderations."""
        self.relayed_requests(what, relayed.model_id, relayed.status).inc()
        self.tokens(relayed.model_id, "prompt").inc(relayed.n_tokens)
        if relayed.cost_usd is not None:
            self.cost_usd(relayed.model_id).inc(float(relayed.cost_usd))
        elif relayed.status == "ok":
            self.calls_of_unknown_cost(relayed.model_id).inc()

    def called_back(self, callback: str, result: str) -> None:
        """Count one call of a callback, or one that was dropped; from any thread."""
        self.callbacks(callback, result).inc()

    def spent_by_router(self, purpose: str, usd: Decimal | None) -> None:
        """Count what no caller is charged for: models in shadow, and the tags of requests."""
        if usd:
            self.own_cost_usd(purpose).inc(float(usd))

    def limit_refused(self, limit: Limit) -> None:
        """Count a refusal; by the kind of the limit alone, because there may be any number of keys."""
        self.limit_refusals(limit.subject.kind, limit.measure, limit.period).inc()

    def limit_passed(self, passed: Passed) -> None:
        """Count that a share of a limit is used for the first time in its period."""
        limit = passed.limit
        self.limit_alerts(limit.subject.kind, limit.measure, limit.period, str(passed.percent)).inc()

    def learned(self, learned: Learned) -> None:
        self.feedback(learned.status).inc()

    def learned_signals(self, signals: Sequence[ImplicitSignal]) -> None:
        for implicit in signals:
            self.signals(implicit.signal).inc()

    def loop_lagged(self, lag_s: float, longest_s: float) -> None:
        """Record how late the event loop is, and was at worst of late."""
        self.loop_lag_s.observe(lag_s)
        self.longest_loop_lag_s.set(longest_s)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes; it covers all worker processes."""
        if MULTIPROCESS_DIR not in os.environ:
            return generate_latest(self.registry)
        all_workers = CollectorRegistry()
        MultiProcessCollector(all_workers)  # type: ignore[no-untyped-call]
        return generate_latest(all_workers)
