"""The command `optimize policy`: read the log, and propose other knobs and priors."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime

import yaml

from service.bootstrap.existing import open_existing_database
from service.commands.jobs.evaluate_log import configuration_of
from service.errors import StartupError
from service.evaluation.candidate import is_complete
from service.evaluation.proposal import Proposal, propose, steps_of, too_few
from service.settings.settings import Settings
from service.store.log.rounds import rounds

MAX_ROUNDS = 2_000  # the newest of the range: each is decided again some thirty times


async def optimize_policy(
    settings: Settings, environ: Mapping[str, str], *, tenant: str, since: datetime, until: datetime
) -> Proposal:
    """Propose changes of the running settings.

    Raises:
        StartupError: there is no database, or its log is too short.
        StoreUnavailable: PostgreSQL does not answer.
    """
    async with AsyncExitStack() as stack:
        database = await open_existing_database(settings, stack)
        running = await configuration_of(settings, environ, database)
        read = [logged async for logged in rounds(database, tenant, since, until) if is_complete(logged)]
    if (reason := too_few(read)) is not None:
        raise StartupError(f"no policy can be proposed: {reason}")
    # Priors stand in entries of the file, so models that no entry has keep theirs.
    listed = [model.id for model in settings.models]
    steps = list(steps_of(running.knobs))
    return await propose(read[-MAX_ROUNDS:], running, steps, with_priors=listed)


def as_yaml(proposal: Proposal, settings: Settings) -> str:
    """The proposed keys, for `router evaluate --config` and for the operator's own file."""
    values: dict[str, object] = dict(proposal.changes.knobs)
    if priors := proposal.changes.priors:
        entries = [model.model_dump(mode="json", exclude_unset=True) for model in settings.models]
        values["models"] = [
            entry | {"prior_quality": prior.quality, "prior_mass": prior.mass}
            if (prior := priors.get(entry["id"]))
            else entry
            for entry in entries
        ]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
