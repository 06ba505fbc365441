import sys
import unicodedata

import pytest

from webhooks import characters

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,9}$"
VISIBLE = r"^[\x21-\x7e]{4,8}$"
TEXT = r"^[^\x00-\x1f\x7f]{1,5}$"


@pytest.mark.parametrize(
    "text",
    [
        "山田\u3000太郎",
        "a\u00a0b",
        "a\u2028b",
        "👩\u200d👧",
        "\ufeffx",
        "\u00ad",
        "\ue000",
        "\u202e",
        "\U0010ffff",
        " ",
    ],
)
def test_ordinary_text_has_no_control_characters(text: str) -> None:
    assert characters.control_refusal(text) is None


def test_control_characters_are_those_of_unicode_and_lone_surrogates() -> None:
    refused = {chr(code) for code in range(sys.maxunicode + 1) if characters.CONTROL.fullmatch(chr(code))}
    expected = {chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Cc", "Cs")}

    assert refused == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("山田\n太郎", "character 3 is U+000A (a control character), which is not allowed here"),
        ("\0", "character 1 is U+0000 (a control character), which is not allowed here"),
        ("ab\x7f", "character 3 is U+007F (a control character), which is not allowed here"),
        ("👩\x85", "character 2 is U+0085 (a control character), which is not allowed here"),
        ("a\ud83d", "character 2 is U+D83D (half of a surrogate pair), which is not allowed here"),
    ],
)
def test_a_control_character_is_named_with_its_position(text: str, message: str) -> None:
    assert characters.control_refusal(text) == message


@pytest.mark.parametrize(
    ("pattern", "text", "message"),
    [
        (NAME, "a b", "character 2 is U+0020 (SPACE), which is not allowed here; allowed are [A-Za-z0-9_.:-]"),
        (NAME, "Größe", "character 3 is U+00F6 (LATIN SMALL LETTER O WITH DIAERESIS), which is not allowed here; allo"),
        (NAME, "_a", "character 1 is U+005F (LOW LINE), which is not allowed here; allowed are [A-Za-z0-9]"),
        (NAME, "a\n", "character 2 is U+000A (a control character), which"),
        (NAME, "a" * 11, "must have 1 to 10 characters, and has 11"),
        (NAME, "", "must have 1 to 10 characters, and has 0"),
        (VISIBLE, "abc", "must have 4 to 8 characters, and has 3"),
        (
            VISIBLE,
            "abcd\u3000efghijk",
            "character 5 is U+3000 (IDEOGRAPHIC SPACE), which is not allowed here; allowed ar",
        ),
        (TEXT, "a\tb", "character 2 is U+0009 (a control character), which is not allowed here"),
        (TEXT, "\U000e0fff" * 6, "must have 1 to 5 characters, and has 6"),
        (r"^a|b$", "c", "does not match the pattern ^a|b$"),
    ],
)
def test_a_mismatch_names_the_character_or_the_length(pattern: str, text: str, message: str) -> None:
    assert characters.mismatch(pattern, text).startswith(message)
