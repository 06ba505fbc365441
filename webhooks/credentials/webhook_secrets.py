"""The secrets of a webhook's configuration. Pure."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from webhooks.credentials import client_certificate
from webhooks.credentials.authentication import SECRET_FIELDS, Authentication, NoAuthentication, OAuth, header_of
from webhooks.credentials.client_certificate import ClientCertificate
from webhooks.credentials.masking import MIN_REDACTED_CHARACTERS, SCHEME, is_credential


class SigningKey(BaseModel):
    """A key that signs deliveries: the shared secret, and the seed of the Ed25519 key (base64 of 32 bytes). A replaced
    key still signs, together with the new one, until `expires_at`."""

    secret: str = Field(repr=False)
    seed: str = Field(repr=False)
    expires_at: datetime | None = None


class Secrets(BaseModel):
    """All secrets of one webhook, sealed together. `headers` and `authentication` are complete here and masked in the
    webhook's row. The newest signing key comes first. Stored secrets must remain readable: making a rule for
    `authentication` stricter needs a migration."""

    model_config = ConfigDict(hide_input_in_errors=True)

    signing: list[SigningKey] = Field(min_length=1)
    headers: dict[str, str] = Field({}, repr=False)
    authentication: Authentication = NoAuthentication()
    client_certificate: ClientCertificate | None = Field(None, repr=False)

    def signing_keys(self, now: datetime) -> list[SigningKey]:
        """Return the keys that sign at `now`."""
        return [key for key in self.signing if key.expires_at is None or now < key.expires_at]

    def values(self) -> list[str]:
        """Return every secret value that can be redacted, with and without its authentication scheme, longest first."""
        values = {text.removeprefix("whsec_") for key in self.signing for text in (key.secret, key.seed)}
        values |= _of_authentication(self.authentication) | _credentials_in(self.headers)
        if self.client_certificate:
            values |= client_certificate.key_forms(self.client_certificate)
        return _redactable(values)

    def header_names(self) -> set[str]:
        """Return the names, in lower case, of the request headers that hold a secret."""
        names = {name.lower() for name, value in self.headers.items() if is_credential(name, value)}
        own = header_of(self.authentication)
        return names | {own} if own else names


def secret_values(authentication: OAuth) -> list[str]:
    """Return every secret value that a token endpoint gets and that can be redacted, longest first."""
    id, secret = authentication.client_id, authentication.client_secret
    pairs = (f"{id}:{secret}", f"{quote(id, safe='')}:{quote(secret, safe='')}")
    basic = {b64encode(pair.encode()).decode() for pair in pairs}
    return _redactable(_of_authentication(authentication) | basic)


def _of_authentication(authentication: BaseModel) -> set[str]:
    document = authentication.model_dump()
    values = {value for name, value in document.items() if name in SECRET_FIELDS}
    return values | _credentials_in(document.get("parameters", {}))


def _credentials_in(headers: Mapping[str, str]) -> set[str]:
    return {value for name, value in headers.items() if is_credential(name, value)}


def _redactable(values: set[str]) -> list[str]:
    values = values | {value.split(None, 1)[1] for value in values if SCHEME.match(value)}
    values |= {quote(value, safe="") for value in values}  # as in a query string
    return sorted((value for value in values if len(value) >= MIN_REDACTED_CHARACTERS), key=len, reverse=True)
