"""Which character of a text is not allowed, and where. Pure.

An error names the character by its code and position and does not repeat the text, which may be a secret.
"""

import re
import unicodedata

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Unicode's category Cc, and halves of surrogate pairs. Every other character is ordinary text."""

_SHAPE = re.compile(r"\^(\[(?:\\.|[^\\\]])+\])?(\[(?:\\.|[^\\\]])+\])\{(\d+),(\d+)\}\$")
"""The patterns of our fields: perhaps a set for the first character, a set for the others, and how many they may be."""


def name_of(character: str) -> str:
    """Return the code and the Unicode name of a character: `U+3000 (IDEOGRAPHIC SPACE)`."""
    if CONTROL.fullmatch(character):
        name = "a control character" if unicodedata.category(character) == "Cc" else "half of a surrogate pair"
    else:
        name = unicodedata.name(character, "without a name")
    return f"U+{ord(character):04X} ({name})"


def refusal(text: str, at: int, allowed: str = "") -> str:
    """Return what is wrong with the character at an index. Positions in messages begin with 1. `allowed` is a set."""
    hint = f"; allowed are {allowed}" if allowed and not allowed.startswith("[^") else ""
    return f"character {at + 1} is {name_of(text[at])}, which is not allowed here{hint}"


def control_refusal(text: str) -> str | None:
    """Return what is wrong with the first control character; None if there is none."""
    found = CONTROL.search(text)
    return refusal(text, found.start()) if found else None


def mismatch(pattern: str, text: str) -> str:
    """Return why a text does not match the pattern of a field: which character, or how long it may be."""
    shape = _SHAPE.fullmatch(pattern)
    if shape is None:
        return f"does not match the pattern {pattern}"
    first, others, least, most = shape.groups()
    if first and text and not re.match(first, text):
        return refusal(text, 0, first)
    begin = 1 if first else 0
    ordinary = re.compile(f"{others}*").match(text, begin)
    if ordinary and ordinary.end() < len(text):
        return refusal(text, ordinary.end(), others)
    return f"must have {int(least) + begin} to {int(most) + begin} characters, and has {len(text)}"
