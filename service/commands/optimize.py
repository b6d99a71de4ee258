"""`router optimize`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.commands.calibrate import parse_dollars
from service.commands.options import AsJson, RouterUrl, Tenant, parse_time, read_settings
from service.commands.output import dollars, number, print_report
from service.errors import StartupError

if TYPE_CHECKING:
    from service.commands.jobs.optimize_prompt import OptimizedPrompt
    from service.evaluation.proposal import Proposal

NOTHING_BETTER = 3
Since = Annotated[
    datetime | None,
    typer.Option(
        parser=parse_time,
        metavar="TIME",
        help="Start of the range: an ISO 8601 time, or an age such as 7d or 12h (default: 30d).",
    ),
]

optimize = typer.Typer(rich_markup_mode=None)


@optimize.callback(invoke_without_command=True)
def prompt(
    context: typer.Context,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Task whose prompt is optimised; required.")
    ] = None,
    since: Since = None,
    budget_usd: Annotated[
        Decimal | None,
        typer.Option(
            parser=parse_dollars,
            metavar="USD",
            help="Most dollars that all calls may cost; required.",
        ),
    ] = None,
    grader: Annotated[
        str,
        typer.Option(
            metavar="GRADER",
            help="How answers are scored: similarity (to a highly rated answer), judge:MODEL, "
            "python:module:function, or another grader of router calibrate.",
        ),
    ] = "similarity",
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model whose prompt is optimised; of a variant, its prompt is the one to beat "
            "(default: the default model).",
        ),
    ] = None,
    prompt_model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Model that writes instructions (default: the same)."),
    ] = None,
    optimizer: Annotated[
        Literal["mipro", "gepa"], typer.Option(help="DSPy's MIPROv2, or GEPA, which adds no examples.")
    ] = "mipro",
    candidates: Annotated[int, typer.Option(min=2, max=50, help="Instructions that are proposed.")] = 6,
    trials: Annotated[
        int, typer.Option(min=1, max=500, help="Prompts that are tried on the requests to choose by.")
    ] = 12,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Calls at the same time.")] = 4,
    seed: Annotated[int, typer.Option(min=1, help="Seed of the split and of the search.")] = 1,
    tenant: Tenant = None,
    url: RouterUrl = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the artifact is written.")] = Path(
        "artifact.json"
    ),
    write_anyway: Annotated[
        bool, typer.Option("--write-anyway", help="Also write a prompt that is not better, marked so.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Optimise the prompt of a task offline, with DSPy, through the running router.

    Learns from requests of the log whose texts are stored, and compares the best prompt with the one in use
    on requests that were held out. If none is better nothing is written, and the exit code is 3.
    The artifact is a model's `prompt` in the configuration. Needs the extra `optimizer`.
    """
    if context.invoked_subcommand is not None:
        return
    if task is None or budget_usd is None:
        raise typer.BadParameter("--task and --budget-usd are required")
    require_dspy()
    if out.is_dir() or not out.parent.is_dir():
        raise typer.BadParameter(f"--out must be a file in a folder that exists, got {str(out)!r}")
    from optimizer.search import Search
    from service.commands.jobs.optimize_prompt import OptimizeOptions, optimize_prompt
    from service.domain.basics import DEFAULT_TENANT

    settings, environ = read_settings()
    options = OptimizeOptions(
        task=task,
        tenant=tenant or DEFAULT_TENANT,
        since=since or parse_time("30d"),
        budget_usd=budget_usd,
        grader=grader,
        model=model,
        proposer=prompt_model,
        search=Search(optimizer, candidates, trials, concurrency, seed),
        url=url,
        out=out,
        is_always_written=write_anyway,
    )
    try:
        result = optimize_prompt(settings, environ, options, lambda line: typer.echo(line, err=True))
    except KeyboardInterrupt:
        typer.echo("router: interrupted; nothing was written", err=True)
        raise
    print_report(result.artifact, _text(result, out), as_json=as_json)
    if not result.optimised.is_better:
        raise typer.Exit(NOTHING_BETTER)


def require_dspy(find: Callable[[str], object | None] = find_spec) -> None:
    """Check that the extra `optimizer` is installed. Raises StartupError."""
    if any(find(package) is None for package in ("dspy", "optuna")):
        raise StartupError("optimising prompts needs DSPy: pip install 'dspy[optuna]'")


def _text(result: OptimizedPrompt, out: Path) -> str:
    found, comparison = result.optimised, result.optimised.comparison
    lines = []
    if comparison is None:
        lines.append("no prompt scored better than the one in use on the requests to choose by")
    else:
        by, scores = comparison.difference, (number(comparison.before), number(comparison.after))
        lines += [
            f"{comparison.n} held-out requests: {scores[0]} by the prompt in use, {scores[1]} by the best",
            f"difference {by.value:+.3f}, 95 % interval [{by.low:+.3f}, {by.high:+.3f}]",
        ]
        if not found.is_better:
            lines.append("no better prompt was found: the interval includes 0")
    lines.append(f"spent {dollars(float(found.spent_usd))} on {found.n_calls} calls")
    if result.is_written:
        lines.append(f"the artifact is in {out}")
    return "\n".join(lines)


@optimize.command()
def policy(
    since: Since = None,
    tenant: Tenant = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the proposed settings are written, as YAML.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Propose other knobs and priors, by off-policy evaluation of the log.

    Chooses on the first half of the range, judges on the second, and never changes the weights or a running
    router. If nothing is shown to be better the exit code is 3, as it is if the log cannot tell.
    """
    from service.commands.jobs.optimize_policy import as_yaml, optimize_policy
    from service.domain.basics import DEFAULT_TENANT

    settings, environ = read_settings()
    proposal = asyncio.run(
        optimize_policy(
            settings,
            environ,
            tenant=tenant or DEFAULT_TENANT,
            since=since or parse_time("30d"),
            until=parse_time("0d"),
        )
    )
    proposed = as_yaml(proposal, settings)
    if proposal.is_better and out is not None:
        try:
            out.write_text(f"# Proposed by router optimize policy; {_gain(proposal)}.\n{proposed}", "utf-8")
        except OSError as error:
            raise StartupError(f"{out}: cannot be written: {error.strerror or error}") from error
    print_report(_as_json(proposal), _policy_text(proposal, proposed, out), as_json=as_json)
    if not proposal.is_better:
        raise typer.Exit(NOTHING_BETTER)


def _gain(proposal: Proposal) -> str:
    if proposal.gain is None:
        return "no gain"
    gain = proposal.gain
    return f"gain in utility {gain.value:+.4f}, 95 % interval [{gain.low:+.4f}, {gain.high:+.4f}]"


def _as_json(proposal: Proposal) -> dict[str, object]:
    from dataclasses import asdict

    changes = {
        "knobs": dict(proposal.changes.knobs),
        "priors": {arm_id: asdict(prior) for arm_id, prior in proposal.changes.priors.items()},
    }
    return {
        "is_better": proposal.is_better,
        "changes": changes,
        "gain": None if proposal.gain is None else asdict(proposal.gain),
        "n_tried": proposal.n_tried,
        "refusal": proposal.evaluation.refusal,
    }


def _policy_text(proposal: Proposal, proposed: str, out: Path | None) -> str:
    from service.evaluation.report import as_text

    head = f"{proposal.n_tried} configurations were tried on the first half of the log"
    if not (proposal.changes.knobs or proposal.changes.priors):
        return f"{head}: none looked better than the running one"
    lines = [f"{head}; the best, judged on the second half:", "", proposed, as_text(proposal.evaluation)]
    if proposal.evaluation.refusal is None:
        lines += ["", _gain(proposal)]
    if not proposal.is_better:
        lines.append("it is not shown to be better, and is not proposed")
    elif out is not None:
        lines.append(f"the settings are in {out}; nothing was changed")
    return "\n".join(lines)
