"""Write docs/clients.md from the results of the last run of each client.

`make check-clients-all` records the results, and `python -m tests.clients.matrix` writes the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.clients.arms import PROVIDERS
from tests.clients.features import SEEN
from tests.clients.registry import CLIENTS, Client
from tests.clients.results import stored
from tests.e2e.running import REPOSITORY

PAGE = REPOSITORY / "docs" / "clients.md"
TEMPLATE = Path(__file__).with_name("page.md")
NOT_TRIED, PASSED, FAILED = "\N{EN DASH}", "✓", "✗"


def rendered() -> str:
    rows = [["client", "package", "version", "last run", *SEEN], ["---"] * (4 + len(SEEN))]
    rows += [_row(client) for client in CLIENTS.values()]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in rows)
    reasons = "".join(f"- {line}\n" for client in CLIENTS.values() for line in _reasons(client))
    models = ", ".join(f"`{name}`" for name in PROVIDERS)
    return TEMPLATE.read_text("utf-8").format(models=models, table=table, reasons=reasons)


def _row(client: Client) -> list[str]:
    result = stored().get(client.name, {"version": client.version, "date": "not yet", "passed": None})
    marks = [_mark(client, feature, result["passed"]) for feature in SEEN]
    name = client.name if client.every_run else f"{client.name} (not in every run)"
    return [name, f"`{client.package}`", result["version"], result["date"], *marks]


def _mark(client: Client, feature: str, passed: list[str] | None) -> str:
    if feature in client.without or passed is None:
        return NOT_TRIED
    return PASSED if feature in passed else FAILED


def _reasons(client: Client) -> Iterator[str]:
    for feature, reason in client.without.items():
        yield f"{client.name}, {feature}: not tried, {reason}."


if __name__ == "__main__":
    PAGE.write_text(rendered(), "utf-8")
