from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from service.arms.configured import arm_of
from service.domain.arm import Arm
from service.domain.prompt import Demo, Prompt
from service.settings.load import read_settings

BASE = "{id: base, provider: simulator, model: m, price: {input: 1, output: 2}, aliases: [b], drop: [seed]}"
ARTIFACT = {
    "artifact": "router optimize",
    "prompt": {
        "instructions": " Be brief. ",
        "demos": [{"request": "2 + 2", "answer": "4"}],
        "task": "sums",
    },
    "scores": {},
}


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "artifact.json"
    path.write_bytes(orjson.dumps(ARTIFACT))
    return path


def variant(folder: Path, entry: str) -> Arm:
    path = folder / "config.yaml"
    path.write_text(f"models:\n  - {BASE}\n  - {entry}\n")
    loaded = read_settings(path, {})
    assert loaded.settings is not None, loaded.faults
    return arm_of(loaded.settings.models[1])


def faults(folder: Path, entry: str) -> list[str]:
    path = folder / "config.yaml"
    path.write_text(f"models:\n  - {BASE}\n  - {entry}\n")
    return [str(fault).replace(f"{folder}/", "") for fault in read_settings(path, {}).faults]


def test_a_variant_is_its_model_with_the_prompt_of_an_artifact(tmp_path: Path, artifact: Path) -> None:
    arm = variant(tmp_path, f"{{id: brief, variant_of: base, prompt: {artifact}}}")

    assert (arm.provider, arm.model, arm.aliases) == ("simulator", "m", ())
    assert arm.drop == {"seed"}
    assert arm.price is not None
    assert arm.price.input == 1
    assert arm.variant_of == "base"
    assert arm.prompt == Prompt("Be brief.", (Demo("2 + 2", "4"),), "sums")


def test_a_variant_can_answer_any_task_and_override_its_model(tmp_path: Path, artifact: Path) -> None:
    arm = variant(
        tmp_path,
        f"{{id: brief, variant_of: base, prompt: {artifact}, tasks: any, model: n, price: free}}",
    )

    assert arm.prompt is not None
    assert arm.prompt.task is None
    assert arm.model == "n"
    assert arm.price is not None
    assert arm.price.is_free


def test_a_prompt_may_stand_in_the_configuration_itself(tmp_path: Path) -> None:
    arm = variant(tmp_path, "{id: brief, variant_of: base, prompt: {instructions: Be brief.}}")

    assert arm.prompt == Prompt("Be brief.")


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{id: v, variant_of: other, prompt: {instructions: x}}", "models[1].variant_of must be the id of"),
        ("{id: v, variant_of: v, prompt: {instructions: x}}", "models[1].variant_of must be the id of"),
        ("{id: v, variant_of: base}", "models[1].variant_of needs prompt"),
        ("{id: v, variant_of: base, prompt: none.json}", "models[1].prompt cannot be read"),
        ("{id: v, variant_of: base, prompt: config.yaml}", "models[1].prompt must be a file of JSON"),
        ("{id: v, variant_of: base, prompt: {demos: []}}", "models[1].prompt must have instructions"),
        (
            "{id: v, variant_of: base, prompt: {instructions: x, extra: 1}}",
            "unknown key `models[1].prompt.extra`",
        ),
    ],
)
def test_a_faulty_variant_is_reported_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)

    (found,) = faults(tmp_path, entry)

    assert found.startswith(f"config.yaml, line 3: {fault}"), found
