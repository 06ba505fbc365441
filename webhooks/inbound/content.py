"""What a received request becomes: `data` that templates and filters can use, and the request as it came. Pure.

JSON becomes itself. A form becomes an object of its fields; a field that occurs several times is a list, and a field
`payload` that holds JSON, as GitHub and Slack send it, becomes that JSON. Anything else, also JSON that cannot be read,
is `{"body": TEXT}`, or `{"body_base64": BASE64}` if it is no text.
"""

import base64
import re
import zlib
from collections.abc import Mapping
from urllib.parse import parse_qsl

from pydantic import JsonValue

from webhooks import characters
from webhooks.credentials.masking import MASK, is_credential
from webhooks.inbound.verification import Head, SenderStyle, Verification
from webhooks.json_documents import DocumentError, decode, parse
from webhooks.json_numbers import digits_in

MAX_BODY_BYTES = 256 * 1024
_MAX_FORM_FIELDS = 1_000
_JSON = re.compile(r"(?:application|text)/(?:[\w.-]+\+)?json")
_FORM = "application/x-www-form-urlencoded"
_PAYLOAD = "payload"
_PUBLIC_HEADERS = frozenset(
    (
        "webhook-id", "svix-id", "webhook-timestamp", "x-github-delivery", "x-github-hook-id", "x-shopify-webhook-id",
        "x-shopify-event-id", "user-agent", "content-type", "traceparent", "x-request-id", "host",
    )
)  # fmt: skip
"""Headers whose values look random and are no secrets."""


def data_of(content_type: str, body: bytes) -> tuple[JsonValue, JsonValue]:
    """Return what the body holds, and the producer's digits of its numbers as `Occurrence.digits` has them."""
    kind = content_type.partition(";")[0].strip().lower()
    data: JsonValue = None
    if kind == _FORM:
        data = _form(body)
    elif _JSON.fullmatch(kind) or not kind:
        data = _json(body)
    if data is None and body.strip() != b"null":
        data = _as_text(body)
    return data, digits_in(data)


def packed(body: bytes) -> str:
    """Return the body as `Received.body` keeps it."""
    return base64.b64encode(zlib.compress(body, 1)).decode()


def unpacked(text: str) -> bytes:
    """Return the body, byte for byte."""
    return zlib.decompress(base64.b64decode(text)) if text else b""


def shown_headers(verification: Verification, head: Head) -> dict[str, str]:
    """Return the headers with credentials masked."""
    own = verification.name.lower() if verification.type is SenderStyle.KEY_VALUE else ""
    return {
        name: MASK if name == own or (name not in _PUBLIC_HEADERS and is_credential(name, value)) else value
        for name, value in head.headers.items()
    }


def shown_query(verification: Verification, query: Mapping[str, str]) -> dict[str, str]:
    """Return the query with credentials masked."""
    own = verification.name if verification.type is SenderStyle.KEY_VALUE else None
    return {name: MASK if name == own or is_credential(name, value) else value for name, value in query.items()}


def _json(body: bytes) -> JsonValue:
    """Return the JSON value; None if it is null, or cannot be read."""
    try:
        value: JsonValue = parse(decode(body))
    except DocumentError:
        return None
    return value


def _form(body: bytes) -> JsonValue:
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FORM_FIELDS, errors="strict"
        )
    except ValueError:
        return None
    fields: dict[str, JsonValue] = {}
    for name, value in pairs:
        known = fields.get(name)
        if known is None:
            fields[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            fields[name] = [known, value]
    payload = fields.get(_PAYLOAD)
    if isinstance(payload, str) and isinstance(document := _json(payload.encode()), dict):
        fields[_PAYLOAD] = document
    return fields


def _as_text(body: bytes) -> JsonValue:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = None
    # Control characters take six bytes each in JSON: such a body could become too large to be stored.
    if text is None or characters.CONTROL.search(text.translate({9: None, 10: None, 13: None})):
        return {"body_base64": base64.b64encode(body).decode()}
    return {"body": text}
