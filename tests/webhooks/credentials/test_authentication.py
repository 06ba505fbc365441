from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from webhooks.credentials.authentication import (
    MODES,
    Authentication,
    ClientCredentials,
    KeyValuePair,
    NoAuthentication,
    Password,
    header_of,
)

MODE: TypeAdapter[Authentication] = TypeAdapter(Authentication)

NONE = {"type": "None"}
KEY = {"type": "Key Value Pair", "name": "X-Api-Key", "value": "canary"}
CLIENT = {
    "type": "OAuth 2.0 Client Credentials",
    "token_url": "https://login.example/token",
    "client_id": "billing",
    "client_secret": "canary",
}
USER = CLIENT | {"type": "OAuth 2.0 Password", "username": "jane", "password": "canary-2"}


def refused(document: object) -> list[tuple[str, str]]:
    """Where and why; the messages are what a caller is shown."""
    with pytest.raises(ValidationError) as caught:
        MODE.validate_python(document)
    errors = caught.value.errors(include_input=False, include_url=False)
    assert "canary" not in str([error["msg"] for error in errors])
    return [(".".join(map(str, error["loc"][1:])), error["msg"]) for error in errors]


@pytest.mark.parametrize(
    ("document", "expected"),
    [(NONE, NoAuthentication), (KEY, KeyValuePair), (CLIENT, ClientCredentials), (USER, Password)],
)
def test_each_mode_goes_by_its_name(document: dict[str, Any], expected: type) -> None:
    mode = MODE.validate_python(document)

    assert type(mode) is expected
    assert mode == MODE.validate_json(MODE.dump_json(mode, by_alias=True))


def test_there_are_the_four_modes_of_logisense_and_no_other() -> None:
    expected = {"OAuth 2.0 Password", "Key Value Pair", "None", "OAuth 2.0 Client Credentials"}

    assert expected == set(MODES) == set(MODE.json_schema()["discriminator"]["mapping"])


@pytest.mark.parametrize("name", ["none", "NONE", "", "None ", "Basic", "OAuth 2.0", "Key Value pair", None, 1, True])
def test_another_name_is_refused(name: object) -> None:
    assert refused(KEY | {"type": name})


@pytest.mark.parametrize("document", [{}, None, "None", [], {"name": "X-Api-Key", "value": "canary"}])
def test_what_names_no_mode_is_refused(document: object) -> None:
    assert refused(document)


def test_what_is_left_out_has_its_default() -> None:
    key, client = MODE.validate_python(KEY), MODE.validate_python(CLIENT)

    assert key.model_dump(by_alias=True) == KEY | {"in": "header"}
    assert client.model_dump() == CLIENT | {
        "client_authentication": "header",
        "scope": "",
        "audience": "",
        "parameters": {},
    }


@pytest.mark.parametrize(
    "document",
    [
        KEY | {"in": "header", "name": "Authorization", "value": "Basic dXNlcjpwYXNz"},
        KEY | {"in": "query", "name": "api key", "value": " any visible text "},
        KEY | {"in": "query", "name": "content-type"},  # reserved among headers alone
        KEY | {"in": "query", "name": "webhook-id"},
        CLIENT | {"client_authentication": "body", "scope": "orders:read orders:write", "audience": "https://api/"},
        CLIENT | {"parameters": {"resource": "urn:orders", "client_assertion": "größer"}},
        CLIENT | {"parameters": {f"p{number}": "x" for number in range(20)}},
        USER | {"username": "Jürgen", "password": "pass wörd"},
    ],
)
def test_what_receivers_ask_for_is_accepted(document: dict[str, Any]) -> None:
    MODE.validate_python(document)


@pytest.mark.parametrize(
    ("document", "place", "message"),
    [
        (NONE | {"value": "x"}, "value", "Extra inputs"),
        (KEY | {"header": "x"}, "header", "Extra inputs"),
        (KEY | {"place": "query"}, "place", "Extra inputs"),
        (CLIENT | {"password": "canary"}, "password", "Extra inputs"),
        (CLIENT | {"username": "jane"}, "username", "Extra inputs"),
        ({"type": "Key Value Pair", "name": "X-Api-Key"}, "value", "required"),
        ({"type": "Key Value Pair", "value": "canary"}, "name", "required"),
        ({"type": "OAuth 2.0 Password"}, "token_url", "required"),
        ({**CLIENT, "type": "OAuth 2.0 Password"}, "username", "required"),
        (KEY | {"in": "body"}, "in", "'header' or 'query'"),
        (KEY | {"value": 1}, "value", "valid string"),
        (CLIENT | {"client_authentication": "private_key_jwt"}, "client_authentication", "'header' or 'body'"),
        # nothing breaks out of its line
        (KEY | {"value": "canary\r\nX-Injected: 1"}, "value", "character 7 is U+000D"),
        (KEY | {"value": "canary\n"}, "value", "character 7 is U+000A"),
        (KEY | {"value": "canary\0"}, "value", "character 7 is U+0000"),
        (KEY | {"value": ""}, "value", "at least 1"),
        (KEY | {"value": "x" * 8193}, "value", "at most 8192"),
        (KEY | {"value": "canary é"}, "value", "character 8 is U+00E9"),
        (KEY | {"value": "canary "}, "", "value of header X-Api-Key"),
        (KEY | {"name": "X-Key\r\nX-Injected"}, "name", "pattern"),
        (KEY | {"in": "query", "name": "key\n"}, "name", "pattern"),
        (KEY | {"name": ""}, "name", "pattern"),
        (KEY | {"name": "X Key"}, "", "a header name is a token"),
        (KEY | {"name": "X-Key:"}, "", "a header name is a token"),
        (USER | {"username": "jane\n"}, "username", "pattern"),
        (USER | {"password": "canary\r"}, "password", "pattern"),
        (USER | {"password": ""}, "password", "pattern"),
        (CLIENT | {"client_id": "bill\ning"}, "client_id", "character 5 is U+000A"),
        (CLIENT | {"client_secret": ""}, "client_secret", "at least 1"),
        (CLIENT | {"scope": 'orders"read'}, "scope", "pattern"),
        (CLIENT | {"scope": "orders\\read"}, "scope", "pattern"),
        (CLIENT | {"scope": "orders\n"}, "scope", "pattern"),
        (CLIENT | {"audience": "https://api/\n"}, "audience", "pattern"),
        (CLIENT | {"token_url": ""}, "token_url", "at least 1"),
        (CLIENT | {"token_url": "https://" + "x" * 2041}, "token_url", "at most 2048"),
        (CLIENT | {"parameters": {"resource": "a\nb"}}, "parameters.resource", "pattern"),
        (CLIENT | {"parameters": {"": "x"}}, "parameters..[key]", "at least 1"),
        (CLIENT | {"parameters": {f"p{number}": "x" for number in range(21)}}, "parameters", "at most 20"),
        # what the platform sets
        (KEY | {"name": "Content-Type"}, "", "set by the platform"),
        (KEY | {"name": "HOST"}, "", "set by the platform"),
        (KEY | {"name": "Webhook-Signature"}, "", "set by the platform"),
        (KEY | {"name": "X-Hub-Signature-256"}, "", "set by the platform"),
    ],
)
def test_a_bad_field_is_refused_by_its_place(document: dict[str, Any], place: str, message: str) -> None:
    errors = dict(refused(document))

    assert message in errors[place]


@pytest.mark.parametrize(
    "name", ["grant_type", "scope", "audience", "client_id", "client_secret", "username", "password"]
)
@pytest.mark.parametrize("document", [CLIENT, USER], ids=lambda document: document["type"])
def test_a_parameter_that_has_its_own_field_is_refused(document: dict[str, Any], name: str) -> None:
    [(place, message)] = refused(document | {"parameters": {"resource": "x", name: "canary"}})

    assert (place, f"the parameter {name} has a field of its own" in message) == ("", True)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (NONE, None),
        (KEY, "x-api-key"),
        (KEY | {"name": "Authorization"}, "authorization"),
        (KEY | {"in": "query"}, None),
        (CLIENT, "authorization"),
        (USER, "authorization"),
    ],
)
def test_which_header_a_mode_sets(document: dict[str, Any], expected: str | None) -> None:
    assert expected == header_of(MODE.validate_python(document))


def test_a_mode_does_not_change() -> None:
    mode = KeyValuePair.model_validate(KEY)

    with pytest.raises(ValidationError, match="frozen"):
        mode.value = "x"  # type: ignore[misc]
