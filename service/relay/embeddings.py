"""Answers requests for embeddings, by a model of the configuration or by the router's own encoder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial

from service.domain.answer import Usage
from service.domain.arm import Arm
from service.domain.basics import AUTO
from service.domain.caller import Caller
from service.domain.embedding import EmbeddingRequest, Embeddings
from service.domain.ports import EmbeddingClient
from service.domain.relayed_model import Relayed, RelayedModel
from service.domain.tokens import BYTES_PER_TOKEN
from service.domain.usage import cost_of
from service.errors import ContextTooLong, Rate, RouterError, Unavailable, UnknownModel
from service.meter.meter import Meter, Use
from service.meter.worst_price import worst_input_usd
from service.relay.deployments import Deployments
from service.relay.own_encoder import OwnEncoder

# Far above the characters of a token in any text, so that no text is rejected that could be short enough.
CHARACTERS_PER_TOKEN = 64


@dataclass(frozen=True, slots=True)
class EmbeddingAnswer:
    """The vectors, with the model that made them and what they cost; None: nobody knows it."""

    model_id: str
    embeddings: Embeddings
    cost_usd: Decimal | None
    rates: Mapping[str, Rate] = field(default_factory=dict)  # what is left to the caller, by kind


@dataclass(frozen=True, slots=True)
class EmbeddingService:
    """The embedding models.

    The router never chooses among them, and never falls back from one to another, because the vectors of
    different models cannot be compared.

    Args:
        own_encoder: answers for the model that has no deployments.
        meter: holds what requests may use of limits.
        observe: called with the result of each request.
    """

    models: Sequence[RelayedModel]
    client: EmbeddingClient
    own_encoder: OwnEncoder | None
    deployments: Deployments
    meter: Meter
    observe: Callable[[Relayed], None]

    def named(self, name: str) -> RelayedModel | None:
        """The model of that id or alias."""
        return next((model for model in self.models if name in model.names), None)

    def find(self, name: str) -> RelayedModel:
        """The model of that id or alias. Raises UnknownModel."""
        if (model := self.named(name)) is not None:
            return model
        names = ", ".join(model.model_id for model in self.models) or "none"
        why = " is not chosen for embeddings, whose vectors cannot be compared between models"
        problem = why if name in AUTO else " is no embedding model"
        raise UnknownModel(f"model: {name!r}{problem}; there are: {names}", param="model")

    async def embed(self, request: EmbeddingRequest, caller: Caller | None) -> EmbeddingAnswer:
        """The vectors of the inputs.

        Raises:
            BadRequest: no such model, or an input that the model does not read.
            ProviderRejected: the model's server rejected the request.
            AllArmsFailed: no deployment answered.
            LimitReached: a limit of the caller or of the model leaves too little.
            Unavailable: the router's own encoder failed, or nobody knows what limits leave.
        """
        model = self.find(request.model)
        try:
            async with self.meter.metering(caller, _worst(model, request)) as metered:
                answer = await self._answer(model, request)
                metered.use = Use(model.model_id, answer.cost_usd, answer.embeddings.prompt_tokens)
        except RouterError as error:
            self.observe(Relayed(model.model_id, type(error).__name__))
            raise
        self.observe(Relayed(model.model_id, "ok", answer.embeddings.prompt_tokens, answer.cost_usd))
        return replace(answer, rates=metered.hold.rates)

    async def _answer(self, model: RelayedModel, request: EmbeddingRequest) -> EmbeddingAnswer:
        if not model.deployments:
            return EmbeddingAnswer(model.model_id, await self._by_own_encoder(request), Decimal(0))
        _require_short(model, request)
        n_dimensions = request.dimensions or model.dimensions
        arm, embeddings = await self.deployments.first_answer(
            model.deployments, partial(self._by_server, request, n_dimensions)
        )
        usage = Usage(
            prompt_tokens=embeddings.prompt_tokens,
            estimated=embeddings.is_estimated,
            stated_cost_usd=embeddings.stated_cost_usd,
        )
        return EmbeddingAnswer(model.model_id, embeddings, cost_of(usage, arm.price).usd)

    async def _by_server(
        self, request: EmbeddingRequest, n_dimensions: int | None, arm: Arm, timeout_s: float
    ) -> Embeddings:
        return await self.client.embed(arm, request, n_dimensions=n_dimensions, timeout_s=timeout_s)

    async def _by_own_encoder(self, request: EmbeddingRequest) -> Embeddings:
        assert self.own_encoder is not None
        try:
            async with asyncio.timeout(self.deployments.deadline_s):
                return await self.own_encoder.embed(request)
        except TimeoutError:
            limit_s = self.deployments.deadline_s
            raise Unavailable(f"{request.model} gave no answer within {limit_s:g} s") from None


def _worst(model: RelayedModel, request: EmbeddingRequest) -> Use:
    """What a request may use: a text has at most as many tokens as bytes, and four bytes in most."""
    n_bytes = sum(len(i.encode(errors="replace")) if isinstance(i, str) else len(i) for i in request.inputs)
    n_tokens = sum(
        -(-len(i.encode(errors="replace")) // BYTES_PER_TOKEN) if isinstance(i, str) else len(i)
        for i in request.inputs
    )
    return Use(model.model_id, worst_input_usd(model.deployments, n_bytes), n_tokens)


def _require_short(model: RelayedModel, request: EmbeddingRequest) -> None:
    """Reject inputs that are too long for certain; the server counts the tokens of the other texts."""
    limit = model.max_input_tokens
    if limit is None:
        return
    for index, item in enumerate(request.inputs):
        n_least = -(-len(item) // CHARACTERS_PER_TOKEN) if isinstance(item, str) else len(item)
        if n_least > limit:
            at_least = "at least " if isinstance(item, str) else ""
            raise ContextTooLong(
                f"input[{index}]: this model's maximum context length is {limit} tokens, "
                f"got {at_least}{n_least}",
                param=f"input[{index}]",
            )
