from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from service.arms.provider_prices import with_provider_prices
from service.domain.arm import FREE, Arm, Price
from service.domain.price_list import ListedModel
from service.errors import ProviderTimeout

HERE, THERE = "https://here.example/v1", "https://there.example/v1"
CHEAP, DEAR = Price(Decimal(1), Decimal(2)), Price(Decimal(10), Decimal(20))


class FakePriceLists:
    """PriceLists by base URL; a server without one gives no answer."""

    def __init__(self, **by_host: Mapping[str, ListedModel]) -> None:
        self.by_url = {f"https://{host}.example/v1": models for host, models in by_host.items()}
        self.asked: list[str | None] = []

    async def read(self, arm: Arm) -> Mapping[str, ListedModel]:
        self.asked.append(arm.base_url)
        if arm.base_url not in self.by_url:
            raise ProviderTimeout("no answer within 5 s")
        return self.by_url[arm.base_url]


def arm(arm_id: str, model: str = "lab/model", base_url: str | None = HERE, **more: object) -> Arm:
    return replace(Arm(arm_id, "openai", model, base_url=base_url), **more)  # type: ignore[arg-type]


async def test_an_unpriced_arm_gets_its_providers_price_and_limits() -> None:
    lists = FakePriceLists(here={"lab/model": ListedModel(CHEAP, 100_000, 8_000)})

    [priced] = (await with_provider_prices([arm("a")], lists)).arms

    assert (priced.price, priced.price_source) == (CHEAP, "provider")
    assert (priced.context_window, priced.max_output_tokens) == (100_000, 8_000)


async def test_the_providers_price_goes_before_the_tables_and_after_the_operators() -> None:
    lists = FakePriceLists(here={"lab/model": ListedModel(CHEAP)})
    arms = [
        arm("table", price=DEAR, price_source="table"),
        arm("configured", price=DEAR, price_source="configured"),
        arm("free", price=FREE, price_source="name"),
    ]

    found = (await with_provider_prices(arms, lists)).arms

    assert [a.price for a in found] == [CHEAP, DEAR, FREE]
    assert [a.arm_id for a in found] == ["table", "configured", "free"]


async def test_configured_limits_stay() -> None:
    lists = FakePriceLists(here={"lab/model": ListedModel(CHEAP, 100_000, 8_000)})

    [priced] = (await with_provider_prices([arm("a", context_window=5, max_output_tokens=6)], lists)).arms

    assert (priced.context_window, priced.max_output_tokens) == (5, 6)


async def test_each_server_is_asked_once_and_only_for_arms_without_a_configured_price() -> None:
    lists = FakePriceLists(here={}, there={})
    arms = [
        arm("a"),
        arm("b", "lab/other"),
        arm("c", base_url=THERE),
        arm("d", base_url="https://priced.example/v1", price=CHEAP, price_source="configured"),
        Arm("e", "litellm", "groq/x"),
        Arm("f", "anthropic", "claude-x"),
    ]

    await with_provider_prices(arms, lists)

    assert sorted(map(str, lists.asked)) == [HERE, THERE]


async def test_a_list_that_cannot_be_read_is_noted_and_changes_nothing() -> None:
    lists = FakePriceLists(there={"lab/model": ListedModel(CHEAP)})
    arms = [arm("a"), arm("b", price=DEAR, price_source="table"), arm("c", base_url=THERE)]

    found = await with_provider_prices(arms, lists)

    assert [a.price for a in found.arms] == [None, DEAR, CHEAP]
    assert found.notes == ("the price list of here.example could not be read: no answer within 5 s",)


async def test_a_note_shows_no_login() -> None:
    secret = arm("a", base_url="https://user:secret@here.example/v1")

    [note] = (await with_provider_prices([secret], FakePriceLists())).notes

    assert "secret" not in note


async def test_a_variant_has_the_price_of_its_model_but_never_that_of_the_free_one() -> None:
    lists = FakePriceLists(
        here={
            "lab/model": ListedModel(CHEAP),
            "lab/model:free": ListedModel(FREE),
            "lab/mini": ListedModel(DEAR),
        }
    )
    names = ["lab/model:nitro", "lab/model:online", "models/model", "lab/model:thinking", "lab/model-mini"]

    found = (await with_provider_prices([arm(name, name) for name in names], lists)).arms

    assert [a.price for a in found] == [CHEAP, CHEAP, CHEAP, None, None]


async def test_a_free_variant_alone_makes_no_model_free() -> None:
    lists = FakePriceLists(here={"lab/model:free": ListedModel(FREE)})

    [found] = (await with_provider_prices([arm("a")], lists)).arms

    assert found.price is None


async def test_without_arms_nobody_is_asked() -> None:
    lists = FakePriceLists()

    assert (await with_provider_prices([], lists)).arms == ()
    assert lists.asked == []
