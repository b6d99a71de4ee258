"""`router demo`."""

from __future__ import annotations

from pathlib import Path

from service.commands.options import AsJson, OutFolder
from service.commands.replay import replay


def demo(out: OutFolder = Path("benchmarks/results/demo"), as_json: AsJson = False) -> None:
    """Watch a router learn from 360 shipped rows.

    Starts a router and a provider on loopback, and stops them afterwards.
    The recorded outcomes are made up.
    The exit code is 1 if a request failed.
    """
    from service.commands.jobs.replay.demo import DEMO_FILE

    replay(DEMO_FILE, seed=None, out=out, as_json=as_json)
