"""Heads as h11 gets them: as they came where it reads them, and repaired where the status can be read."""

import time

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.egress import answer_heads

OK = b"HTTP/1.1 200 OK\r\n"
LINES = [
    b"a: b", b"a:b", b"a: ", b"a:", b"a b: c", b"a : b", b": b", b"hello", b" folded", b"\tfolded", b" ", b"a: \xff",
    b"\xff: a", b"a: b\0", b"a: b\rc", b"a: b\x0b", b"content-length: 1", b"Content-Length: 1, 1", b"content-length: 2",
    b"content-length: -1", b"content-length: 1 ", b"content-length:", b"content-length: 123456789012345678901",
    b"transfer-encoding: chunked", b"Transfer-Encoding: CHUNKED ", b"transfer-encoding: gzip", b"retry-after: 7",
]  # fmt: skip
READABLE = [
    b"HTTP/1.1 200 OK", b"HTTP/1.0 200", b"HTTP/1.1 200 ", b"HTTP/1.1 503 \xff", b"HTTP/1.1 200 O\0K", b"HTTP/1.1 999 ",
    b"HTTP/1.1  200 OK", b"HTTP/1.1 200\tOK",
]  # fmt: skip
UNREADABLE = [
    b"HTTP/1.1 099 A", b"HTTP/1.1 2000 OK", b"HTTP/2 200 OK", b"HTTP/1.1 101 Up", b"HTTP/1.1 200OK", b"http/1.1 200 OK",
    b"hello", b"",
]  # fmt: skip


def read_by_h11(head: bytes) -> h11.Response:
    """Raises h11.RemoteProtocolError."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Response)
    return event


@given(
    st.sampled_from(READABLE + UNREADABLE),
    st.lists(st.sampled_from(LINES), max_size=4),
    st.sampled_from([b"\r\n", b"\n"]),
)
def test_what_is_passed_on_is_what_h11_reads_and_a_readable_status_always_is(
    status_line: bytes, lines: list[bytes], newline: bytes
) -> None:
    head = newline.join([status_line, *lines, b"", b""])
    head = head[: answer_heads.end(head, 0)]
    for_h11, has_body = answer_heads.readable(head)
    try:
        as_it_came: h11.Response | None = read_by_h11(head)
    except h11.RemoteProtocolError:
        as_it_came = None

    if for_h11 != head:
        assert as_it_came is None
        response = read_by_h11(for_h11)
        assert response.status_code in (200, 503, 999)
        assert (b"connection", b"close") in response.headers
        assert has_body == any(name in (b"content-length", b"transfer-encoding") for name, _ in response.headers)
    assert (as_it_came is not None or for_h11 != head) == (status_line in READABLE)


@pytest.mark.parametrize("name", ["retry-after", "Retry-After", "content-encoding", "content-type"])
def test_of_an_odd_head_what_is_used_stays(name: str) -> None:
    head = OK + f"{name}: gzip\r\nX Request Id: 7\r\ncontent-length: 2\r\n\r\n".encode()

    for_h11, has_body = answer_heads.readable(head)
    assert has_body
    assert dict(read_by_h11(for_h11).headers) == {
        name.lower().encode(): b"gzip",
        b"content-length": b"2",
        b"connection": b"close",
    }


def test_a_folded_line_that_is_used_stays_whole() -> None:
    for_h11, _ = answer_heads.readable(OK + b"a b: c\r\nretry-after: Wed,\r\n 21 Oct 2026\r\n\r\n")

    assert dict(read_by_h11(for_h11).headers)[b"retry-after"] == b"Wed, 21 Oct 2026"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HTTP/1.1 200 OK", 200),
        (b"HTTP/1.1 200", 200),
        (b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-le", 503),
        (b"HTTP/1.1 20", None),
        (b"HTTP/1.1 100 Continue\r\n", None),
        (b"hello", None),
        (b"", None),
    ],
)
def test_of_a_head_that_is_cut_off_the_status_stays(head: bytes, status: int | None) -> None:
    for_h11 = answer_heads.cut_off(head)

    assert (read_by_h11(for_h11).status_code if for_h11 else None) == status
    assert for_h11 is None or (b"retry-after: 7" in for_h11) == (b"retry-after" in head)


def test_an_end_is_found_wherever_the_pieces_are_cut() -> None:
    whole = OK + b"a: b\r\n\r\n"
    for cut in range(1, len(whole)):
        assert answer_heads.end(whole[:cut], 0) is None
        assert answer_heads.end(whole, cut) == len(whole)


@pytest.mark.parametrize(
    "flood",
    [
        b"a:b\n",
        b"a\n",
        b"content-length: " + b" " * 500 + b"x" * 500 + b"\n",
        b"a:" + b" \t" * 5_000 + b"\n",
        b" \n",
        b"\r",
    ],
)
def test_the_time_for_a_head_grows_with_its_length_only(flood: bytes) -> None:
    head = OK + (flood * (100 * 1024 // len(flood)))
    started = time.process_time()
    answer_heads.readable(head + b"\0\r\n\r\n")
    answer_heads.cut_off(head)

    assert time.process_time() - started < 0.5
