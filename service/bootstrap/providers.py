"""Opens what talks to providers: the clients of their models, their price lists, the check of their keys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

import structlog

from service.arms.configured import ArmList
from service.arms.provider_prices import with_provider_prices
from service.domain.clock import now
from service.domain.proxies import Proxies
from service.providers.clients import ProviderClients, build_provider_clients
from service.providers.default_options import DefaultOptions
from service.providers.embeddings import HttpEmbeddings
from service.providers.key_checks import HttpKeyChecks
from service.providers.moderations import HttpModerations
from service.providers.price_lists import HttpPriceLists
from service.providers.simulator.simulator import SimulatedClient
from service.settings.settings import Settings
from service.settings.vendors import variables_of_litellm

log = structlog.get_logger(__name__)

KEY_CHECK_TIMEOUT_S = 10.0
PRICE_LIST_TIMEOUT_S = 5.0  # a start waits no longer for the prices of providers


async def open_provider_clients(
    settings: Settings, arms: ArmList, environ: Mapping[str, str], stack: AsyncExitStack
) -> ProviderClients:
    os.environ.update(variables_of_litellm(environ))
    endpoints = [endpoint for arm in arms.arms for endpoint in arm.endpoints]
    os.environ.update(Proxies.of(environ).variables(arm.base_url for arm in endpoints if arm.base_url))
    defaults = DefaultOptions(settings.llm_temperature, settings.llm_max_tokens)
    clients = build_provider_clients(environ, now, simulator=SimulatedClient(), defaults=defaults)
    stack.push_async_callback(clients.close)
    await clients.warm({arm.provider for arm in endpoints})
    return clients


def open_embedding_client(environ: Mapping[str, str], stack: AsyncExitStack) -> HttpEmbeddings:
    client = HttpEmbeddings(environ, now)
    stack.push_async_callback(client.close)
    return client


def open_moderation_client(environ: Mapping[str, str], stack: AsyncExitStack) -> HttpModerations:
    client = HttpModerations(environ, now)
    stack.push_async_callback(client.close)
    return client


def open_key_checker(environ: Mapping[str, str], stack: AsyncExitStack) -> HttpKeyChecks:
    checker = HttpKeyChecks(environ, now, timeout_s=KEY_CHECK_TIMEOUT_S)
    stack.push_async_callback(checker.close)
    return checker


def open_price_lists(
    settings: Settings, environ: Mapping[str, str], stack: AsyncExitStack
) -> HttpPriceLists | None:
    """The reader of providers' price lists; None: it is switched off."""
    if not settings.price_lists:
        return None
    price_lists = HttpPriceLists(environ, now, timeout_s=PRICE_LIST_TIMEOUT_S)
    stack.push_async_callback(price_lists.close)
    return price_lists


async def priced(arms: ArmList, price_lists: HttpPriceLists | None) -> ArmList:
    """The arms at the prices in their providers' lists."""
    if price_lists is None:
        return arms
    found = await with_provider_prices(arms.arms, price_lists)
    for note in found.notes:
        log.warning("price_list_not_read", reason=note)
    return replace(arms, arms=found.arms, notes=(*arms.notes, *found.notes))
