"""The results of the last run of each client, which docs/clients.md shows."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.clients.features import SEEN
from tests.clients.registry import Client

RESULTS = Path(__file__).with_name("results.json")
RECORDING = "RECORD_CLIENTS"  # the variable of the environment that `make check-clients-all` sets


def record(client: Client, seen: dict[str, Any]) -> None:
    """Store the date, the version and the features that passed, if this run is recorded."""
    if os.environ.get(RECORDING) != "1":
        return
    results = stored()
    results[client.name] = {
        "version": client.version,
        "date": datetime.now(UTC).date().isoformat(),
        "passed": [feature for feature in client.features if seen.get(feature) == SEEN[feature]],
    }
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n", "utf-8")


def stored() -> dict[str, Any]:
    results: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    return results
