"""The documentation that the router serves: /docs and /openapi.json."""

from __future__ import annotations

import re

from tests.service.world import World


async def test_docs_loads_nothing_from_other_servers(world: World) -> None:
    page = await world.http.get("/docs")

    loaded = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", page.text)
    assert page.status_code == 200
    assert len(loaded) >= 3
    assert [address for address in loaded if not address.startswith("/")] == []
    for address in loaded:
        assert (await world.http.get(address)).status_code == 200, address


async def test_every_operation_has_an_example_of_its_request_and_of_its_answer(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()

    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            contents = [answer.get("content", {}) for answer in operation["responses"].values()]
            shown = [media for content in contents for media in content.values() if "example" in media]
            assert shown, f"{method} {path}: no example of an answer"
            body = operation.get("requestBody")
            assert body is None or "example" in body["content"]["application/json"], f"{method} {path}"


async def test_every_name_in_a_path_is_documented(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()

    for path, operations in document["paths"].items():
        for operation in operations.values():
            named = [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"]
            assert sorted(named) == sorted(re.findall(r"{(\w+)}", path)), path
