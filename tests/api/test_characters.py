"""Which characters the fields of the API take."""

from typing import Any

import pytest

from webhooks import characters
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver

ORDINARY = ["山田\u3000太郎", "Müller\u00a0GmbH", "👩\u200d👧", "a\u2028b"]


@pytest.mark.parametrize("text", ORDINARY)
async def test_ordinary_text_can_be_published_and_found(
    platform: PlatformProcess, receiver: Receiver, path: str, text: str
) -> None:
    event = await platform.event(description=text)
    await platform.webhook(event, receiver.url(path), name=text, allowedClientIdentifiers=[text])
    id = await platform.delivery(await platform.publish(event, client_identifier=text, owner_id=text, user_id=text))
    delivery = await platform.wait(id, "delivered")

    assert delivery["client_identifier"] == text


@pytest.mark.parametrize(
    ("path", "body", "pointer", "detail"),
    [
        ("/v1/occurrences", {"client_identifier": "ab\nc"}, "/client_identifier", "character 3 is U+000A"),
        ("/v1/occurrences", {"id": "a.b"}, "/id", "character 2 is U+002E (FULL STOP), which is not allowed here; all"),
        ("/v1/occurrences", {"id": "x" * 129}, "/id", "must have 1 to 128 characters, and has 129"),
        ("/v1/events", {"key": "Größe"}, "/key", "character 3 is U+00F6 (LATIN SMALL LETTER O WITH DIAERESIS)"),
        (
            "/v1/events",
            {"key": "A", "description": "a\0"},
            "/description",
            "character 2 is U+0000 (a control character)",
        ),
        ("/v1/webhooks", {"name": "a\tb"}, "/name", "character 2 is U+0009 (a control character)"),
        (
            "/v1/webhooks",
            {"headers": {"X-A": "canary é"}},
            "/headers/X-A",
            "the value of header X-A: character 8 is U+00E9",
        ),
        ("/v1/webhooks", {"signing_secret": "canary-canary-ü"}, "/signing_secret", "character 15 is U+00FC"),
        (
            "/v1/webhooks",
            {"authentication": {"type": "Key Value Pair", "name": "X", "value": "canary\u00a0x"}},
            "/authentication/value",
            "character 7 is U+00A0 (NO-BREAK SPACE)",
        ),
    ],
)
async def test_a_refused_character_is_named_and_the_rest_is_not_repeated(
    platform: PlatformProcess, path: str, body: dict[str, Any], pointer: str, detail: str
) -> None:
    basis: dict[str, dict[str, Any]] = {
        "/v1/occurrences": {"event": "E", "data": 1},
        "/v1/events": {},
        "/v1/webhooks": {"url": "https://api.example.com/", "allowedClientIdentifiers": []},
    }
    problem = await platform.post(path, {**basis[path], **body}, expect=422)
    [error] = problem["errors"]

    assert error["pointer"] == pointer
    assert error["detail"].startswith(detail)
    assert "canary" not in str(problem)


async def test_a_patch_names_the_character_too(platform: PlatformProcess, receiver: Receiver, path: str) -> None:
    webhook = await platform.webhook(await platform.event(), receiver.url(path))
    body = {"description": "ok", "signing_secret": None}
    problem = await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", {**body, "description": "a\0"}, expect=422)

    assert "character 2 is U+0000" in str(problem)


async def test_the_pattern_of_every_field_has_a_shape_that_can_be_explained(platform: PlatformProcess) -> None:
    found = set(patterns(await platform.get("/openapi.json")))

    assert found
    assert [pattern for pattern in found if "does not match" in characters.mismatch(pattern, "")] == []


def patterns(schema: object) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
        return own + [pattern for value in schema.values() for pattern in patterns(value)]
    return [pattern for value in schema for pattern in patterns(value)] if isinstance(schema, list) else []
