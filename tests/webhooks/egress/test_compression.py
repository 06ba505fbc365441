"""Bodies that a receiver compressed although nobody asked for it."""

import gzip
import os
import zlib

import pytest

from webhooks.egress.compression import readable

TEXT = b'{"error": "no such order"}'
BOMB = bytes(10_000_000)


def raw_deflate(data: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(data) + packing.flush()


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("GZIP", gzip.compress(TEXT, mtime=0)),
        ("identity, gzip", gzip.compress(TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
    ],
)
def test_it_is_unpacked(encoding: str, content: bytes) -> None:
    assert readable(content, True, encoding, 1000) == (TEXT, True)
    assert readable(content, False, encoding, 1000) == (TEXT, False)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_is_cut_off_is_unpacked_as_far_as_it_goes(encoding: str) -> None:
    long = b"".join(b"%d, " % n for n in range(10_000))
    content = gzip.compress(long) if encoding == "gzip" else zlib.compress(long)
    text, complete = readable(content[: len(content) // 2], False, encoding, 16_384)

    assert len(text) > 1000
    assert long.startswith(text)
    assert not complete


@pytest.mark.parametrize("content", [gzip.compress(BOMB), zlib.compress(BOMB), raw_deflate(BOMB)])
def test_a_bomb_stays_within_the_limit(content: bytes) -> None:
    encoding = "gzip" if content[:2] == b"\x1f\x8b" else "deflate"

    assert readable(content, True, encoding, 16_384) == (bytes(16_384), False)


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("br", b"\x0b\x00\x80ok\x03"),
        ("zstd", b"\x28\xb5\x2f\xfd\x04\x00"),
        ("gzip, gzip", gzip.compress(gzip.compress(TEXT, mtime=0), mtime=0)),
        ("gzip", b"\x1f\x8b" + bytes(20)),
        ("deflate", b"\xff\xfe" * 20),
        ("gzip", os.urandom(200) + b"\xff"),
    ],
)
def test_what_cannot_be_unpacked_becomes_a_note(encoding: str, content: bytes) -> None:
    name = encoding.rpartition(", ")[2]

    assert readable(content, True, encoding, 1000) == (f"compressed, {len(content)} bytes ({name})".encode(), True)
    assert readable(content, False, encoding, 1000)[0] == (
        f"compressed, more than {len(content)} bytes ({name})".encode()
    )


@pytest.mark.parametrize(
    "encoding", ["", "identity", "utf-8", "none", "\xff", "gzip", "br", "deflate", "gzip, " * 2000]
)
@pytest.mark.parametrize("content", [TEXT, "größe".encode(), "größe".encode()[:4], b""])
def test_text_stays_whatever_its_encoding_is_called(encoding: str, content: bytes) -> None:
    assert readable(content, True, encoding, 1000) == (content, True)


def test_bytes_that_nobody_calls_compressed_stay() -> None:
    assert readable(b"\x1f\x8b\xff", True, "", 1000) == (b"\x1f\x8b\xff", True)
