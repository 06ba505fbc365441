import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhooks.credentials import MASK, blot_out, is_credential, masked, secrets_of, unmasked

HEADERS = {
    "Authorization": "Bearer webhook-token",
    "X-Api-Key": "k-1234",
    "X-Trace": "Basic dXNlcjpwYXNz",
    "X-Custom-Header": "logiwa-webhook",
    "X-Pin-Token": "123",
}


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


def test_a_masked_value_sent_back_stands_for_the_stored_one() -> None:
    sent = {"Authorization": MASK, "X-Api-Key": "k-new", "X-Custom-Header": "changed", "X-Unknown": MASK}
    expected = sent | {"Authorization": "Bearer webhook-token"}

    assert expected == unmasked(sent, HEADERS)


@given(st.dictionaries(st.text(min_size=1) | st.sampled_from(list(HEADERS)), st.text() | st.just(MASK)))
@settings(deadline=None)
def test_reading_and_sending_back_changes_nothing(headers: dict[str, str]) -> None:
    assert headers == unmasked(masked(headers), headers)


def test_secrets_are_the_credentials_with_and_without_scheme_longest_first_and_no_short_ones() -> None:
    expected = ["Bearer webhook-token", "Basic dXNlcjpwYXNz", "webhook-token", "dXNlcjpwYXNz", "k-1234"]

    assert expected == secrets_of(HEADERS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("you sent Bearer webhook-token and k-1234", f"you sent {MASK} and {MASK}"),
        ('{"token": "webhook-token", "basic": "dXNlcjpwYXNz"}', f'{{"token": "{MASK}", "basic": "{MASK}"}}'),
        ("k-1234k-1234", MASK * 2),
        ("pin 123 of logiwa-webhook", "pin 123 of logiwa-webhook"),
        ("", ""),
    ],
)
def test_an_echoed_secret_is_blotted_out(text: str, expected: str) -> None:
    assert expected == blot_out(text, secrets_of(HEADERS))


def test_of_secrets_within_one_another_nothing_is_left_over() -> None:
    secrets = secrets_of({"X-Key-A": "abcd", "X-Key-B": "abcdefgh"})

    assert blot_out("<abcdefgh> <abcd>", secrets) == f"<{MASK}> <{MASK}>"


def test_a_secret_that_the_end_cuts_off_is_blotted_out() -> None:
    assert blot_out("you sent webhook-to", ["webhook-token"], cut=True) == "you sent ********"
    assert blot_out("you sent webhook-to", ["webhook-token"]) == "you sent webhook-to"


def test_a_secret_that_json_escapes_is_blotted_out() -> None:
    assert blot_out('{"key": "say \\"hi\\""}', ['say "hi"']) == '{"key": "********"}'


def test_a_masked_header_keeps_its_value_whatever_its_case() -> None:
    assert unmasked({"authorization": MASK}, {"Authorization": "Bearer x"}) == {"authorization": "Bearer x"}
