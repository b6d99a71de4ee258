"""`router`: each command parses its arguments and calls one function."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from service.domain.basics import DEFAULT_TENANT
from service.errors import RouterError, StartupError
from service.settings.load import config_path, load_settings, overlaid, process_environment
from service.settings.settings import Settings

if TYPE_CHECKING:
    from service.replay.report import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; what stops it is told in one line."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except RouterError as error:
        print(f"router: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="router", description="Routes LLM requests and learns from feedback."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the service")
    serve.add_argument("--workers", type=int, default=1, help="processes; more than one needs QDRANT_URL")
    serve.set_defaults(run=_serve)

    commands.add_parser("migrate", help="bring the database schema up to date").set_defaults(run=_migrate)

    rebuild = commands.add_parser("rebuild", help="recreate memory and evidence from PostgreSQL")
    rebuild.add_argument(
        "--check", action="store_true", help="only report differences; exit 1 if there are any"
    )
    rebuild.set_defaults(run=_rebuild)

    imports = commands.add_parser("import", help="warm the router from recorded outcomes")
    imports.add_argument("file", type=Path, help="JSON Lines, or Parquet")
    imports.add_argument("--tenant", type=_tenant, default=DEFAULT_TENANT, help="whose outcomes they are")
    imports.add_argument("--dry-run", action="store_true", help="only check and count the rows")
    imports.add_argument(
        "--map",
        dest="same_as",
        action="append",
        default=[],
        type=_pair,
        metavar="NAME=MODEL",
        help="take a model of the file for one of the router's; may be given several times",
    )
    imports.set_defaults(run=_import)

    evaluate = commands.add_parser("evaluate", help="say what other knobs would have brought, from the log")
    evaluate.add_argument("--config", type=Path, required=True, help="YAML file of the knobs to evaluate")
    evaluate.add_argument("--since", type=_moment, default="7d", help="ISO 8601, or so long ago: 7d, 12h")
    evaluate.add_argument("--until", type=_moment, default="0d", help="likewise; absent: now")
    evaluate.add_argument("--tenant", type=_tenant, default=DEFAULT_TENANT)
    evaluate.add_argument("--json", action="store_true", help="for machines")
    evaluate.set_defaults(run=_evaluate)

    replay = commands.add_parser("replay", help="drive a running router with recorded outcomes")
    replay.add_argument("file", type=Path, help="parquet file of prompts with every model's score and cost")
    replay.add_argument("--url", help="the router's address; absent: start one for the purpose")
    replay.add_argument("--rows", type=int, help="how many rows; absent: all")
    replay.add_argument("--concurrency", type=int, default=4, help="requests under way at once")
    replay.add_argument("--seed", type=int, default=0, help="of the order of rows")
    replay.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/replay"), help="folder of the report"
    )
    replay.set_defaults(run=_replay)

    demo = commands.add_parser("demo", help="watch a router learn on a few hundred shipped rows")
    demo.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/demo"), help="folder of the report"
    )
    demo.set_defaults(run=_demo)

    upstream = commands.add_parser("upstream", help="serve recorded models as an OpenAI-compatible upstream")
    upstream.add_argument("file", type=Path, help="parquet file of prompts with every model's score and cost")
    upstream.add_argument("--port", type=int, default=8090)
    upstream.set_defaults(run=_upstream)
    return parser


def _settings() -> tuple[Settings, dict[str, str]]:
    environ = process_environment()
    return load_settings(config_path(environ), environ), environ


def _serve(arguments: argparse.Namespace) -> int:
    from service.commands.jobs.server import serve

    settings, environ = _settings()
    serve(settings, environ, workers=arguments.workers)
    return 0


def _migrate(arguments: argparse.Namespace) -> int:
    from service.commands.jobs.reconcile import migrate_database

    settings, _ = _settings()
    applied = asyncio.run(migrate_database(settings))
    print("\n".join(applied) if applied else "the schema is up to date")
    return 0


def _rebuild(arguments: argparse.Namespace) -> int:
    from service.commands.jobs.reconcile import rebuild

    settings, _ = _settings()
    report = asyncio.run(rebuild(settings, check_only=arguments.check))
    print(report.text())
    return 0 if report.is_clean else 1


def _pair(text: str) -> tuple[str, str]:
    name, equals, model = text.partition("=")
    if not (name and equals and model):
        raise argparse.ArgumentTypeError(f"must be NAME=MODEL, got {text!r}")
    return name, model


def _import(arguments: argparse.Namespace) -> int:
    from service.commands.jobs.import_file import import_file

    settings, environ = _settings()
    imported = asyncio.run(
        import_file(
            settings,
            environ,
            arguments.file,
            tenant=arguments.tenant,
            same_as=dict(arguments.same_as),
            dry_run=arguments.dry_run,
            progress=_show_progress,
        )
    )
    print(imported.text())
    return 0


def _show_progress(done: int, in_all: int) -> None:
    """One line on a terminal, written over."""
    if sys.stderr.isatty():
        print(f"\r{done:,} of {in_all:,} rows", end="\n" if done == in_all else "", file=sys.stderr)


def _evaluate(arguments: argparse.Namespace) -> int:
    from service.commands.jobs.reconcile import evaluate_log
    from service.evaluation.report import as_json, as_text

    if not arguments.since < arguments.until:
        raise StartupError(f"--since must be before --until, got {arguments.since} and {arguments.until}")
    settings, environ = _settings()
    evaluation = asyncio.run(
        evaluate_log(
            settings,
            overlaid(settings, arguments.config),
            environ,
            tenant=arguments.tenant,
            since=arguments.since,
            until=arguments.until,
        )
    )
    print(as_json(evaluation) if arguments.json else as_text(evaluation))
    return 3 if evaluation.refusal else 0


def _moment(given: str) -> datetime:
    """A moment, or how long ago."""
    try:
        if ago := re.fullmatch(r"(\d+)([dhm])", given):
            unit = {"d": "days", "h": "hours", "m": "minutes"}[ago[2]]
            return datetime.now(UTC) - timedelta(**{unit: int(ago[1])})
        moment = datetime.fromisoformat(given)
    except (ValueError, OverflowError) as error:
        rule = "must be a moment (2026-11-24T08:00) or how long ago (7d, 12h, 30m)"
        raise argparse.ArgumentTypeError(f"{rule}, got {given!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _tenant(given: str) -> str:
    if not re.fullmatch(r"[!-~]{1,128}", given):
        raise argparse.ArgumentTypeError(f"must be 1 to 128 visible ASCII characters, got {given!r}")
    return given


def _replay(arguments: argparse.Namespace) -> int:
    from service.replay.started_router import replay_file

    report = asyncio.run(
        replay_file(
            arguments.file,
            url=arguments.url,
            rows=arguments.rows,
            concurrency=arguments.concurrency,
            seed=arguments.seed,
            out_dir=arguments.out,
        )
    )
    return _show(report, arguments.out)


def _demo(arguments: argparse.Namespace) -> int:
    from service.replay.started_router import demo

    return _show(asyncio.run(demo(arguments.out)), arguments.out)


def _show(report: Report, out_dir: Path) -> int:
    print(report.to_text())
    print(f"report.txt, report.json and report.png are in {out_dir}")
    return 1 if report.n_failed else 0


def _upstream(arguments: argparse.Namespace) -> int:
    from service.replay.started_router import serve_upstream

    asyncio.run(serve_upstream(arguments.file, arguments.port, partial(print, flush=True)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
