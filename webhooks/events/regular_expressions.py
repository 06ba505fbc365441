"""Regular expressions of a JSON Schema: ECMA 262 without look-around and back-references, so that a match takes linear
time. How large they may be, and why one is refused.

A repetition such as `\\S{1,255}` is written out when it is compiled, and a match takes steps for each copy.
"""

import re

import jsonschema_rs

SMALL_BYTES = 50_000
"""Compiled size of a regular expression without a large repetition."""
MAX_BYTES = 2_500_000
"""Compiled size of all regular expressions of a schema together, the small ones aside. Compiling them takes 20 ms."""
MAX_ATOMS = 1_500
"""Characters and classes of a large regular expression once its repetitions are written out. With 8,000, a match with
60 KB of text takes 8 s; with 1,500 it takes 30 ms."""
_STEPS = (150_000, 300_000, 600_000, 900_000, 1_200_000, MAX_BYTES)
"""Bytes that are tried to find a compiled size. `^\\S{1,255}$` takes 550 KB."""

_REPETITION = re.compile(r"\{([0-9]{1,9})(?:,([0-9]{0,9}))?\}")
_TOKEN = re.compile(
    r"\\(?:[pPxu]\{[^}]*\}|.)|\[\^?\]?(?:\\.|[^\\\]])*\]|\{[0-9]{1,9}(?:,[0-9]{0,9})?\}|\(\?<?[=!]|.", re.DOTALL
)
_BACK_REFERENCE = re.compile(r"\\[1-9k]")


def options(size: int) -> jsonschema_rs.RegexOptions:
    """Return options for a validator: linear time, and this compiled size in bytes for each regular expression."""
    return jsonschema_rs.RegexOptions(size_limit=size)


def size_of(pattern: str) -> int:
    """Return the compiled size in bytes, rounded up: 0 if it is small, more than MAX_BYTES if it is too large."""
    if _compiles(pattern, SMALL_BYTES):
        return 0
    if _atoms(pattern) > MAX_ATOMS:
        return MAX_BYTES + 1
    return next((size for size in _STEPS if _compiles(pattern, size)), MAX_BYTES + 1)


def refusal(pattern: str) -> str | None:
    """Return why no schema can have this pattern; None if one can."""
    if size_of(pattern) <= MAX_BYTES:
        return None
    tokens = _TOKEN.findall(pattern)
    if any(token.startswith("(?") for token in tokens):
        return "look-around, such as (?=...) or (?!...), is not supported: regular expressions run in linear time"
    if any(_BACK_REFERENCE.match(token) for token in tokens):
        return "back-references, such as \\1, are not supported: regular expressions run in linear time"
    repetitions = filter(None, map(_REPETITION.fullmatch, tokens))
    if any(int(repetition[2] or repetition[1]) < int(repetition[1]) for repetition in repetitions):
        return "not a regular expression: a repetition has a minimum above its maximum"
    if _compiles("".join("*" if _REPETITION.fullmatch(token) else token for token in tokens), MAX_BYTES):
        return TOO_LARGE
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"not a regular expression: {error}"
    return "not a regular expression of ECMA 262"


TOO_LARGE = (
    "the regular expression is too large once its repetitions are written out; repeat less, or limit the length with "
    "minLength and maxLength"
)


def _compiles(pattern: str, size: int) -> bool:
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=options(size))
    except ValueError:
        return False
    return True


def _atoms(pattern: str) -> int:
    """Return how many characters and classes the pattern has once its repetitions are written out."""
    groups = [[0, 0]]  # of each open group: the atoms before the last one, and those of the last one
    for token in _TOKEN.findall(pattern):
        if token == "(":  # noqa: S105  not a password
            groups.append([0, 0])
        elif token == ")" and len(groups) > 1:  # noqa: S105
            atoms = sum(groups.pop())
            groups[-1] = [sum(groups[-1]), atoms]
        elif repetition := _REPETITION.fullmatch(token):
            groups[-1][1] *= max(int(repetition[2] or repetition[1]), 1)
        else:
            groups[-1] = [sum(groups[-1]), 1]
    return sum(map(sum, groups))
