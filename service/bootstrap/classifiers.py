"""Opens the classifiers of the tags that the policies need."""

from __future__ import annotations

import structlog

from embeddings.encoder import EncoderError, TextEncoder
from service.domain.tags import EXPERT
from service.errors import StartupError
from service.policies.classifier import Classifier
from service.policies.classifiers.expert import Expert, expert_classifier
from service.policies.classifiers.features import TextFeatures
from service.policies.classifiers.linear import LinearClassifier, NewestFeatures
from service.policies.classifiers.shipped import shipped_heads
from service.settings.policies import PolicySettings

log = structlog.get_logger(__name__)


async def open_classifiers(policies: PolicySettings, encoder: TextEncoder) -> tuple[Classifier, ...]:
    """The classifiers of the needed tags; a log line names each that is off.

    Raises:
        StartupError: the encoder cannot embed the description of an expert.
    """
    return (*_linear(policies, encoder), *await _experts(policies, encoder))


def _linear(policies: PolicySettings, encoder: TextEncoder) -> tuple[Classifier, ...]:
    features = TextFeatures()
    needed = [head for head in shipped_heads(features) if head.name in policies.needed_tags]
    for head in needed:
        if head.encoder != encoder.name:
            log.warning("classifier_off", tag=head.name, encoder=encoder.name, trained_on=head.encoder)
    newest = NewestFeatures(features)
    return tuple(LinearClassifier(head, newest) for head in needed if head.encoder == encoder.name)


async def _experts(policies: PolicySettings, encoder: TextEncoder) -> tuple[Classifier, ...]:
    if not policies.experts or EXPERT not in policies.needed_tags:
        return ()
    experts = {name: Expert(e.description, e.examples) for name, e in policies.experts.items()}
    try:
        return (await expert_classifier(experts, encoder),)
    except EncoderError as error:
        raise StartupError(f"policies.experts: the descriptions cannot be embedded: {error}") from error
