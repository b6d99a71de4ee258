"""Answers requests for moderations, by a model of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from service.domain.arm import Arm
from service.domain.basics import AUTO, Json
from service.domain.moderation import ModerationRequest
from service.domain.ports import ModerationClient
from service.domain.relayed_model import Relayed, RelayedModel
from service.errors import NotConfigured, RouterError, UnknownModel
from service.relay.deployments import Deployments


@dataclass(frozen=True, slots=True)
class ModerationAnswer:
    """The answer of the server as it is, with the model that the request was for."""

    model_id: str
    body: Json


@dataclass(frozen=True, slots=True)
class ModerationService:
    """The moderation models.

    Like embeddings, verdicts of different models cannot be compared: no model stands in for another.

    Args:
        observe: called with the result of each request.
    """

    models: Sequence[RelayedModel]
    client: ModerationClient
    deployments: Deployments
    observe: Callable[[Relayed], None]

    def find(self, name: str | None) -> RelayedModel:
        """The model of that id or alias; None or `auto`: the first one.

        Raises:
            NotConfigured: there is no model.
            UnknownModel: no model has that name.
        """
        if not self.models:
            raise NotConfigured("moderations: no model is configured; `moderation_models` lists them")
        if name is None or name in AUTO:
            return self.models[0]
        if (model := next((model for model in self.models if name in model.names), None)) is not None:
            return model
        names = ", ".join(model.model_id for model in self.models)
        raise UnknownModel(f"model: {name!r} is no moderation model; there are: {names}", param="model")

    async def moderate(self, request: ModerationRequest) -> ModerationAnswer:
        """The verdicts on the inputs.

        Raises:
            BadRequest: there is no such model.
            ProviderRejected: the model's server rejected the request.
            AllArmsFailed: no deployment answered.
        """
        model = self.find(request.model)
        try:
            _, body = await self.deployments.first_answer(
                model.deployments, partial(self._by_server, request)
            )
        except RouterError as error:
            self.observe(Relayed(model.model_id, type(error).__name__))
            raise
        self.observe(Relayed(model.model_id, "ok", cost_usd=Decimal(0)))
        return ModerationAnswer(model.model_id, body)

    async def _by_server(self, request: ModerationRequest, arm: Arm, timeout_s: float) -> Json:
        return await self.client.moderate(arm, request.content, timeout_s=timeout_s)
