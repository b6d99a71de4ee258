"""`router calibrate`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.options import AsJson, Tenant, parse_time, read_settings
from service.commands.output import dollars, number, print_report, progress_bar, rows_added, table
from service.errors import StartupError

if TYPE_CHECKING:
    from service.calibration.estimate import ArmEstimate
    from service.commands.jobs.calibrate import Calibrated
    from service.commands.jobs.log_prompts import LogSample

ALL = "all"
REPORT_FORMS = (".html", ".json")


def parse_dollars(text: str) -> Decimal:
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("nan")
    if not (amount.is_finite() and amount >= 0):
        raise typer.BadParameter(f"must be an amount of US dollars, at least 0, got {text!r}")
    return amount


def parse_models(text: str) -> tuple[str, ...]:
    """The names of models; none for all of them."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise typer.BadParameter(
            f"--models must be all, or names of models separated by commas, got {text!r}"
        )
    return () if names == (ALL,) else names


def calibrate(
    grader: Annotated[
        str,
        typer.Option(
            metavar="GRADER",
            help="How answers are scored: exact, contains, regex, numeric, json, unit-tests, judge:MODEL or "
            "python:module:function.",
        ),
    ],
    file: Annotated[
        Path | None, typer.Argument(metavar="PROMPTS.jsonl", help="JSON Lines file of prompts.")
    ] = None,
    from_log: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Instead of a file: requests of the log since an ISO 8601 time, or an age such as 7d.",
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, max=1000, help="Requests of the log that stand for all of them.")
    ] = 100,
    max_usd: Annotated[
        Decimal | None,
        typer.Option(
            parser=parse_dollars,
            metavar="USD",
            help="Most dollars that the calibration may cost; required unless --dry-run.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check everything, and estimate the dollars.")
    ] = False,
    models: Annotated[
        str, typer.Option(metavar="NAMES", help="Models to ask, separated by commas, or all.")
    ] = ALL,
    rubric: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What a judge is told of good answers (default: a rubric for any)."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Have a judge compare answers with this model's, in both orders, in place of scoring each.",
        ),
    ] = None,
    judge_own_family: Annotated[
        bool, typer.Option("--judge-own-family", help="Let a judge judge models of its own family.")
    ] = False,
    tenant: Tenant = None,
    is_imported: Annotated[
        bool, typer.Option("--import/--no-import", help="Learn from the scores, as `router import` does.")
    ] = True,
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where answers are kept (default: beside the prompts, with .journal added; of the log: "
            "DATA_DIR/calibrations/from-log.journal).",
        ),
    ] = None,
    max_answer_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            help="Limit of answers to prompts that set none (default: LLM_MAX_TOKENS, or else 8192).",
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=1000, help="Calls at the same time to one provider.")
    ] = 4,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            parser=parse_report,
            metavar="FILE",
            help="Where the report is written, as a page if the name ends in .html and as JSON if it ends in "
            ".json; repeatable.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have every model answer the same prompts, compare the models, and learn from the scores.

    A line of the file has `prompt` or `messages`, and may have `expected`, `task`, `tests` and fields of a
    request such as `tools`. The whole file is checked before anything is spent.
    Of the log, which has whole requests with STORE_TEXTS, one request stands for each kind of request.
    The same command continues an interrupted run: no answer in the journal is paid for again.
    The exit code is 1 if no answer has a score.
    """
    from service.calibration.grading.named import JudgeOptions
    from service.commands.jobs.calibrate import CalibrationOptions, estimate_calibration, run_calibration
    from service.domain.basics import DEFAULT_TENANT

    if max_usd is None and not dry_run:
        raise typer.BadParameter("--max-usd is required: it bounds what the calibration may cost")
    options = CalibrationOptions(
        prompts=_source(file, from_log, sample),
        models=parse_models(models),
        grader=grader,
        judge=JudgeOptions(_read(rubric), baseline, judge_own_family),
        max_usd=None if dry_run else max_usd,
        tenant=tenant or DEFAULT_TENANT,
        is_imported=is_imported and not dry_run,
        journal=journal,
        max_answer_tokens=max_answer_tokens,
        concurrency=concurrency,
    )
    settings, environ = read_settings()
    if dry_run:
        estimates = asyncio.run(estimate_calibration(settings, environ, options))
        print_report([estimate.as_json() for estimate in estimates], _estimated(estimates), as_json=as_json)
        return
    try:
        with progress_bar() as show:
            calibrated = asyncio.run(
                run_calibration(
                    settings,
                    environ,
                    options,
                    lambda p: show(p.n_done, p.n_total, f"{dollars(float(p.spent_usd))} of ${max_usd}"),
                )
            )
    except KeyboardInterrupt:
        typer.echo("router: interrupted; the same command goes on and pays for no answer twice", err=True)
        raise
    written = _write_reports(calibrated, report or ())
    print_report(_json(calibrated), _text(calibrated, written), as_json=as_json)
    if all(answer.score is None for answer in calibrated.answers):
        raise typer.Exit(1)


def _source(file: Path | None, from_log: str | None, sample: int) -> Path | LogSample:
    from service.commands.jobs.log_prompts import LogSample

    if file is not None and from_log is None:
        return file
    if file is None and from_log is not None:
        try:
            return LogSample(from_log, parse_time(from_log), sample)
        except typer.BadParameter as error:
            raise typer.BadParameter(error.message, param_hint="'--from-log'") from error
    raise typer.BadParameter("either PROMPTS.jsonl or --from-log is required, and not both")


def _read(rubric: Path | None) -> str | None:
    """The text of a rubric."""
    if rubric is None:
        return None
    try:
        text = rubric.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot be read: {error}", param_hint="'--rubric'") from error
    if not text.strip():
        raise typer.BadParameter(f"{rubric} must have text", param_hint="'--rubric'")
    return text


def _estimated(estimates: Sequence[ArmEstimate]) -> str:
    headings = "model", "calls", "in the journal", "not asked", "$ expected", "$ at most"
    rows = [
        [
            e.arm_id,
            str(e.n_calls),
            str(e.n_known),
            str(e.n_unable),
            *(number(float(usd)) for usd in (e.expected_usd, e.worst_usd)),
        ]
        for e in estimates
    ]
    expected_usd = float(sum(e.expected_usd for e in estimates))
    worst_usd = float(sum(e.worst_usd for e in estimates))
    total = (
        f"expected to cost {dollars(expected_usd)}; answers as long as they may be cost {dollars(worst_usd)}"
    )
    return f"{table(headings, rows)}\n{total}"


def parse_report(text: str) -> Path:
    """A file for the report; that it can be written is known before anything is spent."""
    path = Path(text)
    if path.suffix not in REPORT_FORMS:
        raise typer.BadParameter(f"must end in {' or '.join(REPORT_FORMS)}, got {text!r}")
    if path.is_dir() or not path.parent.is_dir():
        raise typer.BadParameter(f"must be a file in a folder that exists, got {text!r}")
    return path


def _write_reports(calibrated: Calibrated, files: Sequence[Path]) -> list[str]:
    """Write each file in the form of its name, and name the files that are written."""
    from service.calibration.report.json_form import as_json
    from service.calibration.report.page import as_html

    if calibrated.report is None:
        return []
    for file in files:
        form = as_html if file.suffix == ".html" else as_json
        try:
            file.write_text(form(calibrated.report), "utf-8")
        except OSError as error:
            raise StartupError(f"{file}: cannot be written: {error.strerror or error}") from error
    return [f"the report is in {file}" for file in files]


def _text(calibrated: Calibrated, written: Sequence[str]) -> str:
    from service.calibration.report.text import as_text

    report = "no model answered" if calibrated.report is None else as_text(calibrated.report)
    lines = [f"spent {dollars(float(calibrated.spent_usd))}", *rows_added(calibrated.n_added), *written]
    if calibrated.is_capped:
        lines.append("the dollars were not enough: the same command with a higher --max-usd asks the rest")
    return "\n".join([report, "", *lines])


def _json(calibrated: Calibrated) -> dict[str, object]:
    from service.calibration.report.json_form import to_json

    answers = [
        {
            "prompt": answer.prompt.key,
            "model": answer.arm_id,
            "score": answer.score,
            "cost_usd": None if answer.cost_usd is None else float(answer.cost_usd),
            "latency_s": answer.latency_s,
            "problem": answer.problem,
        }
        for answer in calibrated.answers
    ]
    return {
        "spent_usd": float(calibrated.spent_usd),
        "is_capped": calibrated.is_capped,
        "n_added": dict(calibrated.n_added),
        "answers": answers,
        "report": None if calibrated.report is None else to_json(calibrated.report),
    }
