import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhooks.credentials.header_rules import check_header

RESERVED = """
    Host Content-Length Transfer-Encoding TE Trailer Connection Keep-Alive Upgrade Expect Proxy-Connection
    Traceparent Tracestate
    Proxy-Authorization Proxy-Authenticate Content-Type Content-Encoding Accept-Encoding User-Agent
    Webhook-Id Webhook-Timestamp Webhook-Signature webhook-anything Logto-Signature-SHA-256 X-Hub-Signature-256
""".split()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer webhook-token"),
        ("X-Custom-Header", "logiwa-webhook"),
        ("Cookie", "a=b; c=d"),
        ("x", "!"),
        ("!#$%&'*+.^_`|~0aZ-", "~"),
        ("X" * 128, "v" * 8192),
        ("X-Text", "with spaces\tand a tab"),
        ("X-Webhook-Id", "not ours"),
    ],
)
def test_a_header_that_can_be_sent(name: str, value: str) -> None:
    check_header(name, value)


@pytest.mark.parametrize("name", [*RESERVED, *map(str.upper, RESERVED), *map(str.lower, RESERVED)])
def test_what_the_platform_sets_nobody_else_does(name: str) -> None:
    with pytest.raises(ValueError, match=f"the header {name} is set by the platform"):
        check_header(name, "x")


@pytest.mark.parametrize("name", ["", " ", "X Y", "X:", ":path", "X\r\nY", "X\n", "X\0", "Ünicode", "X(1)", "X" * 129])
def test_what_is_no_header_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a header name is a token"):
        check_header(name, "x")


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        " canary",
        "canary ",
        "canary\t",
        "canary\r\nX-Injected: 1",
        "canary\nX-Injected: 1",
        "canary\r",
        "canary\n",
        "canary\0",
        "canary\x7f",
        "canary é",
        "canary 世",
        "canary" + "x" * 8187,
    ],
)
def test_a_value_that_cannot_be_sent_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(ValueError, match="value of header X-Key") as caught:
        check_header("X-Key", value)

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "has 0 characters; 1 to 8,192 are allowed"),
        ("x" * 9_000, "has 9,000 characters; 1 to 8,192 are allowed"),
        ("café", r"character 4 is U\+00E9"),
        ("a\r\nb", r"character 2 is U\+000D"),
        ("x ", "must not begin or end with a space or tab"),
    ],
)
def test_what_is_wrong_with_a_value_is_named(value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_header("X-Key", value)


@given(
    st.text(max_size=5) | st.text(st.characters(max_codepoint=0x7F), max_size=5),
    st.text(max_size=9) | st.text(st.characters(max_codepoint=0x7F), max_size=9),
)
@settings(deadline=None)
def test_what_is_accepted_goes_over_the_wire_as_it_is(name: str, value: str) -> None:
    try:
        check_header(name, value)
    except ValueError:
        return
    request = h11.Request(method="POST", target="/", headers=[("Host", "example.com"), (name, value)])

    assert request.headers.raw_items()[1:] == [(name.encode(), value.encode())]


def test_a_character_that_no_header_can_have_is_named_and_the_value_is_not() -> None:
    with pytest.raises(ValueError, match=r"; character 2 is U\+0020 \(SPACE\), which is not allowed here$"):
        check_header("X Y", "x")
    with pytest.raises(ValueError, match=r"header X: character 8 is U\+00E9 .*; allowed are printable ASCII") as caught:
        check_header("X", "canary é")

    assert "canary" not in str(caught.value)
