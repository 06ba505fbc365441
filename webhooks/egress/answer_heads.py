"""The head of an answer, made readable for h11, which refuses a whole answer because of one odd header line. Pure.

The status line is what a delivery depends on: a receiver that answered 200 has the delivery, and must not get it again
because another line of its answer cannot be read.
"""

import re
from collections.abc import Iterable

_VALUE = rb"[^\x00\n\r\x0b\x0c]*+"
_FIELD = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:" + _VALUE
_USUAL = re.compile(
    rb"HTTP/[0-9]\.[0-9] [0-9]{3}(?: " + _VALUE + rb")?\r?\n"
    rb"(?:" + _FIELD + rb"\r?\n(?:[ \t]" + _VALUE + rb"\r?\n)*+)*+\r?\n"
)
"""A head whose lines h11 accepts. A line that begins with a space continues the line before it (RFC 9112, 5.2)."""
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9][ \t]+([1-9][0-9]{2})(?![^ \t\r\n])")
"""The beginning of a status line. It is less strict than h11 about what stands between and behind its parts."""
_FRAMING = re.compile(rb"^(content-length|transfer-encoding):(.*)$", re.IGNORECASE | re.MULTILINE)
"""What says where a body ends."""
_LENGTH = re.compile(rb"[0-9]{1,20}")
_KEPT = re.compile(rb"(?:retry-after|content-(?:length|encoding|type)|transfer-encoding):" + _VALUE, re.IGNORECASE)
"""The lines that are kept of an odd head: those that somebody reads. A head can have 50,000 lines."""
_FOLD = re.compile(rb"\r?\n[ \t]+")
_END = re.compile(rb"\n\r?\n")
_SCHEME = b"HTTP/"


def may_be_http(head: bytes | bytearray) -> bool:
    """Return whether `head` begins as an answer begins, as far as it has arrived."""
    return head[: len(_SCHEME)] == _SCHEME[: len(head)]


def end(head: bytes | bytearray, searched: int) -> int | None:
    """Return where a head ends, behind its empty line; None if it goes on. The first `searched` bytes hold no end."""
    found = _END.search(head, max(0, searched - 2))
    return found.end() if found else None


def is_interim(head: bytes | bytearray) -> bool:
    """Return whether another head follows this one. After 101 none does: it changes the protocol."""
    found = _STATUS_LINE.match(head)
    return found is not None and found[1] != b"101" and found[1].startswith(b"1")


def readable(head: bytes) -> tuple[bytes, bool]:
    """Return a whole head as h11 reads it, and whether its body can be read too. A head that h11 reads is returned as
    it is, and so is one without a readable status line. Of any other head, the lines stay that are used and that can be
    read; nothing says where a body ends unless all of that can be read."""
    if _USUAL.fullmatch(head) and _framing(head) is not None:
        return head, True
    code = _final_status(head)
    if code is None:
        return head, True
    kept = _kept(_unfolded(head).split(b"\n")[1:])
    framed = _framing(b"\n".join(kept))
    if not framed:
        kept = [line for line in kept if not _FRAMING.match(line)]
    return _head(code, kept), bool(framed)


def cut_off(head: bytes) -> bytes | None:
    """Return a head that did not arrive whole as h11 reads it, without a body; None if the status cannot be read."""
    code = _final_status(head)
    if code is None:
        return None
    return _head(code, [line for line in _kept(head.split(b"\n")[1:-1]) if not _FRAMING.match(line)])


def _unfolded(head: bytes) -> bytes:
    return _FOLD.sub(b" ", head) if b"\n " in head or b"\n\t" in head else head


def _final_status(head: bytes) -> int | None:
    """Return the status of the answer; None if it cannot be read."""
    found = _STATUS_LINE.match(head)
    return int(found[1]) if found and found[1] >= b"200" else None


def _kept(lines: Iterable[bytes]) -> list[bytes]:
    return [line for line in (line.removesuffix(b"\r") for line in lines) if _KEPT.fullmatch(line)]


def _head(code: int, lines: Iterable[bytes]) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 %d " % code, *lines, b"connection: close", b"", b""])


def _framing(head: bytes) -> bool | None:
    """Return whether `head` says where the body ends, None if h11 cannot read what it says."""
    fields = _FRAMING.findall(_unfolded(head))
    lengths = {
        part.strip() for name, value in fields if name.lower() == b"content-length" for part in value.split(b",")
    }
    encodings = [value.strip().lower() for name, value in fields if name.lower() == b"transfer-encoding"]
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)) or encodings not in ([], [b"chunked"]):
        return None
    return bool(fields)
