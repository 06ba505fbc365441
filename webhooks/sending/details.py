"""What is kept of a request and its answer: timing, sizes, and the headers without secrets. Pure."""

from collections.abc import Collection, Iterable
from itertools import islice

from webhooks.contracts import AttemptDetails
from webhooks.credentials import masking
from webhooks.credentials.masking import MASK, Redaction
from webhooks.egress.exchange import Exchange, Header

_MAX_HEADERS = 50
"""Of the request, and of the answer. The first ones are kept."""
_MAX_HEADER_CHARACTERS = 8 * 1024
"""Of all headers that are kept of a request, or of an answer, together."""
_MAX_LINE_CHARACTERS = 1024
"""A longer header is cut off."""
_CUT = "…"
_MASK = MASK.encode()


def of(exchange: Exchange, complete: bool, hidden: Collection[str], redaction: Redaction) -> AttemptDetails:
    """Return what is kept. `hidden` are the names, in lower case, of the request's headers that hold secrets.
    `complete` says whether the body of the answer is kept whole."""
    return AttemptDetails(
        timing=exchange.timing(),
        request_headers=_shown(
            ((name, _MASK if name.decode().lower() in hidden else value) for name, value in exchange.request_headers),
            redaction,
        ),
        request_size=exchange.request_size,
        response_headers=_shown(
            (
                (name, _MASK if masking.is_secret_of_receiver(name.decode()) else value)
                for name, value in exchange.response_headers
            ),
            redaction,
        ),
        response_size=exchange.response_size,
        response_complete=None if exchange.response_size is None else complete,
        remote_address=exchange.remote_address,
        http_version=exchange.http_version,
    )


def _shown(headers: Iterable[Header], redaction: Redaction) -> str:
    """Return the headers as they may be shown. Invalid UTF-8 is replaced. Secrets are redacted before anything is cut
    off, so that no beginning of a secret remains."""
    text = b"\n".join(b"%b: %b" % header for header in islice(headers, _MAX_HEADERS)).decode("utf-8", "replace")
    text = redaction.of(text)
    if len(text) > _MAX_LINE_CHARACTERS:
        text = "\n".join(_cut(line, _MAX_LINE_CHARACTERS) for line in text.split("\n"))
    return _cut(text, _MAX_HEADER_CHARACTERS)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + _CUT
