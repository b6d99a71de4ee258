"""The soak finds what a router acknowledged and lost."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.soak.kept import lost
from benchmarks.soak.load import Acknowledged
from service.store.connection.embedded import EmbeddedPostgres
from tests.e2e.running import RunningRouter


async def test_what_is_not_in_postgresql_is_lost(serve: Callable[..., RunningRouter]) -> None:
    router = serve()
    assert router.ask("kept", "hello").status_code == 200
    assert router.rate("kept", 0.25).status_code == 202
    dsn = EmbeddedPostgres(router.data_dir).dsn

    nothing = await lost(dsn, Acknowledged({"kept"}, {"kept": 0.25}))
    something = await lost(dsn, Acknowledged({"kept", "gone"}, {"kept": 0.5, "gone": 1.0}))

    assert nothing == []
    assert something == [
        "gone: no answer",
        "gone: score None instead of 1.0",
        "kept: score 0.25 instead of 0.5",
    ]
