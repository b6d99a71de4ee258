from __future__ import annotations

from pathlib import Path
from typing import Any

from service.arms.configured import arm_of, choose_arms
from service.arms.key_bindings import KeyBindings
from service.settings.load import read_settings
from service.settings.models import ModelSettings
from service.settings.settings import Settings

SHARED = "models:\n  - {id: a, provider: openai, model: m, deployments: ["


def faults(folder: Path, deployments: str) -> list[str]:
    path = folder / "config.yaml"
    path.write_text(f"{SHARED}{deployments}]}}\n")
    return [str(fault).replace(f"{folder}/", "") for fault in read_settings(path, {}).faults]


def entry(*deployments: dict[str, Any], **more: Any) -> ModelSettings:
    model = {"id": "a", "provider": "openai", "model": "m", "deployments": list(deployments), **more}
    return ModelSettings.model_validate(model)


def test_a_deployment_has_what_its_model_gives_to_all() -> None:
    arm = arm_of(
        entry(
            {"base_url": "http://one:8000"},
            {"name": "two", "base_url": "http://two:8000", "model": "m2", "api_key_env": "TWO", "weight": 3},
            api_key_env="ONE",
            timeout_s=30,
        )
    )

    one, two = arm.deployments
    assert (one.name, one.base_url, one.model) == ("one:8000", "http://one:8000/v1", "m")
    assert (one.api_key_env, one.weight, one.timeout_s) == ("ONE", 1, 30)
    assert (two.name, two.model, two.api_key_env, two.weight, two.timeout_s) == ("two", "m2", "TWO", 3, 30)
    assert [endpoint.deployment for endpoint in arm.endpoints] == ["one:8000", "two"]
    assert (arm.base_url, arm.api_key_env, arm.deployment) == ("http://one:8000/v1", "ONE", None)


def test_faults_of_deployments_stop_the_start_with_their_rule(tmp_path: Path) -> None:
    [twice] = faults(tmp_path, "{base_url: 'http://one:1'}, {base_url: 'http://one:1/v1'}")
    [named] = faults(tmp_path, "{name: x, base_url: 'http://one:1'}, {name: x, base_url: 'http://two:1'}")
    [nowhere] = faults(tmp_path, "{weight: 2}")
    [unknown] = faults(tmp_path, "{base_url: 'http://one:1', wieght: 2}")
    [weightless] = faults(tmp_path, "{base_url: 'http://one:1', weight: 0}")

    assert "must differ in base_url, model or key: one:1 is twice" in twice
    assert "need a name each: two are called x" in named
    assert "provider openai needs base_url, here or for all deployments" in nowhere
    assert "unknown key `models[0].deployments[0].wieght`" in unknown
    assert "weight must be above 0" in weightless
    assert all(
        fault.startswith("config.yaml, line 2") for fault in (twice, named, nowhere, unknown, weightless)
    )


def test_a_deployment_without_its_key_is_left_out_and_the_model_stays() -> None:
    model = entry(
        {"name": "one", "base_url": "http://one:1", "api_key_env": "ONE"},
        {"name": "two", "base_url": "http://two:1", "api_key_env": "TWO"},
    )

    arms = choose_arms(Settings(models=(model,)), {"TWO": "sk-2"}, [], ())

    assert [d.name for d in arms.arms[0].deployments] == ["two"]
    assert arms.left_out == ("a at one: ONE is not set",)
    assert arms.arms[0].api_key_env == "TWO"


def test_the_key_of_a_deployment_may_go_only_where_the_configuration_sends_it() -> None:
    model = entry(
        {"base_url": "http://one:1", "api_key_env": "ONE"}, {"base_url": "http://two:1", "api_key_env": "TWO"}
    )
    bindings = KeyBindings.of([arm_of(model)])
    same = entry({"base_url": "http://two:1/v1", "api_key_env": "TWO"}, id="b")
    swapped = entry(
        {"base_url": "http://one:1", "api_key_env": "ONE"},
        {"base_url": "http://one:1", "api_key_env": "TWO", "name": "evil"},
        id="b",
    )

    assert bindings.problem(arm_of(same)) is None
    problem = bindings.problem(arm_of(swapped))
    assert problem is not None
    assert problem.field == "base_url"
    assert "TWO may go only where the configuration sends it" in problem.message
