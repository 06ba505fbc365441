"""Bodies of answers that are compressed although we asked for none, made readable within a limit. Pure."""

import codecs
import contextlib
import re
import zlib

_GZIP = ("gzip", "x-gzip")
_DEFLATE = "deflate"
_OTHERS = ("br", "zstd", "compress", "x-compress", "dcb", "dcz")
"""Compressions of IANA's registry that we do not undo."""
_GZIP_HEADER = 16 + zlib.MAX_WBITS
_NO_HEADER = -zlib.MAX_WBITS
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")


def readable(content: bytes, complete: bool, encoding: str, limit: int) -> tuple[bytes, bool]:
    """Return what a compressed body contains, at most `limit` bytes, and whether this is all of it. `complete` says
    whether `content` is the whole body, `encoding` is its Content-Encoding. A body that cannot be unpacked becomes a
    note, unless it is text: some servers name an encoding and do not use it."""
    encodings = [part for part in _TOKEN.findall(encoding.lower()) if part in (*_GZIP, _DEFLATE, *_OTHERS)]
    if not encodings or _is_text(content):
        return content, complete
    if len(encodings) == 1 and encodings[0] not in _OTHERS:
        for bits in [_GZIP_HEADER] if encodings[0] in _GZIP else [zlib.MAX_WBITS, _NO_HEADER]:
            unpacking = zlib.decompressobj(bits)
            with contextlib.suppress(zlib.error):
                return unpacking.decompress(content, limit), complete and unpacking.eof
    size = f"{len(content)} bytes" if complete else f"more than {len(content)} bytes"
    return f"compressed, {size} ({encodings[-1]})".encode(), True


def _is_text(content: bytes) -> bool:
    """Return whether `content` is text in UTF-8, which may be cut off within a character. Compressed bytes are not."""
    try:
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(content)
    except UnicodeDecodeError:
        return False
