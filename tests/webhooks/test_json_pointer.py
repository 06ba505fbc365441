"""JSON pointers: their text, their steps in a URI fragment, and what a step means in a value."""

import pytest
from pydantic import JsonValue

from webhooks.json_pointer import json_pointer, key_of, steps_of


@pytest.mark.parametrize(
    ("path", "pointer"), [((), ""), (("",), "/"), (("a/b", 0), "/a~1b/0"), (("~1", "x y"), "/~01/x y")]
)
def test_a_pointer_leads_back_to_its_steps(path: tuple[str | int, ...], pointer: str) -> None:
    assert json_pointer(path) == pointer
    assert steps_of(pointer) == [str(step) for step in path]


def test_a_fragment_is_percent_decoded_before_its_escapes() -> None:
    assert steps_of("/a%7E1b/%20") == ["a/b", " "]


@pytest.mark.parametrize(
    ("step", "value", "key"),
    [
        ("a", {"a": None}, "a"),
        ("0", {"0": 1}, "0"),
        ("b", {"a": 1}, None),
        ("1", ["x", "y"], 1),
        ("2", ["x", "y"], None),
        ("-1", ["x"], None),
        ("²", ["x", "y", "z"], None),
        ("9" * 5_000, ["x"], None),
        ("0", "text", None),
        ("a", None, None),
    ],
)
def test_a_step_is_a_member_or_an_index_that_exists(step: str, value: JsonValue, key: str | int | None) -> None:
    assert key_of(step, value) == key
