"""What of a webhook's configuration is secret, and how it is kept out of sight. Pure."""

from datetime import datetime
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from webhooks.credentials.authentication import SECRET_FIELDS, Authentication, NoAuthentication
from webhooks.credentials.masking import SCHEME, SHORTEST, is_credential


class SigningKey(BaseModel):
    """What signs deliveries: the shared secret, and the seed of the Ed25519 key (base64 of 32 bytes). One that was
    replaced goes on signing beside its successor until `expires_at`."""

    secret: str = Field(repr=False)
    seed: str = Field(repr=False)
    expires_at: datetime | None = None


class Secrets(BaseModel):
    """All that is secret of one webhook, sealed as one. `headers` and `authentication` are whole here; what the
    webhook's row holds of them is masked. The newest signing key comes first. What is sealed must open for as long as
    it is stored: a rule for `authentication` may be made stricter only together with a migration."""

    model_config = ConfigDict(hide_input_in_errors=True)

    signing: list[SigningKey] = Field(min_length=1)
    headers: dict[str, str] = Field({}, repr=False)
    authentication: Authentication = NoAuthentication()

    def signing_keys(self, now: datetime) -> list[SigningKey]:
        """Those that sign at this moment."""
        return [key for key in self.signing if key.expires_at is None or now < key.expires_at]

    def values(self) -> list[str]:
        """Every secret value, with and without its authentication scheme, longest first."""
        document = self.authentication.model_dump()
        values = {text.removeprefix("whsec_") for key in self.signing for text in (key.secret, key.seed)}
        values |= {value for name, value in document.items() if name in SECRET_FIELDS}
        for headers in (self.headers, document.get("parameters", {})):
            values |= {value for name, value in headers.items() if is_credential(name, value)}
        values |= {value.split(None, 1)[1] for value in values if SCHEME.match(value)}
        values |= {quote(value, safe="") for value in values}  # as the query string has it
        return sorted((value for value in values if len(value) >= SHORTEST), key=len, reverse=True)
