"""Encrypts what Temporal stores: inputs, results, signals, memos, summaries, headers, and the details and messages of
failures.

Each tenant has its own keys. The newest one encrypts, and the id of the key is stored beside the encrypted bytes, so
older ones still decrypt. What is not encrypted is read as it is. Not encrypted: search attributes, workflow ids, the
types of failures, times.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from webhooks.credentials.payload_key import PayloadKey
from webhooks.credentials.vault import CannotOpenError
from webhooks.errors import WebhooksError
from webhooks.ids import tenant_in

PLATFORM = ""
"""In place of a tenant, for what belongs to none: the trace ids in the headers of a client's call."""
_ENCODING, _KEY_ID = "encoding", "encryption-key-id"
_ENCRYPTED = b"binary/encrypted"


class UnreadableError(WebhooksError):
    """What Temporal stores cannot be decrypted: its key was deleted, or the bytes were changed."""


class PayloadKeys(Protocol):
    """Where the keys come from."""

    async def newest(self, tenant: str) -> PayloadKey:
        """Return the key that encrypts for this tenant; make one if there is none."""

    async def find(self, id: str) -> PayloadKey | None:
        """Return a key, or None if it was deleted."""


class EncryptionCodec(PayloadCodec, WithSerializationContext):
    """Encrypts for one tenant, and decrypts for all."""

    def __init__(self, keys: PayloadKeys, *, encrypts: bool, tenant: str = PLATFORM) -> None:
        """Without `encrypts`, it only decrypts."""
        self._keys = keys
        self._encrypts = encrypts
        self._tenant = tenant

    def with_context(self, context: SerializationContext) -> Self:
        """Return the codec for the tenant of the workflow in the context."""
        return type(self)(self._keys, encrypts=self._encrypts, tenant=_tenant_of(context))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return the payloads encrypted."""
        if not self._encrypts:
            return list(payloads)
        key = await self._keys.newest(self._tenant)
        metadata = {_ENCODING: _ENCRYPTED, _KEY_ID: key.id.encode()}
        return [Payload(metadata=metadata, data=key.encrypt(payload.SerializeToString())) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return the payloads decrypted. Raises UnreadableError."""
        return [await self._decrypt(payload) if is_encrypted(payload) else payload for payload in payloads]

    async def decode_readable(self, payloads: Iterable[Payload], *, tenant: str | None = None) -> list[Payload]:
        """Return the payloads, decrypted where that is possible. With `tenant`, only those of this tenant."""
        decoded = []
        for payload in payloads:
            try:
                readable = is_encrypted(payload) and (tenant is None or await self._is_of(tenant, payload))
                decoded.append(await self._decrypt(payload) if readable else payload)
            except UnreadableError:
                decoded.append(payload)
        return decoded

    async def _is_of(self, tenant: str, payload: Payload) -> bool:
        key = await self._keys.find(key_id(payload))
        return key is not None and key.tenant in (tenant, PLATFORM)

    async def _decrypt(self, payload: Payload) -> Payload:
        id = key_id(payload)
        key = await self._keys.find(id)
        if key is None:
            raise UnreadableError(f"payload key {id} was deleted")
        try:
            return Payload.FromString(key.decrypt(payload.data))
        except CannotOpenError as error:
            raise UnreadableError(str(error)) from None


def is_encrypted(payload: Payload) -> bool:
    """Return whether it is encrypted by this codec, or by another one that uses the same name."""
    return payload.metadata.get(_ENCODING) == _ENCRYPTED


@dataclass(frozen=True)
class _Converter(DataConverter):
    """Keeps a converter for each tenant. The SDK asks for one some twenty times in a delivery."""

    _of_tenants: dict[str, Self] = field(default_factory=dict, repr=False, compare=False)

    def with_context(self, context: SerializationContext) -> Self:
        tenant = _tenant_of(context)
        if tenant not in self._of_tenants:
            self._of_tenants[tenant] = super().with_context(context)
        return self._of_tenants[tenant]


def encrypting(clear: DataConverter, keys: PayloadKeys, *, encrypts: bool) -> DataConverter:
    """Return the data converter with encryption; without `encrypts`, it only decrypts."""
    return _Converter(
        payload_converter_class=clear.payload_converter_class,
        payload_codec=EncryptionCodec(keys, encrypts=encrypts),
        # An error's message may quote a receiver's answer. Its type is an outcome, which retry policies need.
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes
        if encrypts
        else clear.failure_converter_class,
    )


async def decrypt(converter: DataConverter, payloads: Iterable[Payload]) -> None:
    """Decrypt these payloads in place, where that is possible."""
    encrypted = [payload for payload in payloads if is_encrypted(payload)]
    if encrypted and isinstance(converter.payload_codec, EncryptionCodec):
        for payload, decoded in zip(encrypted, await converter.payload_codec.decode_readable(encrypted), strict=True):
            payload.CopyFrom(decoded)


def _tenant_of(context: SerializationContext) -> str:
    if isinstance(context, WorkflowSerializationContext | ActivitySerializationContext):
        return tenant_in(context.workflow_id or "")
    return PLATFORM


def key_id(payload: Payload) -> str:
    """Return the id of the key that a payload was encrypted with; empty if it names none."""
    return payload.metadata.get(_KEY_ID, b"").decode(errors="replace")
