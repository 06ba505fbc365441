import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from webhooks.json_documents import MAX_LEVELS, DocumentError, MalformedJsonError, decode, parse

VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_was_written_is_read(value: JsonValue, ascii: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii)) == value


def test_nesting_is_counted_from_the_root() -> None:
    for deepest, levels in (("[]", MAX_LEVELS), ("7", MAX_LEVELS), ("{}", MAX_LEVELS)):
        assert parse("[" * levels + deepest + "]" * levels)
        with pytest.raises(DocumentError, match="nested too deep") as error:
            parse("[" * levels + f'{{"a": {deepest}}}' + "]" * levels)
        assert error.value.pointer == "/0" * MAX_LEVELS + "/a"


@pytest.mark.parametrize("text", ['["', '{"a": "[{"', '[\n"]]]\\"", '])
def test_what_is_nested_far_too_deep_is_shown_where(text: str) -> None:
    """Brackets in strings do not count."""
    inside = text.count("[", 0, 1) + text.count("{", 0, 1)
    whole = {'["': '["[[[", ', '{"a": "[{"': '{"a": "[{", "b": '}.get(text, text)
    with pytest.raises(DocumentError) as error:
        parse(whole + "[" * 5000)
    line, column = (whole.count("\n") + 1, len(whole.rpartition("\n")[2]) + MAX_LEVELS + 1 - inside)

    assert str(error.value).endswith(f"line {line}, column {column + 0}")


def test_what_is_wrong_is_shown_where() -> None:
    for text, pointer in (
        ('{"a": {"b": 1, "b": 1}}', "/a/b"),
        ('[{"a": 1, "\\u0061": {"a": 1, "a": 2}}]', "/0/a"),
        ('{"a": ["\\ud83d\\ude00", "\\ud83d \\ude00"]}', "/a/1"),
        ('{"a": {"\\uDC00": 1}}', "/a"),
        ('{"a": [0, 1e999]}', "/a/1"),
        ('{"a": ' + "9" * 1001 + "}", "/a"),
    ):
        with pytest.raises(DocumentError) as error:
            parse(text)
        assert error.value.pointer == pointer
        assert not isinstance(error.value, MalformedJsonError)
    assert parse('"\\\\ud800"') == "\\ud800", "an escaped backslash, no surrogate"


def test_a_byte_order_mark_is_ignored_once() -> None:
    assert parse(decode(b"\xef\xbb\xbf[1]")) == [1]
    for content in (b"\xef\xbb\xbf\xef\xbb\xbf[1]", b"[1]\xef\xbb\xbf"):
        with pytest.raises(MalformedJsonError):
            parse(decode(content))
