"""`router keys`: makes, lists, rotates and revokes the keys of callers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.options import AsJson, parse_tenant, read_settings
from service.commands.output import print_report, table

if TYPE_CHECKING:
    from service.access.key_desk import IssuedKey, KeyDesk
    from service.domain.api_key import ApiKey
    from service.domain.caller import Scope
    from service.domain.limit import Measure

keys = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

SCOPES = ("inference", "feedback", "read", "admin")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
Reference = Annotated[str, typer.Argument(metavar="KEY", help="Id or name of the key.")]

BudgetUsd = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AMOUNT",
        help="Most US dollars in a minute, a day or a month, such as 5/day; repeatable (default: any).",
    ),
]
Rpm = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Most requests in a minute (default: any).")
]
Tpm = Annotated[int | None, typer.Option(metavar="N", min=0, help="Most tokens in a minute (default: any).")]


@keys.callback()
def about() -> None:
    """Make, list, rotate and revoke the keys by which callers are recognised.

    Works on the database, whether or not a router runs. A change counts at once in all replicas.
    """


def parse_name(text: str) -> str:
    if not re.fullmatch(r"[!-~]{1,128}", text):
        raise typer.BadParameter(f"must be 1 to 128 visible ASCII characters, got {text!r}")
    return text


def parse_scopes(text: str) -> frozenset[str]:
    scopes = frozenset(filter(None, text.split(",")))
    if not scopes or not scopes <= frozenset(SCOPES):
        raise typer.BadParameter(f"must be a comma-separated list of {', '.join(SCOPES)}, got {text!r}")
    return scopes


def parse_span(text: str) -> timedelta:
    if not (span := re.fullmatch(r"([0-9]{1,5})([dhm])", text)):
        raise typer.BadParameter(f"must be a number of days, hours or minutes (30d, 24h, 0m), got {text!r}")
    return timedelta(**{_UNITS[span[2]]: int(span[1])})


def parse_limits(
    budget_usd: list[str] | None, rpm: int | None, tpm: int | None
) -> dict[Measure, tuple[str, ...]]:
    """The amounts of each measure. Raises typer.BadParameter."""
    from service.domain.limit import Subject, limits_of

    amounts: dict[Measure, tuple[str, ...]] = {"usd": tuple(budget_usd or ())}
    amounts |= {} if rpm is None else {"requests": (f"{rpm}/minute",)}
    amounts |= {} if tpm is None else {"tokens": (f"{tpm}/minute",)}
    try:
        limits_of(Subject("key", ""), amounts)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--budget-usd") from error
    return amounts


@keys.command()
def create(
    name: Annotated[str, typer.Option(parser=parse_name, metavar="NAME", help="What the key is for.")],
    scope: Annotated[
        str,
        typer.Option(metavar="SCOPES", help="What it allows: any of inference, feedback, read and admin."),
    ] = "inference,feedback",
    tenant: Annotated[
        str, typer.Option(parser=parse_tenant, metavar="NAME", help="Tenant whose data its callers see.")
    ] = "default",
    models: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Comma-separated ids or aliases of models; not checked (default: any)."
        ),
    ] = None,
    expires_in: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="How long it is valid, such as 90d (default: for good)."),
    ] = None,
    budget_usd: BudgetUsd = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is printed once, and nobody can read it again."""
    from service.access.key_desk import NewKey

    allowed = None if models is None else frozenset(filter(None, models.split(",")))
    if allowed is not None and not allowed:
        raise typer.BadParameter("must name at least one model", param_hint="--models")
    lifetime = None if expires_in is None else parse_span(expires_in)
    scopes: frozenset[Scope] = parse_scopes(scope)  # type: ignore[assignment]  # as the parser has checked
    wanted = NewKey(name, tenant, scopes, allowed, lifetime, parse_limits(budget_usd, rpm, tpm))

    async def make() -> IssuedKey:
        async with _desk() as desk:
            return await desk.create(wanted)

    _print_issued(asyncio.run(make()), as_json=as_json)


@keys.command()
def limit(
    key: Reference,
    budget_usd: BudgetUsd = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
) -> None:
    """Replace what a key may use; without an option it may use anything. What was used stays counted."""
    amounts = parse_limits(budget_usd, rpm, tpm)

    async def put() -> ApiKey:
        async with _desk() as desk:
            return await desk.limit(key, amounts)

    limited = asyncio.run(put())
    typer.echo(f"{limited.name} ({limited.key_id}): {_limits(limited)}")


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Show every key with its rights and its state."""

    async def listed() -> list[tuple[ApiKey, str]]:
        async with _desk() as desk:
            return [(key, desk.state_of(key)) for key in await desk.listed()]

    found = asyncio.run(listed())
    rows = [_row(key, state) for key, state in found]
    shown = [{**_as_json(key), "state": state} for key, state in found]
    print_report(shown, table(HEADINGS, rows) if rows else "there are no keys", as_json=as_json)


@keys.command()
def revoke(key: Reference) -> None:
    """Refuse a key from now on."""

    async def end() -> ApiKey:
        async with _desk() as desk:
            return await desk.revoke(key)

    revoked = asyncio.run(end())
    typer.echo(f"revoked {revoked.name} ({revoked.key_id})")


@keys.command()
def rotate(
    key: Reference,
    overlap: Annotated[
        str, typer.Option(metavar="SPAN", help="How long the old key stays valid, such as 24h or 0m.")
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    """Make a key with the same rights in place of another one."""
    span = parse_span(overlap)

    async def make() -> IssuedKey:
        async with _desk() as desk:
            return await desk.rotate(key, span)

    _print_issued(asyncio.run(make()), as_json=as_json)


@asynccontextmanager
async def _desk() -> AsyncIterator[KeyDesk]:
    from contextlib import AsyncExitStack

    from service.access.key_desk import KeyDesk
    from service.access.keyring import Keyring
    from service.bootstrap.access import key_copy, key_digests
    from service.bootstrap.basics import no_progress
    from service.bootstrap.database import open_database
    from service.domain.clock import now
    from service.store.api_keys import PostgresApiKeyStore
    from service.store.connection.migrate import migrate

    settings, _ = read_settings()
    async with AsyncExitStack() as stack:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        database = await open_database(settings, settings.data_dir, stack, no_progress)
        await migrate(database)  # the first key is made before the first start
        digests = await key_digests(settings, settings.data_dir)
        store = PostgresApiKeyStore(database)
        keyring = Keyring(store, digests, now, key_copy(settings, settings.data_dir))
        yield KeyDesk(store, digests, now, keyring)


def _print_issued(issued: IssuedKey, *, as_json: bool) -> None:
    text = f"{issued.secret}\n\nKeep it now: it is not shown again. Its id is {issued.key.key_id}."
    print_report({"key": issued.secret, **_as_json(issued.key)}, text, as_json=as_json)


HEADINGS = "name", "id", "tenant", "scopes", "models", "limits", "state", "expires", "last used"


def _row(key: ApiKey, state: str) -> list[str]:
    return [
        key.name,
        str(key.key_id),
        key.tenant,
        ",".join(sorted(key.scopes)),
        "any" if key.models is None else ",".join(sorted(key.models)),
        _limits(key),
        state,
        _moment(key.expires_at),
        _moment(key.last_used_at),
    ]


def _limits(key: ApiKey) -> str:
    return ", ".join(map(str, key.limits)) or "none"


def _moment(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _as_json(key: ApiKey) -> dict[str, object]:
    from service.settings.budgets import amounts_of

    return {
        "id": str(key.key_id),
        "name": key.name,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "models": None if key.models is None else sorted(key.models),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
        "replaces": None if key.replaces is None else str(key.replaces),
        "limits": amounts_of(key.limits),
    }
