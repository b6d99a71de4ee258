"""How tests are shared out among several processes."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

TOGETHER = ("tests/clients/", "tests/e2e/")


class ByFile(LoadFileScheduling):  # type: ignore[misc]  # of no known type
    """Each file on whichever process is free, so that its fixtures are made once.

    A folder whose tests start routers is on one process as a whole: they share the encoder that is built for
    them, and no two end-to-end tests run beside each other.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)
