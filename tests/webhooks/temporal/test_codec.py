"""What is encrypted, with which key, and what happens to what cannot be decrypted."""

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter, PayloadCodec, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError

from tests.support.decrypting import KeysInMemory
from webhooks.credentials.payload_key import PayloadKey
from webhooks.ids import workflow_id
from webhooks.temporal.codec import UnreadableError, decrypt, encrypting, is_encrypted
from webhooks.temporal.connection import DATA_CONVERTER
from webhooks.temporal.names import cut_summary

CLEAR = Payload(metadata={"encoding": b"json/plain"}, data=b'{"n": 1}')


def converter(keys: KeysInMemory, tenant: str = "t", *, encrypts: bool = True) -> DataConverter:
    context = WorkflowSerializationContext(namespace="default", workflow_id=workflow_id(tenant, "o~w"))
    return encrypting(DATA_CONVERTER, keys, encrypts=encrypts).with_context(context)


def codec(keys: KeysInMemory, tenant: str = "t", *, encrypts: bool = True) -> PayloadCodec:
    found = converter(keys, tenant, encrypts=encrypts).payload_codec
    assert found
    return found


async def test_each_tenant_has_its_own_key_and_any_codec_decrypts() -> None:
    keys = KeysInMemory()
    [ours], [theirs] = await codec(keys, "a").encode([CLEAR]), await codec(keys, "b").encode([CLEAR])

    assert {key.tenant for key in keys.stored.values()} == {"a", "b"}
    assert ours.metadata["encoding"] == b"binary/encrypted"
    assert ours.metadata["encryption-key-id"] != theirs.metadata["encryption-key-id"]
    assert b"json" not in ours.SerializeToString()
    assert await codec(keys, "c").decode([ours, theirs]) == [CLEAR, CLEAR]


async def test_the_same_payload_is_never_encrypted_to_the_same_bytes() -> None:
    [one, other] = await codec(KeysInMemory()).encode([CLEAR, CLEAR])

    assert one.data != other.data


async def test_what_is_not_encrypted_is_read_as_it_is() -> None:
    keys = KeysInMemory()

    assert await codec(keys).decode([CLEAR]) == [CLEAR]
    assert not keys.stored


async def test_without_the_setting_nothing_is_encrypted_and_all_is_decrypted() -> None:
    keys = KeysInMemory()
    [encrypted] = await codec(keys).encode([CLEAR])
    reading = codec(keys, encrypts=False)

    assert await reading.encode([CLEAR]) == [CLEAR]
    assert await reading.decode([encrypted, CLEAR]) == [CLEAR, CLEAR]


async def test_a_new_key_encrypts_and_the_old_one_still_decrypts() -> None:
    keys = KeysInMemory()
    [before] = await codec(keys).encode([CLEAR])
    new = keys.add("t")
    [after] = await codec(keys).encode([CLEAR])

    assert after.metadata["encryption-key-id"] == new.id.encode()
    assert await codec(keys).decode([before, after]) == [CLEAR, CLEAR]


@pytest.mark.parametrize("place", [0, 11, 12, -1])
async def test_changed_bytes_are_not_decrypted(place: int) -> None:
    keys = KeysInMemory()
    [encrypted] = await codec(keys).encode([CLEAR])
    changed = bytearray(encrypted.data)
    changed[place] ^= 1
    encrypted.data = bytes(changed)

    with pytest.raises(UnreadableError):
        await codec(keys).decode([encrypted])


@pytest.mark.parametrize("data", [b"", b"short", b"x" * 12])
async def test_what_is_too_short_is_not_decrypted(data: bytes) -> None:
    keys = KeysInMemory()
    [encrypted] = await codec(keys).encode([CLEAR])
    encrypted.data = data

    with pytest.raises(UnreadableError):
        await codec(keys).decode([encrypted])


@pytest.mark.parametrize("same_secret", [False, True])
async def test_the_id_of_another_key_does_not_decrypt(same_secret: bool) -> None:
    """Not even that of a copy of the key: the bytes are bound to the id."""
    keys = KeysInMemory()
    [encrypted] = await codec(keys).encode([CLEAR])
    secret = (await keys.newest("t")).secret
    other, wrong = keys.add("t"), Payload()
    if same_secret:
        keys.stored[other.id] = PayloadKey(other.id, "t", secret)
    wrong.CopyFrom(encrypted)
    wrong.metadata["encryption-key-id"] = other.id.encode()

    with pytest.raises(UnreadableError, match=f"not what was encrypted with payload key {other.id}"):
        await codec(keys).decode([wrong])


@pytest.mark.parametrize("id", [b"", b"nobody", b"\xff\xfe"])
async def test_an_unknown_key_is_named(id: bytes) -> None:
    keys = KeysInMemory()
    [encrypted] = await codec(keys).encode([CLEAR])
    encrypted.metadata["encryption-key-id"] = id

    with pytest.raises(UnreadableError, match="was deleted"):
        await codec(keys).decode([encrypted])


async def test_reading_leaves_what_it_cannot_decrypt() -> None:
    keys = KeysInMemory()
    [lost] = await codec(keys, "gone").encode([CLEAR])
    [kept] = await codec(keys, "here").encode([CLEAR])
    keys.stored = {id: key for id, key in keys.stored.items() if key.tenant != "gone"}
    payloads = [lost, kept, CLEAR]
    await decrypt(converter(keys), payloads)

    assert [is_encrypted(payload) for payload in payloads] == [True, False, False]
    assert kept == CLEAR


async def test_a_failure_shows_its_type_and_nothing_else() -> None:
    """Retry policies and the monitor need the type, which is an outcome."""
    keys, failure = KeysInMemory(), Failure()
    error = ApplicationError("canary-message", {"body": "canary-detail"}, type="http_503", non_retryable=True)
    await converter(keys).encode_failure(error, failure)
    read = await converter(keys).decode_failure(failure)

    assert failure.application_failure_info.type == "http_503"
    assert failure.application_failure_info.non_retryable
    assert failure.message == "Encoded failure"
    assert isinstance(read, ApplicationError)
    assert (read.message, list(read.details)) == ("canary-message", [{"body": "canary-detail"}])


async def test_a_converter_is_made_once_for_a_tenant() -> None:
    """The SDK asks for one some twenty times in a delivery."""
    every = encrypting(DATA_CONVERTER, KeysInMemory(), encrypts=True)
    one = every.with_context(WorkflowSerializationContext(namespace="default", workflow_id="t/a~w"))
    other = every.with_context(WorkflowSerializationContext(namespace="default", workflow_id="t/b~w"))

    assert one is other is not every
    assert type(one.payload_converter) is type(every.payload_converter)


@pytest.mark.parametrize("text", ["x" * 500, "\U0001f600" * 120, '"' * 120, "ü" * 120])
async def test_an_encrypted_summary_is_below_temporals_limit(text: str) -> None:
    keys = KeysInMemory()
    keys.newest_of["t"] = keys.stored["k"] = PayloadKey("0" * 36, "t", b"k" * 32)
    [payload] = await converter(keys).encode([cut_summary(text)])

    assert payload.ByteSize() <= 400
    assert len(cut_summary(text)) >= 50
