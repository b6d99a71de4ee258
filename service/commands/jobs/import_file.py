"""The command `import`: warm the router from recorded outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from embeddings.encoder import EncoderError, TextEncoder
from service.arms.configured import choose_arms
from service.arms.known_models import known_models
from service.arms.lifecycle import current_arms
from service.bootstrap.basics import no_progress
from service.bootstrap.database import open_database
from service.bootstrap.existing import has_data, open_existing_database
from service.bootstrap.vectors import open_encoders
from service.commands.output import rows_added
from service.domain.arm import Arm
from service.domain.clock import now
from service.errors import StartupError
from service.learning.importing.importer import Added, Importer
from service.learning.importing.rows import LEAST_WEIGHT, Row, read_rows
from service.learning.importing.survey import Survey, survey
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.settings import Settings
from service.store.arm_registry import PostgresArmRegistry
from service.store.connection.migrate import migrate
from service.store.evidence.evidence import PostgresEvidence
from service.store.log.grouped_journal import GroupedJournal

ROWS_AT_ONCE = 512

Progress = Callable[[int, int], None]  # rows done, rows in all


@dataclass(frozen=True, slots=True)
class Imported:
    """The rows of a file, counted; `n_added` is empty after a dry run."""

    survey: Survey
    n_added: Mapping[Added, int] = field(default_factory=dict)

    def text(self) -> str:
        lines = [f"{arm_id}: {n} rows" for arm_id, n in sorted(self.survey.n_by_arm.items())]
        if self.survey.n_drawn:
            lines.append(f"{self.survey.n_drawn} rows weighted by their propensity")
        if self.survey.n_unknown:
            unknown = ", ".join(f"{name} ({n})" for name, n in sorted(self.survey.n_unknown.items()))
            lines.append(f"skipped, no such model here: {unknown}; add --map NAME=MODEL for each name")
        lines += rows_added(self.n_added)
        return "\n".join(lines or ["no rows"])


async def import_file(
    settings: Settings,
    environ: Mapping[str, str],
    file: Path,
    *,
    tenant: str,
    same_as: Mapping[str, str],
    dry_run: bool,
    progress: Progress,
) -> Imported:
    """Check every row of a file, then write all of them. A second import changes nothing.

    A running service updates the memory within seconds; otherwise the next one to start does.

    Args:
        same_as: the id or alias of an arm for each name of a model in the file.
        dry_run: only check and count; nothing is created.

    Raises:
        StartupError: a row breaks a rule, `same_as` names no arm, or something cannot be opened.
        StoreUnavailable: PostgreSQL stopped answering; import the file again.
    """
    if not settings.enable_persistence and settings.database_url is None:
        raise StartupError("ENABLE_PERSISTENCE is false: imported rows would not be kept")
    started_at = now()
    async with AsyncExitStack() as stack:
        configured = choose_arms(settings, environ, known_models(), SIMULATED_ARMS).arms
        if dry_run and not has_data(settings):
            return Imported(survey(read_rows(file, started_at), _by_name(configured, same_as)))
        if dry_run:
            database = await open_existing_database(settings, stack)
        else:
            database = await open_database(
                settings, settings.data_dir, stack, no_progress, is_for_command=True
            )
            await migrate(database)
        arm_registry = PostgresArmRegistry(database)
        await arm_registry.refresh()
        by_name = _by_name(current_arms(configured, arm_registry.known), same_as)
        found = survey(read_rows(file, started_at), by_name)
        if dry_run or not found.n_rows:
            return Imported(found)
        encoder = (await open_encoders(settings, environ, stack, no_progress)).decisions
        _require_space(file, found, encoder)
        importer = Importer(
            journal=GroupedJournal(database, store_texts=settings.store_texts),
            evidence=PostgresEvidence(database),
            encoder=encoder,
            tenant=tenant,
            now=started_at,
            registrations=arm_registry.known,
            n_at_once=ROWS_AT_ONCE,
        )
        rows = _known_rows(read_rows(file, started_at), by_name, found)
        try:
            n_added = await importer.add_all(rows, lambda n: progress(n, found.n_rows))
        except EncoderError as error:
            raise StartupError(f"the encoder failed: {error}") from error
        return Imported(found, n_added)


def _require_space(file: Path, found: Survey, encoder: TextEncoder) -> None:
    """Check that vectors in place of prompts are of this router's encoder. Raises StartupError."""
    own = encoder.name, encoder.dimension
    for name, dimension in (space for space in found.spaces if space != own):
        raise StartupError(
            f"{file}: encoder: must be {own[0]} with {own[1]} numbers, as this router's vectors are, "
            f"got {name} with {dimension}"
        )


def _by_name(arms: Iterable[Arm], same_as: Mapping[str, str]) -> dict[str, Arm]:
    by_name = {name: arm for arm in arms for name in (arm.arm_id, *arm.aliases)}
    for name, arm_name in same_as.items():
        if arm_name not in by_name:
            raise StartupError(f"--map {name}={arm_name}: no such model; there are: {', '.join(by_name)}")
    return by_name | {name: by_name[arm_name] for name, arm_name in same_as.items()}


def _known_rows(
    rows: Iterable[Row], by_name: Mapping[str, Arm], found: Survey
) -> Iterator[tuple[Row, Arm, Decimal]]:
    """The rows of arms of this router, with their weights."""
    for row in rows:
        if (arm := by_name.get(row.model)) is not None:
            weight = row.weight * found.weight(arm.arm_id, row.propensity)
            yield row, arm, max(LEAST_WEIGHT, weight.quantize(LEAST_WEIGHT))
