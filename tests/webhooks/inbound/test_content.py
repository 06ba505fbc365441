"""What a body becomes, where a sender over HTTP does not show it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from webhooks.credentials.masking import MASK
from webhooks.inbound.content import MAX_BODY_BYTES, data_of, packed, shown_headers, shown_query, unpacked
from webhooks.inbound.verification import Head, SenderStyle, Verification

_FORM = "application/x-www-form-urlencoded"


@given(some.binary())
def test_a_body_comes_back_byte_for_byte(body: bytes) -> None:
    assert unpacked(packed(body)) == body


@given(some.binary(), some.sampled_from(["", "application/json", _FORM, "text/plain", "image/png", "x"]))
def test_any_body_becomes_json_that_can_be_stored(body: bytes, kind: str) -> None:
    data, _ = data_of(kind, body)

    json.dumps(data).encode()


def test_a_body_of_control_characters_does_not_grow() -> None:
    """As a text it would take six bytes for each."""
    data, _ = data_of("text/plain", b"\x01" * MAX_BODY_BYTES)

    assert len(json.dumps(data)) < 1.5 * MAX_BODY_BYTES


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b"a=1&a=2&b=", {"a": ["1", "2"], "b": ""}),
        (b"payload=%7B%22n%22%3A1%7D&x=1", {"payload": {"n": 1}, "x": "1"}),
        (b"payload=%7B", {"payload": "{"}),
        (b"&".join(b"a%d=1" % n for n in range(1001)), ...),
    ],
)
def test_a_form_becomes_its_fields(body: bytes, data: object) -> None:
    assert data_of(_FORM, body)[0] == ({"body": body.decode()} if data is ... else data)


def test_credentials_are_masked_and_ids_are_not() -> None:
    shared = Verification(type=SenderStyle.KEY_VALUE, name="X-Key")
    headers = {"x-key": "12345678", "authorization": "Bearer abc", "webhook-id": "msg_27UH5EyxGgGZYL1uc5EeNcwvQHr"}

    assert shown_headers(shared, Head(headers, {})) == {**headers, "x-key": MASK, "authorization": MASK}
    assert shown_query(shared, {"X-Key": "12345678", "page": "2"}) == {"X-Key": MASK, "page": "2"}
