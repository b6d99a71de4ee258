"""`router ask`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from service.commands.options import AsJson, RouterUrl, read_settings
from service.commands.output import dollars, print_report


def ask(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The question; - reads standard input.")],
    model: Annotated[str, typer.Option(help="Model to ask; auto: the router chooses.")] = "auto",
    system: Annotated[str | None, typer.Option(help="System message before the question.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer while it is written.")] = False,
    url: RouterUrl = None,
    as_json: AsJson = False,
) -> None:
    """Ask a running router one question.

    Prints the answer on standard output, and on standard error the model that gave it and its cost.
    """
    if stream and as_json:
        raise typer.BadParameter("either --stream or --json, not both")
    text = sys.stdin.read() if prompt == "-" else prompt
    if not text.strip():
        raise typer.BadParameter("PROMPT must have a text")
    from service.commands.jobs.question import Question, ask_router, stream_router
    from service.commands.jobs.running_router import RunningRouter

    router = RunningRouter.at(url, *read_settings())
    question = Question(text, model, system)
    if stream:
        for written in stream_router(router, question):
            typer.echo(written, nl=False)
        typer.echo()
        return
    given = ask_router(router, question)
    print_report(given.body, _content(given.body), as_json=as_json)
    if not as_json:
        typer.echo(
            f"{given.model}, {given.decision}, {dollars(given.cost_usd)}, {given.request_id}", err=True
        )


def _content(body: dict[str, Any]) -> str:
    message = body["choices"][0]["message"]
    return str(message.get("content") or message.get("refusal") or "")
