"""Arms at the prices that their own providers publish."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from service.domain.arm import Arm
from service.domain.model_names import canonical
from service.domain.ports import PriceLists
from service.domain.price_list import ListedModel
from service.errors import ProviderError


@dataclass(frozen=True, slots=True)
class PricedArms:
    """The arms, and which lists could not be read."""

    arms: tuple[Arm, ...]
    notes: tuple[str, ...] = ()


async def with_provider_prices(arms: Sequence[Arm], price_lists: PriceLists) -> PricedArms:
    """The arms whose price nobody configured, at the price in their server's own list.

    All lists are read at once. A list that cannot be read is noted; its arms keep the price that they have.
    """
    askable = [arm for arm in arms if may_be_listed(arm)]
    servers = {_server(arm): arm for arm in reversed(askable)}
    answers = await asyncio.gather(*(_read(price_lists, arm) for arm in servers.values()))
    found = dict(zip(servers, answers, strict=True))
    notes = tuple(answer for answer in answers if isinstance(answer, str))
    lists = {server: answer for server, answer in found.items() if not isinstance(answer, str)}
    priced = (_listed(arm, lists.get(_server(arm), {})) if arm in askable else arm for arm in arms)
    return PricedArms(tuple(priced), notes)


def may_be_listed(arm: Arm) -> bool:
    """Whether the arm's server may publish its price, and nobody configured it."""
    is_readable = arm.provider == "openai" and arm.has_standing_key
    return is_readable and (arm.price is None or arm.price_source == "table")


def _server(arm: Arm) -> tuple[str | None, str | None]:
    return arm.base_url, arm.key_name


async def _read(price_lists: PriceLists, arm: Arm) -> Mapping[str, ListedModel] | str:
    """The list of the arm's server, or the note that it could not be read."""
    try:
        return await price_lists.read(arm)
    except ProviderError as error:
        return f"the price list of {urlsplit(arm.base_url or '').hostname} could not be read: {error}"


def _listed(arm: Arm, models: Mapping[str, ListedModel]) -> Arm:
    model = models.get(arm.model) or _by_other_name(arm.model, models.items())
    if model is None:
        return arm
    return replace(
        arm,
        price=model.price,
        price_source="provider",
        context_window=arm.context_window or model.context_window,
        max_output_tokens=arm.max_output_tokens or model.max_output_tokens,
    )


def _by_other_name(name: str, models: Iterable[tuple[str, ListedModel]]) -> ListedModel | None:
    """The most expensive of the same model's entries; free ones are variants of their own."""
    same = [m for other, m in models if canonical(other) == canonical(name) and not m.price.is_free]
    return max(same, key=lambda m: (m.price.input + m.price.output, m.price.output), default=None)
