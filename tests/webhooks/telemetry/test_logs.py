"""A log line as JSON: what it says, and what it never does."""

import json
import logging
import sys
from typing import Any

import pytest

from webhooks.telemetry.logs import formatter


def line(message: str, *arguments: object, error: bool = False, **extra: object) -> dict[str, Any]:
    record = logging.getLogger("room").makeRecord(
        *("room", logging.INFO, "file.py", 1, message, arguments, sys.exc_info() if error else None), extra=extra
    )
    found: dict[str, Any] = json.loads(formatter("json").format(record))
    return found


def test_a_line_says_who_what_and_when() -> None:
    said = line("%s of %d", "one", 2, attempt=3, outcome="http_503")

    assert said.pop("timestamp").endswith("Z")
    assert said == {"message": "one of 2", "level": "info", "logger": "room", "attempt": 3, "outcome": "http_503"}


@pytest.mark.parametrize(
    "text",
    [
        "whsec_{}",
        "whk_{}",
        "whsk_{}",
        "Authorization: Bearer {}",
        "authorization: bearer  {}",
        "Basic {}",
        "{{'authorization': 'Bearer {}'}}",
    ],
)
def test_what_looks_like_a_secret_is_redacted(text: str) -> None:
    """In the message, in a field and in an exception."""
    shown = text.format("Y2FuYXJ5+canary/4711==")
    assert "canary" not in str(line(shown, outcome=shown))
    try:
        raise ValueError(shown)
    except ValueError:
        said = line("failed", error=True)

    assert "ValueError" in said["exception"]
    assert "canary" not in str(said)


def test_an_exception_is_told_without_the_values_of_variables() -> None:
    secret = "canary-" + "4711"
    try:
        raise KeyError
    except KeyError:
        said = line("failed", error=True)

    assert "test_an_exception_is_told" in said["exception"]
    assert secret not in str(said)


def test_fields_that_nobody_has_looked_at_are_left_out() -> None:
    assert "canary" not in str(line("text", headers={"authorization": "canary"}, body="canary"))


def test_ordinary_words_stay() -> None:
    said = "basic authentication of a bearer, and a token's end; whk_short"

    assert line(said)["message"] == said
