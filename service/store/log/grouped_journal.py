"""The journal of a process that writes many requests at once."""

from __future__ import annotations

from collections.abc import Sequence

from service.domain.decision import LoggedDecision
from service.grouped import Grouped
from service.store.connection.pool import Database
from service.store.log.group import MOST_ENTRIES, LogEntry
from service.store.log.journal import PostgresJournal


class GroupedJournal(PostgresJournal):
    """A PostgresJournal that finds and writes in groups what is asked of it in one moment."""

    def __init__(self, database: Database, *, store_texts: bool = False) -> None:
        super().__init__(database, store_texts=store_texts)
        self._finding = Grouped[tuple[str, str], LoggedDecision | None](self.find_group)
        self._logging = Grouped[LogEntry, None](self._logged, most=MOST_ENTRIES)

    async def find(self, tenant: str, request_id: str) -> LoggedDecision | None:
        return await self._finding.add((tenant, request_id))

    async def _log(self, entry: LogEntry) -> None:
        await self._logging.add(entry)

    async def _logged(self, entries: Sequence[LogEntry]) -> Sequence[Exception | None]:
        return await self.log_group(entries)
