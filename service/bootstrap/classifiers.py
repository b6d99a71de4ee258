"""Opens the classifiers of the tags that the policies need."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from decimal import Decimal
from urllib.parse import urlsplit

import structlog

from embeddings.encoder import EncoderError, TextEncoder
from service.domain.arm import Arm, Price
from service.domain.clock import now
from service.domain.tags import EXPERT
from service.errors import StartupError
from service.policies.classifier import Classifier
from service.policies.classifiers.expert import Expert, expert_classifier
from service.policies.classifiers.features import TextFeatures
from service.policies.classifiers.linear import LinearClassifier, NewestFeatures
from service.policies.classifiers.routing_model import RoutingModelClassifier
from service.policies.classifiers.shipped import shipped_heads
from service.providers.openai_compatible import OpenAICompatibleClient
from service.settings.base_urls import is_loopback_host
from service.settings.policies import PolicySettings
from service.settings.settings import Settings

log = structlog.get_logger(__name__)

KEY = "ROUTING_MODEL_API_KEY"


async def open_classifiers(
    settings: Settings, environ: Mapping[str, str], encoder: TextEncoder, stack: AsyncExitStack
) -> tuple[Classifier, ...]:
    """The classifiers of the needed tags; a log line names each that is off.

    Raises:
        StartupError: the encoder cannot embed the description of an expert.
    """
    return (*_linear(settings.policies, encoder), *await _experts(settings, environ, encoder, stack))


def _linear(policies: PolicySettings, encoder: TextEncoder) -> tuple[Classifier, ...]:
    features = TextFeatures()
    needed = [head for head in shipped_heads(features) if head.name in policies.needed_tags]
    for head in needed:
        if head.encoder != encoder.name:
            log.warning("classifier_off", tag=head.name, encoder=encoder.name, trained_on=head.encoder)
    newest = NewestFeatures(features)
    return tuple(LinearClassifier(head, newest) for head in needed if head.encoder == encoder.name)


async def _experts(
    settings: Settings, environ: Mapping[str, str], encoder: TextEncoder, stack: AsyncExitStack
) -> tuple[Classifier, ...]:
    policies = settings.policies
    if not policies.experts or EXPERT not in policies.needed_tags:
        return ()
    experts = {name: Expert(e.description, e.examples) for name, e in policies.experts.items()}
    try:
        embedding = await expert_classifier(experts, encoder)
    except EncoderError as error:
        raise StartupError(f"policies.experts: the descriptions cannot be embedded: {error}") from error
    if settings.routing_model is None:
        return (embedding,)
    arm = _routing_arm(settings.routing_model, settings)
    client = OpenAICompatibleClient({**environ, **_key_of(settings)}, now)
    stack.push_async_callback(client.close)
    timeout_s = settings.routing_model_timeout_s
    return (RoutingModelClassifier(experts, client, arm, timeout_s, embedding, now),)


def _routing_arm(model: str, settings: Settings) -> Arm:
    url = settings.routing_model_base_url
    return Arm(
        arm_id=model,
        provider="openai",
        model=model,
        base_url=url,
        api_key_env=KEY if settings.routing_model_api_key else None,
        # A server of one's own costs nothing; of others it is not known.
        price=Price(Decimal(0), Decimal(0)) if is_loopback_host(urlsplit(url).hostname or "") else None,
    )


def _key_of(settings: Settings) -> Mapping[str, str]:
    key = settings.routing_model_api_key
    return {} if key is None else {KEY: key.get_secret_value()}
