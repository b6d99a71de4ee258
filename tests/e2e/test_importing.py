"""`router import`, from the command to a running router that knows the imported rows."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.conftest import NewRouter
from tests.e2e.running import eventually

PROMPT = "How long does light take from the sun?"


def written(folder: Path) -> Path:
    """Thirty rated answers of a simulated model under another name, and one of an unknown model."""
    rows = [{"prompt": f"{PROMPT} {i}", "model": "old", "score": 1, "propensity": 0.5} for i in range(30)]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, {"prompt": PROMPT, "model": "gone", "score": 0}])))
    return path


def test_imported_rows_are_known_from_the_next_start(new_router: NewRouter) -> None:
    router = new_router()
    file = written(router.folder)
    arguments = ("import", str(file), "--map", "old=sim-large")

    tried = router.run(*arguments, "--dry-run")
    first = router.run(*arguments)
    again = router.run(*arguments)
    router.start()
    eventually(lambda: router.get("/health")["dependencies"]["qdrant"]["points"] == 30)
    [large] = [c for c in router.route(PROMPT)["candidates"] if c["model"] == "sim-large"]
    router.terminate()
    checked = router.run("rebuild", "--check", "--json")
    migrated = router.run("migrate", "--json")
    counted = router.run(*arguments, "--json")

    assert tried.returncode == first.returncode == again.returncode == 0, first.stderr
    assert "imported" not in tried.stdout
    assert "skipped, no such model here: gone (1)" in first.stdout
    assert "30 rows imported" in first.stdout
    assert "30 rows already imported" in again.stdout
    assert large["posterior"]["n_rated"] == 30
    assert large["posterior"]["local_mass"] > 0
    assert checked.returncode == 0, checked.stdout
    assert json.loads(checked.stdout) == {
        "n_experiences": 30,
        "evidence_before": 0,
        "memory_before": 0,
        "evidence_after": 0,
        "memory_after": 0,
    }
    assert json.loads(migrated.stdout) == {"applied": []}
    assert json.loads(counted.stdout)["n_added"] == {"known": 30}


def test_a_running_router_learns_of_an_import_even_for_a_model_added_at_runtime(
    new_router: NewRouter,
) -> None:
    router = new_router()
    file = written(router.folder)
    router.start()
    router.post("/admin/models", {"id": "added", "provider": "simulator", "model": "sim-large"})

    done = router.run("import", str(file), "--map", "old=added")

    assert done.returncode == 0, done.stderr
    eventually(lambda: router.n_rated(PROMPT) == 30)
    eventually(lambda: router.get("/health")["dependencies"]["qdrant"]["points"] == 30)


def test_a_file_with_a_fault_is_not_imported(new_router: NewRouter) -> None:
    router = new_router()
    file = written(router.folder)
    with file.open("a") as lines:
        lines.write('\n{"prompt": "Why?", "model": "old", "score": 2}\n')

    done = router.run("import", str(file), "--map", "old=sim-large")
    unknown = router.run("import", str(file), "--map", "old=nobody")
    not_persistent = router.run("import", str(file), ENABLE_PERSISTENCE="false")
    corrected = router.run("import", str(written(router.folder)), "--map", "old=sim-large")

    assert done.returncode == unknown.returncode == not_persistent.returncode == 1
    assert f"{file} line 32: score: Input should be less than or equal to 1, got 2" in done.stderr
    assert "--map old=nobody: no such model" in unknown.stderr
    assert "ENABLE_PERSISTENCE is false" in not_persistent.stderr
    assert "30 rows imported" in corrected.stdout
    assert "already imported" not in corrected.stdout
