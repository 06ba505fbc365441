"""The secrets with which a source's requests are verified. Pure."""

import secrets
from base64 import b64encode
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

_SECRET_BYTES = 32


class SourceSecret(BaseModel):
    """A secret that the sender uses. A replaced one is accepted until `expires_at`."""

    value: str = Field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None


class SourceSecrets(BaseModel):
    """All secrets of one source, sealed together. The newest comes first. `verify_token` is what Meta sends when
    somebody registers the URL there."""

    model_config = ConfigDict(hide_input_in_errors=True)

    secrets: list[SourceSecret] = Field([], repr=False)
    verify_token: str | None = Field(None, repr=False)

    def current(self, now: datetime) -> list[SourceSecret]:
        """Return the secrets that are accepted at `now`."""
        return [secret for secret in self.secrets if secret.expires_at is None or now < secret.expires_at]

    def rotated(self, value: str, overlap: float, now: datetime) -> "SourceSecrets":
        """Return the secrets with a new one in front. The older ones end after `overlap` seconds at the latest."""
        until = now + timedelta(seconds=overlap)
        older = [
            secret.model_copy(update={"expires_at": min(until, secret.expires_at or until)})
            for secret in self.current(now)
        ]
        return self.model_copy(
            update={"secrets": [SourceSecret(value=value, created_at=now), *(older if overlap else ())]}
        )


def new_secret() -> str:
    """Return a new random secret, in the form that Standard Webhooks asks for."""
    return "whsec_" + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
