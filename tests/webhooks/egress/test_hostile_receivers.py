"""What a receiver can do to its sender, on real sockets: each ends in time with its outcome, keeps no more than 16 KiB,
and leaves the next request to the same origin unharmed."""

import asyncio
import functools
import gzip
import os
import resource
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from tests.support.name_server import NameServer
from tests.support.sockets import (
    LOOPBACK,
    OK,
    Script,
    answering,
    dripping,
    read_request,
    reset,
    serving,
    silence,
    without_end,
)
from webhooks import outcomes
from webhooks.egress.client import MAX_ANSWER_BYTES, Egress

TIMEOUT = 0.7
SLACK = 1.5
"""Seconds that a busy machine may add."""
GROWTH = 48 * 1024 * 1024
"""Bytes that the process may grow by, receiver included: many times less than the smallest flood below."""
BODY = b'{"a":"' + b"x" * 256 * 1024 + b'"}'
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
MiB = 1024 * 1024


class Certificates:
    def __init__(self) -> None:
        ours, theirs = trustme.CA(), trustme.CA()
        now = datetime.now(UTC)
        before, until = now - timedelta(days=2), now - timedelta(days=1)
        self.authority = ours.cert_pem
        self.good = _context(ours.issue_cert("127.0.0.1"))
        self.expired = _context(ours.issue_cert("127.0.0.1", not_before=before, not_after=until))
        self.of_another_host = _context(ours.issue_cert("receiver.test"))
        self.of_nobody = _context(theirs.issue_cert("127.0.0.1"))


def _context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


class Mode(NamedTuple):
    name: str
    script: Script
    outcome: str | tuple[str, ...] = outcomes.DELIVERED
    tls: str | None = None
    """Which of the certificates it speaks TLS with; "none" speaks none where TLS was asked for."""

    @property
    def is_flood(self) -> bool:
        return self.name.startswith("endless") or self.name.endswith("again and again")


async def raw_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes under the TLS, which no TLS has made."""
    os.write(writer.get_extra_info("socket").fileno(), b"\x17\x03\x03\x00\x05nonsense" * 20)
    await reader.read(-1)


async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers before it has read the request, and then takes it in."""
    writer.write(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    await reader.read(-1)


async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never reads."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(60)


async def untouched_by_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await reader.read(-1)


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@functools.cache
def compressed(size: int, times: int) -> bytes:
    return gzip.compress(compressed(size, times - 1) if times > 1 else bytes(size), 1)


def gzipped(size: int, times: int) -> bytes:
    body = compressed(size, times)
    encoding = b", ".join([b"gzip"] * times)
    return HEAD + b"content-encoding: %s\r\ncontent-length: %d\r\n\r\n" % (encoding, len(body)) + body


ENDLESS = (outcomes.TIMEOUT, outcomes.PROTOCOL_ERROR)
"""Whichever comes first, the deadline or the bound of what is read."""
MODES = [
    # slow
    Mode("silence", silence, outcomes.TIMEOUT),
    Mode("head byte by byte", answering(HEAD, then=dripping(b"a: b\r\n" * 99)), outcomes.TIMEOUT),
    Mode("body byte by byte", answering(HEAD + b"\r\n", then=dripping(b"x" * 999))),
    Mode("100 again and again", answering(b"", then=without_end(b"HTTP/1.1 100 Continue\r\n\r\n" * 99)), ENDLESS),
    Mode("103 again and again", answering(b"", then=without_end(b"HTTP/1.1 103 Hints\r\n\r\n" * 99)), ENDLESS),
    Mode(
        "chunks of a byte each",
        answering(HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 16_383 + b"0\r\n\r\n"),
    ),
    Mode("100 and no more", answering(b"HTTP/1.1 100 Continue\r\n\r\n", then=silence), outcomes.TIMEOUT),
    Mode("never reads the request", deaf, outcomes.TIMEOUT),
    Mode("200 that never ends", answering(HEAD + b"\r\n", then=silence)),
    # large
    Mode("endless body", answering(HEAD + b"\r\n", then=without_end(b"x" * 65_536))),
    Mode("endless chunks", answering(CHUNKED, then=without_end(b"1000\r\n" + b"x" * 4096 + b"\r\n"))),
    Mode("gzip bomb", answering(gzipped(200 * MiB, 1))),
    Mode("gzip bomb in a gzip bomb", answering(gzipped(200 * MiB, 2))),
    Mode("gzip two thousand times", answering(HEAD + b"content-encoding: " + b"gzip, " * 2000 + b"\r\n\r\nx")),
    Mode("header of 20 MB", answering(HEAD + b"a: " + b"x" * 20 * MiB)),
    Mode("endless headers", answering(HEAD, then=without_end(b"a: b\r\n" * 99))),
    Mode("endless chunk extension", answering(CHUNKED + b"1;", then=without_end(b"x" * 4096))),
    Mode("endless trailers", answering(CHUNKED + b"0\r\n", then=without_end(b"a: b\r\n" * 99))),
    # malformed
    Mode("garbage for a chunk", answering(CHUNKED + b"5\r\nhello\r\nzz\r\n")),
    Mode("two lengths", answering(HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n")),
    Mode("negative length", answering(HEAD + b"content-length: -1\r\n\r\n")),
    Mode("length of 30 digits", answering(HEAD + b"content-length: " + b"9" * 30 + b"\r\n\r\n")),
    Mode("length beyond all memory", answering(HEAD + b"content-length: " + b"9" * 18 + b"\r\n\r\nx")),
    Mode("NUL in a header", answering(HEAD + b"a: b\0c\r\n\r\n")),
    Mode("CR in a header", answering(HEAD + b"a: b\rc: d\r\n\r\n")),
    Mode("space before the colon", answering(HEAD + b"a : b\r\n\r\n")),
    Mode("status of four digits", answering(b"HTTP/1.1 2000 OK\r\n\r\n"), outcomes.PROTOCOL_ERROR),
    Mode("status 099", answering(b"HTTP/1.1 099 Odd\r\n\r\n"), outcomes.PROTOCOL_ERROR),
    Mode("101", answering(b"HTTP/1.1 101 Up\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), outcomes.PROTOCOL_ERROR),
    Mode("TLS alert without TLS", answering(b"\x15\x03\x01\x00\x02\x02\x46"), outcomes.PROTOCOL_ERROR),
    Mode("HTTP/0.9", answering(b"hello\n"), outcomes.PROTOCOL_ERROR),
    Mode("HTTP/2", answering(b"HTTP/2 200 OK\r\n\r\n"), outcomes.PROTOCOL_ERROR),
    Mode("another protocol", answering(b"SSH-2.0-OpenSSH_9\r\n\r\n"), outcomes.PROTOCOL_ERROR),
    # a header that cannot be read behind a status that can
    Mode("space in a name", answering(HEAD + b"X Request Id: 7\r\ncontent-length: 2\r\n\r\nok")),
    Mode("space in a name of a 503", answering(b"HTTP/1.1 503 No\r\nX Y: 7\r\ncontent-length: 0\r\n\r\n"), "http_503"),
    Mode("no name", answering(HEAD + b": 7\r\ncontent-length: 0\r\n\r\n"), tls="good"),
    Mode("no colon", answering(HEAD + b"hello\r\ncontent-length: 0\r\n\r\n", then=silence)),
    Mode("continues nothing", answering(HEAD + b" a: b\r\ncontent-length: 0\r\n\r\n")),
    Mode("name in UTF-8", answering(HEAD + "größe: 1\r\n\r\n".encode(), then=silence)),
    Mode("unknown coding", answering(HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n", then=silence)),
    Mode("control character in the reason", answering(b"HTTP/1.1 200 O\0K\r\ncontent-length: 0\r\n\r\n")),
    Mode("two spaces before the status", answering(b"HTTP/1.1  200 OK\r\ncontent-length: 0\r\n\r\n")),
    Mode("odd interim answer", answering(b"HTTP/1.1 103 Hints\r\na b: c\r\n\r\n" + OK)),
    Mode("HTTP/1.0", answering(b"HTTP/1.0 200 OK\r\nX Y: 7\r\n\r\nbody")),
    Mode("endless odd lines", answering(HEAD, then=without_end(b"a b\r\n" * 99)), tls="good"),
    # odd
    Mode("status 600", answering(b"HTTP/1.1 600 ?\r\ncontent-length: 0\r\n\r\n"), "http_600"),
    Mode("status 999", answering(b"HTTP/1.1 999 ?\r\ncontent-length: 0\r\n\r\n"), "http_999"),
    Mode("no reason", answering(b"HTTP/1.1 500\r\ncontent-length: 0\r\n\r\n"), "http_500"),
    Mode("length and chunks", answering(CHUNKED[:-2] + b"content-length: 3\r\n\r\n0\r\n\r\n")),
    Mode("binary header", answering(HEAD + b"a: \xff\xfe\x80\r\ncontent-length: 0\r\n\r\n")),
    Mode("folded header", answering(HEAD + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n")),
    Mode("bare line feeds", answering(b"HTTP/1.1 200 OK\ncontent-length: 0\n\n")),
    Mode("unknown charset", answering(HEAD + b"content-type: text/plain; charset=\xff\r\ncontent-length: 1\r\n\r\nx")),
    Mode("an answer too many", answering(OK + b"HTTP/1.1 500 Later\r\ncontent-length: 0\r\n\r\n", then=silence)),
    Mode("bytes too many", answering(OK + b"garbage", then=silence)),
    Mode("body of a 204", answering(b"HTTP/1.1 204 No\r\n\r\nbody", then=silence)),
    Mode("cookies and credentials", answering(HEAD + b"set-cookie: a=b\r\nwww-authenticate: Basic\r\n\r\n")),
    Mode("answer before the request is read", early, "http_413"),
    # cut off
    Mode("short of its length", answering(HEAD + b"content-length: 100\r\n\r\nhello")),
    Mode("closed at once", hang_up, outcomes.CONNECTION_RESET),
    Mode("closed after the request", answering(b""), outcomes.CONNECTION_RESET),
    Mode("closed after an interim answer", answering(b"HTTP/1.1 100 Continue\r\n\r\n"), outcomes.CONNECTION_RESET),
    Mode("closed in the status line", answering(b"HTTP/1.1 2"), outcomes.PROTOCOL_ERROR),
    Mode("closed after the status line", answering(HEAD)),
    Mode("closed after the status", answering(b"HTTP/1.1 200")),
    Mode("closed in a header", answering(HEAD + b"content-length: 1")),
    Mode("reset at once", reset, outcomes.CONNECTION_RESET),
    Mode("reset after the request", answering(b"", then=reset), outcomes.CONNECTION_RESET),
    Mode("reset in the head", answering(HEAD, then=reset)),
    Mode("reset in the body", answering(HEAD + b"content-length: 9\r\n\r\nhello", then=reset)),
    # TLS
    Mode("certificate expired", silence, outcomes.TLS_ERROR, tls="expired"),
    Mode("certificate of nobody known", silence, outcomes.TLS_ERROR, tls="of_nobody"),
    Mode("certificate of another host", silence, outcomes.TLS_ERROR, tls="of_another_host"),
    Mode("handshake that stalls", silence, outcomes.TIMEOUT, tls="none"),
    Mode("handshake that is reset", reset, outcomes.CONNECTION_RESET, tls="none"),
    Mode("no TLS where it was asked for", untouched_by_tls, outcomes.TLS_ERROR, tls="none"),
    Mode("garbage under the head", answering(b"", then=raw_garbage), outcomes.TLS_ERROR, tls="good"),
    Mode("garbage under the body", answering(HEAD + b"content-length: 99\r\n\r\nx", then=raw_garbage), tls="good"),
    Mode("cut off without a TLS goodbye", answering(HEAD + b"\r\nhello", then=hang_up), tls="good"),
]


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


@pytest.fixture(scope="module")
async def egress(certificates: Certificates) -> AsyncIterator[Egress]:
    async with NameServer().serving() as names:
        with certificates.authority.tempfile() as bundle:
            egress = Egress(LOOPBACK, resolver=names.resolver(), ca_bundle=Path(bundle))
        yield egress
        await egress.close()


async def well_behaved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_request(reader)
        writer.write(HEAD + b"content-length: 4\r\n\r\nfine")


@pytest.mark.parametrize(
    "mode",
    [
        # a flood takes a whole core until its deadline
        pytest.param(mode, id=mode.name, marks=pytest.mark.quiet if mode.is_flood else ())
        for mode in MODES
    ],
)
async def test_it_ends_in_time_with_its_outcome_and_harms_nothing(
    egress: Egress, certificates: Certificates, mode: Mode
) -> None:
    hostile = True

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = mode.tls and (mode.tls if hostile else "good")
        if tls and tls != "none":
            await writer.start_tls(getattr(certificates, tls))
        await (mode.script if hostile else well_behaved)(reader, writer)

    async with serving(script) as address:
        url = address.replace("http:", "https:") if mode.tls else address
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        answer = await egress.send("acme", "POST", url, {}, BODY, TIMEOUT)
        seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        hostile = False
        next_one = await egress.send("acme", "POST", url, {}, BODY, 10)

    assert answer.outcome in (mode.outcome if isinstance(mode.outcome, tuple) else (mode.outcome,))
    assert seconds < TIMEOUT + SLACK
    assert len(answer.body) <= MAX_ANSWER_BYTES
    assert (after - before) * 1024 < GROWTH
    assert (answer.status_code is None) == (answer.error is not None and not answer.outcome.startswith("http_"))
    assert (next_one.outcome, next_one.body) == (outcomes.DELIVERED, b"fine")


@pytest.mark.parametrize("value", ["a\r\nx-smuggled: 1", "a\nb", "a\rb", "a\0b", "a\r\n\r\nGET / HTTP/1.1\r\n\r\n"])
async def test_a_header_of_ours_that_would_smuggle_another_is_never_sent(egress: Egress, value: str) -> None:
    """The configuration refuses it already; this is the last door."""
    got: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(65_536))
        writer.write(OK)

    async with serving(script) as url:
        answer = await egress.send("acme", "POST", url, {"x-custom": value}, b"{}", TIMEOUT)

    assert answer.status_code is None
    assert got in ([], [b""])
