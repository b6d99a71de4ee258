"""The settings of logins at providers by OAuth: entries of the YAML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from service.domain.hosts import is_loopback, origin_of_url
from service.domain.oauth import ClientAuth
from service.settings.base_urls import http_url
from service.settings.models import FrozenSettings, ModelSettings, Name

Text = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
# What the router puts into the authorization URL itself.
OWN_PARAMS = frozenset({"client_id", "code_challenge", "code_challenge_method", "nonce"}) | {
    "redirect_uri",
    "response_type",
    "scope",
    "state",
}


class OAuthSettings(FrozenSettings):
    """The operator's own OAuth client at one provider."""

    authorize_url: Text = Field(description="where the operator logs in")
    token_url: Text = Field(description="where codes and refresh tokens become access tokens")
    client_id: Text = Field(description="id of the operator's client")
    base_urls: tuple[Text, ...] = Field(
        min_length=1, description="servers that the token may be sent to; only scheme, host and port count"
    )
    client_secret_env: Text | None = Field(
        None, description="environment variable that holds the client's secret; absent: a public client"
    )
    client_auth: ClientAuth = Field(
        "basic", description="how the secret is sent: `basic`, in a header, or `post`, in the form"
    )
    scopes: tuple[Name, ...] = Field((), description="scopes to ask for")
    redirect_url: Text | None = Field(
        None, description="/oauth/callback as the provider knows it; absent: this router on 127.0.0.1"
    )
    revoke_url: Text | None = Field(None, description="where a logout revokes the token; absent: nowhere")
    authorize_params: dict[Name, Text] = Field({}, description="further parameters of the authorization URL")

    @field_validator("authorize_url", "token_url", "redirect_url", "revoke_url")
    @classmethod
    def _is_protected(cls, url: str | None) -> str | None:
        return None if url is None else _protected(url)

    @field_validator("base_urls")
    @classmethod
    def _are_protected(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_protected, urls))

    @field_validator("authorize_params")
    @classmethod
    def _leave_the_protocol_alone(cls, params: dict[str, str]) -> dict[str, str]:
        if taken := sorted(OWN_PARAMS & params.keys()):
            raise ValueError(f"must not set {', '.join(taken)}")
        return params


def require_logins(models: Iterable[ModelSettings], logins: Mapping[str, OAuthSettings]) -> None:
    """Require that every model's `auth` exists and that its token may go to the model's server.

    Raises:
        ValueError: with every fault.
    """
    faults = [fault for model in models if model.auth is not None and (fault := _fault(model, logins))]
    if faults:
        raise ValueError(f"models: {'; '.join(faults)}")


def _fault(model: ModelSettings, logins: Mapping[str, OAuthSettings]) -> str | None:
    login = logins.get(str(model.auth))
    if login is None:
        names = ", ".join(sorted(logins)) or "none"
        return f"auth of {model.id} must be an entry of providers_auth ({names}), got {model.auth!r}"
    if model.base_url is None:
        return f"base_url of {model.id} is required with auth"
    allowed = [origin_of_url(url) for url in login.base_urls]
    if origin_of_url(model.base_url) in allowed:
        return None
    return f"base_url of {model.id} must be one of providers_auth.{model.auth}.base_urls"


def _protected(url: str) -> str:
    """The URL, if what is sent there is encrypted or stays on this machine."""
    parts = http_url(url)
    if "@" in parts.netloc:
        raise ValueError("must have no login before its host")
    origin = origin_of_url(parts.geturl())
    if origin.scheme != "https" and not is_loopback(origin.host):
        raise ValueError("must begin with https://, unless it is on loopback")
    return parts.geturl()
