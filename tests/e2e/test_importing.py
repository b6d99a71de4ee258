"""`router import`, from the command to a running router that knows the imported rows."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

from service.domain.basics import Json
from tests.e2e.conftest import NewRouter
from tests.e2e.running import RunningRouter, eventually

PROMPT = "How long does light take from the sun?"


def written(folder: Path) -> Path:
    """Thirty rated answers of a simulated model under another name, and one of an unknown model."""
    rows = [{"prompt": f"{PROMPT} {i}", "model": "old", "score": 1, "propensity": 0.5} for i in range(30)]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, {"prompt": PROMPT, "model": "gone", "score": 0}])))
    return path


def posterior_of_large(router: RunningRouter) -> Json:
    eventually(lambda: router.get("/health")["dependencies"]["qdrant"]["points"] == 30)
    [large] = [c for c in router.route(PROMPT)["candidates"] if c["model"] == "sim-large"]
    posterior: Json = large["posterior"]
    return posterior


def test_imported_rows_are_known_from_the_next_start(new_router: NewRouter) -> None:
    router = new_router()
    file = written(router.folder)
    arguments = ("import", str(file), "--map", "old=sim-large")

    tried = router.run(*arguments, "--dry-run")
    first = router.run(*arguments)
    again = router.run(*arguments)
    router.start()
    posterior = posterior_of_large(router)
    router.terminate()
    checked = router.run("rebuild", "--check", "--json")
    migrated = router.run("migrate", "--json")
    counted = router.run(*arguments, "--json")

    assert tried.returncode == first.returncode == again.returncode == 0, first.stderr
    assert "imported" not in tried.stdout
    assert "skipped, no such model here: gone (1)" in first.stdout
    assert "30 rows imported" in first.stdout
    assert "30 rows already imported" in again.stdout
    assert posterior["n_rated"] == 30
    assert posterior["local_mass"] > 0
    assert checked.returncode == 0, checked.stdout
    assert json.loads(checked.stdout) == {
        "n_experiences": 30,
        "evidence_before": 0,
        "memory_before": 0,
        "evidence_after": 0,
        "memory_after": 0,
        "contexts_before": 0,
        "contexts_after": 0,
        "n_without_text": 0,
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


def test_what_one_router_learned_is_known_to_another(new_router: NewRouter) -> None:
    teacher, learner = new_router(), new_router()
    assert teacher.run("import", str(written(teacher.folder)), "--map", "old=sim-large").returncode == 0
    policy = teacher.folder / "policy.jsonl"

    exported = teacher.run("export", "--policy", str(policy), "--json")
    at_home = teacher.run("import", str(policy))
    abroad = learner.run("import", str(policy))
    again = learner.run("import", str(policy))

    assert json.loads(exported.stdout)["n_by_arm"] == {"sim-large": 30}, exported.stderr
    assert PROMPT not in policy.read_text()
    assert "30 rows rejected" in at_home.stdout
    assert "30 rows imported" in abroad.stdout, abroad.stderr
    assert "30 rows already imported" in again.stdout
    beliefs = []
    for router in (teacher, learner):
        router.start()
        beliefs.append(posterior_of_large(router))
    assert beliefs[0]["n_rated"] == 30
    assert beliefs[1] == beliefs[0]


def test_without_ratings_there_is_nothing_to_export(new_router: NewRouter) -> None:
    router = new_router()
    router.run("migrate")

    exported = router.run("export", "--policy", str(router.folder / "policy.jsonl"))

    assert exported.returncode == 1
    assert "nothing to export" in exported.stderr
    assert list(router.folder.glob("policy*")) == []


def test_vectors_of_another_encoder_are_rejected(new_router: NewRouter) -> None:
    router = new_router()
    file = router.folder / "policy.jsonl"
    context = base64.b64encode(struct.pack("<3f", 1, 0, 0)).decode()
    row = {"context": context, "encoder": "another", "model": "sim-large", "score": 1}
    file.write_text(json.dumps(row))

    done = router.run("import", str(file))

    assert done.returncode == 1
    assert f"{file}: encoder: must be " in done.stderr
    assert "got another with 3" in done.stderr
