"""What `requirements.txt` brings along: `python -m tests.supply FOLDER`, in the environment of pip-audit.

Writes a CycloneDX list of it (SBOM) into the folder, and asks the package index for known vulnerabilities:
one is a failure. Where the index cannot be asked, a line says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOCK = "requirements.txt"


def write_components(path: Path) -> int:
    """Write the list; return how many components it has."""
    done = _run("cyclonedx-py", "requirements", LOCK, "--output-reproducible", "--output-file", str(path))
    done.check_returncode()
    return len(json.loads(path.read_text("utf-8"))["components"])


def audited() -> Sequence[dict[str, Any]]:
    """Each package as pip-audit reports it: with `vulns`, or with the reason why it was not looked up."""
    done = _run(
        "pip-audit",
        "--require-hashes",
        "--disable-pip",
        "--progress-spinner=off",
        "--format=json",
        "-r",
        LOCK,
    )
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:  # it could not ask at all
        return []
    return found


def verdict(packages: Sequence[dict[str, Any]]) -> tuple[str, bool]:
    """What to print, and whether nothing is wrong."""
    asked = [package for package in packages if "vulns" in package]
    if not asked:
        return "NOT LOOKED UP: the package index has no answer about vulnerabilities here", True
    lines = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions'])}"
        for package in asked
        for fault in package["vulns"]
    ]
    return "\n".join([f"{len(asked)} of {len(packages)} packages looked up", *lines]), not lines


def _run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / command, *arguments], capture_output=True, text=True, check=False
    )


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{write_components(folder / 'sbom.json')} components in {folder / 'sbom.json'}")
    said, is_well = verdict(audited())
    print(said)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
