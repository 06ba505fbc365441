import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from webhooks.credentials.authentication import (
    Authentication,
    ClientCredentials,
    KeyValuePair,
    NoAuthentication,
    Password,
)
from webhooks.credentials.masking import MASK, is_credential, masked, masked_authentication, redact
from webhooks.credentials.webhook_secrets import Secrets, SigningKey

HEADERS = {
    "Authorization": "Bearer webhook-token",
    "X-Api-Key": "k-1234",
    "X-Trace": "Basic dXNlcjpwYXNz",
    "X-Custom-Header": "logiwa-webhook",
    "X-Pin-Token": "123",
}
NEW = SigningKey(secret="whsec_bmV3ZXN0", seed="c2VlZA==")
OLD = SigningKey(secret="theirs", seed="b2xkLXNlZWQ=", expires_at=datetime(2026, 1, 1, tzinfo=UTC))

KEY_VALUE = KeyValuePair(type="Key Value Pair", name="X-Pin", value="0815-canary")
CLIENT = ClientCredentials(
    type="OAuth 2.0 Client Credentials",
    token_url="https://login.example/token",
    client_id="billing",
    client_secret="client-canary",
    parameters={"resource": "urn:orders", "assertion_token": "parameter-canary"},
)
USER = Password(
    type="OAuth 2.0 Password",
    token_url="https://login.example/token",
    client_id="billing",
    client_secret="client-canary",
    username="jane",
    password="pass/word canary",
)
MODES: list[Authentication] = [NoAuthentication(), KEY_VALUE, CLIENT, USER]
authentications = pytest.mark.parametrize("authentication", MODES, ids=lambda mode: mode.type)


def secrets_of(headers: dict[str, str], authentication: Authentication = MODES[0]) -> Secrets:
    return Secrets(signing=[NEW, OLD], headers=headers, authentication=authentication)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("Authorization", "x", True),
        ("X-AUTH-CODE", "x", True),
        ("x-api-key", "x", True),
        ("ApiKey", "x", True),
        ("Cookie", "a=b", True),
        ("X-Client-Secret", "x", True),
        ("X-Password", "x", True),
        ("X-Db-Pwd", "x", True),
        ("X-Session-Id", "x", True),
        ("X-Hub-Signature", "x", True),
        ("X-JWT", "x", True),
        ("X-Anything", "Bearer abc", True),
        ("X-Anything", "basic dXNlcjpwYXNz", True),
        ("X-Anything", "Digest username=x", True),
        ("X-Anything", "a1" * 12, True),
        ("X-Anything", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", True),
        ("X-Anything", "a1" * 11 + "a", False),
        ("X-Anything", "a" * 40, False),
        ("X-Anything", "1" * 40, False),
        ("X-Anything", "bearer", False),
        ("X-Anything", "the bearer of this", False),
        ("X-Custom-Header", "logiwa-webhook", False),
        ("Content-Language", "de-AT", False),
        ("X-Environment", "production of 2026, in the north", False),
    ],
)
def test_what_looks_like_a_credential(name: str, value: str, expected: bool) -> None:
    assert expected == is_credential(name, value)


def test_credentials_are_masked_and_other_headers_shown() -> None:
    expected = dict.fromkeys(HEADERS, MASK) | {"X-Custom-Header": "logiwa-webhook"}

    assert expected == masked(HEADERS)


@pytest.mark.parametrize(
    ("authentication", "expected"),
    [
        (NoAuthentication(), {"type": "None"}),
        (KEY_VALUE, {"type": "Key Value Pair", "name": "X-Pin", "value": MASK, "in": "header"}),
        (
            CLIENT,
            {
                "type": "OAuth 2.0 Client Credentials",
                "token_url": "https://login.example/token",
                "client_id": "billing",
                "client_secret": MASK,
                "client_authentication": "header",
                "scope": "",
                "audience": "",
                "parameters": {"resource": "urn:orders", "assertion_token": MASK},
            },
        ),
        (
            USER,
            {
                "type": "OAuth 2.0 Password",
                "token_url": "https://login.example/token",
                "client_id": "billing",
                "client_secret": MASK,
                "client_authentication": "header",
                "scope": "",
                "audience": "",
                "parameters": {},
                "username": "jane",
                "password": MASK,
            },
        ),
    ],
    ids=[mode.type for mode in MODES],
)
def test_an_authentication_is_shown_without_its_secrets(
    authentication: Authentication, expected: dict[str, object]
) -> None:
    document = masked_authentication(authentication)

    assert expected == document
    assert TypeAdapter(Authentication).validate_python(document).type == authentication.type  # can be sent back


@authentications
def test_secrets_survive_their_json_and_are_not_in_their_repr(authentication: Authentication) -> None:
    secrets = secrets_of(HEADERS, authentication)

    assert secrets == Secrets.model_validate_json(secrets.model_dump_json(by_alias=True))
    assert [value for value in secrets.values() if value in repr(secrets) + str(secrets)] == []


def test_there_is_always_a_key_to_sign_with() -> None:
    with pytest.raises(ValidationError):
        Secrets(signing=[])


@pytest.mark.parametrize(
    ("after", "expected"),
    [(-1.0, [NEW, OLD]), (-0.001, [NEW, OLD]), (0.0, [NEW]), (86_400.0, [NEW])],
)
def test_a_replaced_key_signs_until_it_expires(after: float, expected: list[SigningKey]) -> None:
    assert OLD.expires_at is not None
    assert expected == secrets_of({}).signing_keys(OLD.expires_at + timedelta(seconds=after))


@pytest.mark.parametrize(
    ("authentication", "expected"),
    [
        (NoAuthentication(), set()),
        (KEY_VALUE, {"0815-canary"}),
        (CLIENT, {"client-canary", "parameter-canary"}),
        (USER, {"client-canary", "pass/word canary", "pass%2Fword%20canary"}),
    ],
    ids=[mode.type for mode in MODES],
)
def test_the_values_of_secrets_are_all_of_them_longest_first_and_no_short_ones(
    authentication: Authentication, expected: set[str]
) -> None:
    values = secrets_of(HEADERS, authentication).values()
    of_keys = {"bmV3ZXN0", "c2VlZA==", "c2VlZA%3D%3D", "theirs", "b2xkLXNlZWQ=", "b2xkLXNlZWQ%3D"}
    of_headers = {
        "Bearer webhook-token", "Bearer%20webhook-token", "webhook-token",
        "Basic dXNlcjpwYXNz", "Basic%20dXNlcjpwYXNz", "dXNlcjpwYXNz", "k-1234",
    }  # fmt: skip

    assert of_keys | of_headers | expected == set(values)
    assert len(set(values)) == len(values)
    assert values == sorted(values, key=len, reverse=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("you sent Bearer webhook-token and k-1234", f"you sent {MASK} and {MASK}"),
        ('{"token": "webhook-token", "basic": "dXNlcjpwYXNz"}', f'{{"token": "{MASK}", "basic": "{MASK}"}}'),
        ("k-1234k-1234", MASK * 2),
        ("GET /hook?key=pass%2Fword%20canary HTTP/1.1", f"GET /hook?key={MASK} HTTP/1.1"),
        ("whsec_bmV3ZXN0, with or without bmV3ZXN0", f"whsec_{MASK}, with or without {MASK}"),
        ("pin 123 of logiwa-webhook", "pin 123 of logiwa-webhook"),
        ("", ""),
    ],
)
def test_an_echoed_secret_is_redacted(text: str, expected: str) -> None:
    assert expected == redact(text, secrets_of(HEADERS, USER).values())


def test_of_secrets_within_one_another_nothing_is_left_over() -> None:
    secrets = secrets_of({"X-Key-A": "abcd", "X-Key-B": "abcdefgh"}).values()

    assert redact("<abcdefgh> <abcd>", secrets) == f"<{MASK}> <{MASK}>"


def test_a_secret_that_the_end_cuts_off_is_redacted() -> None:
    assert redact("you sent webhook-to", ["webhook-token"], cut=True) == "you sent ********"
    assert redact("you sent webhook-to", ["webhook-token"]) == "you sent webhook-to"


def test_a_secret_that_json_escapes_is_redacted() -> None:
    assert redact('{"key": "say \\"hi\\""}', ['say "hi"']) == '{"key": "********"}'


VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_characters="*\x7f"), min_size=4)


def test_a_cut_off_secret_is_redacted_from_its_beginning_whatever_its_other_spellings() -> None:
    """The end also looks like the beginning of the secret as JSON writes it with an escaped slash."""
    secret = "0\x80/\x80\x88"

    assert redact("<0\\u0080/\\u0080\\u0", [secret], cut=True) == "<********"


@given(VISIBLE, st.data())
@settings(deadline=None)
def test_wherever_an_echo_is_cut_no_more_than_three_characters_of_a_secret_remain(
    password: str, data: st.DataObject
) -> None:
    secrets = secrets_of({}, USER.model_copy(update={"password": password})).values()
    written = data.draw(st.sampled_from([password, json.dumps(password)[1:-1], quote(password, safe="")]))
    cut = data.draw(st.integers(4, len(written)))

    assert written[:4] not in redact(f"<{written[:cut]}", secrets, cut=True)


@pytest.mark.parametrize(
    "echo",
    [
        r'"hdr\/SECRET\/a+b<c>"',
        r'"hdr/SECRET/a\u002Bb\u003Cc\u003E"',
        "<p>hdr/SECRET/a+b&lt;c&gt;</p>",
    ],
    ids=["PHP", ".NET", "HTML"],
)
def test_other_people_s_escaping_hides_nothing(echo: str) -> None:
    assert "SECRET" not in redact(echo, ["hdr/SECRET/a+b<c>"])


def test_a_cut_answer_and_long_secrets_take_no_time() -> None:
    """Quadratic, this would take minutes."""
    secrets = [f"{n}{'😀' * 4_000}" for n in range(70)]

    assert redact("x" * 16_000 + secrets[3][:100], secrets, cut=True).endswith("x********")
