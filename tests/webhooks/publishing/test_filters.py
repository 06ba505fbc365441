import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from webhooks.contracts import Occurrence
from webhooks.publishing.filters import (
    MAX_CONDITIONS,
    MAX_FILTER_BYTES,
    MAX_NESTING,
    NotAFilterError,
    check_filter,
    fields_of,
    mismatch,
)

Pattern = dict[str, JsonValue]

DATA: Pattern = {
    "total": 100,
    "rate": 0.5,
    "country": "TR",
    "paid": True,
    "free": False,
    "note": None,
    "order": {"id": 7, "lines": {"count": 2}},
    "tags": ["new", "vip", 5],
    "items": [{"sku": "A", "qty": 1, "parts": [{"no": 1}]}, {"sku": "B", "qty": 9, "parts": [{"no": 2}, {"no": 3}]}],
    "grid": [[1, 2], [3]],
    "stacks": [[{"sku": "A"}]],
    "empty": [],
    "$odd": 1,
    "a/b~c": {"": 1},
}
OCCURRENCE: Pattern = {
    "id": "o-1",
    "event": "OrderCreated",
    "client_identifier": None,
    "occurred_at": "2026-01-02T03:04:05.000000Z",
    "owner_id": "owner-1",
    "bulk": False,
    "data": DATA,
}


def first_mismatch(filter: Pattern, occurrence: Pattern = OCCURRENCE) -> str | None:
    check_filter(filter)
    return mismatch(filter, occurrence)


def holds(pattern: JsonValue, value: JsonValue) -> bool:
    return first_mismatch({"data": {"a": pattern}}, {"data": {"a": value}}) is None


def refused(filter: JsonValue) -> tuple[str, str]:
    with pytest.raises(NotAFilterError) as caught:
        check_filter(filter)
    return caught.value.pointer, str(caught.value)


@pytest.mark.parametrize(
    "filter",
    [
        {},
        {"data": {}},
        {"event": "OrderCreated", "bulk": False, "client_identifier": None},
        {"occurred_at": {"$gte": "2026-01-02T03:04:05Z", "$lt": "2026-01-02T03:04:05.000001Z"}},
        {"occurred_at": "2026-01-02T05:04:05+02:00"},
        {"occurred_at": {"$prefix": "2026-01-02T03:04:05.000000Z"}},
        {"occurred_at": {"$prefix": "2026-01", "$not": {"$prefix": "2026-02"}}},
        {"occurred_at": {"$eq": "2026-01-02 03:04:05.000000999z", "$exists": True}},
        {"occurred_at": {"$in": ["2026-01-01T00:00:00Z", "2026-01-01T19:04:05.0-08:00"]}},
        {"occurred_at": {"$not": {"$lt": "2026-01-02T04:04:05+01:00"}}},
        {"occurred_at": {"$or": [{"$gt": "2027-01-01T00:00:00Z"}, {"$lte": "2026-01-02T03:04:05Z"}]}},
        {"$not": {"$or": [{"occurred_at": {"$gt": "2026-01-02T03:04:05Z"}}, {"bulk": True}]}},
        {"$and": [{"occurred_at": {"$lt": "2026-01-02T02:04:06-01:00"}}], "occurred_at": {}},
        {"data": {"total": {"$gte": 100}, "country": {"$in": ["TR", "DE"]}}},
        {"data": {"order": {"lines": {"count": 2}}}},
        {"data": {"order": {"$eq": {"id": 7, "lines": {"count": 2}}}}},
        {"data": {"$exists": True, "order": {"id": 7, "$not": {"id": 8}}}},
        {"$or": [{"event": "Other"}, {"owner_id": "owner-1"}], "$not": {"bulk": True}},
        {"data": {"$eq": DATA}},
        {"data": {"nowhere": {"deeper": {"$not": 1}}, "total": {"deeper": {"$exists": False}}}},
        {"user_id": {"$exists": False}},
        {"user_id": {}},
    ],
)
def test_a_filter_that_matches(filter: Pattern) -> None:
    assert first_mismatch(filter) is None


@pytest.mark.parametrize(
    ("filter", "pointer"),
    [
        ({"event": "Other"}, "/event"),
        ({"occurred_at": {"$gte": "2026-01-02T04:04:05Z"}}, "/occurred_at/$gte"),
        ({"occurred_at": "2026-01-02T03:04:05+02:00"}, "/occurred_at"),
        ({"occurred_at": {"$exists": True, "$gt": "2026-01-02T05:04:05+02:00"}}, "/occurred_at/$gt"),
        ({"$and": [{"$not": {"occurred_at": "2026-01-02T02:04:05-01:00"}}]}, "/$and/0/$not"),
        ({"event": "OrderCreated", "bulk": True, "id": "o-2"}, "/bulk"),
        ({"user_id": None}, "/user_id"),
        ({"data": {"total": {"$gt": 1, "$lt": 100, "$eq": 0}}}, "/data/total/$lt"),
        ({"data": {"order": {"lines": {"count": 3}}}}, "/data/order/lines/count"),
        ({"data": {"order": {"id": 7, "$exists": False, "lines": 2}}}, "/data/order/$exists"),
        ({"data": {"nowhere": {"deeper": 1}}}, "/data/nowhere/deeper"),
        ({"data": {"a/b~c": {"": 2}}}, "/data/a~1b~0c/"),
        ({"$and": [{"bulk": False}, {"data": {"total": 1}}]}, "/$and/1/data/total"),
        ({"$and": [{"$and": [{"bulk": True}]}]}, "/$and/0/$and/0/bulk"),
        ({"$or": [{"bulk": True}, {"data": {"total": 1}}]}, "/$or"),
        ({"$not": {"data": {"total": 100}}}, "/$not"),
        ({"data": {"total": {"$not": {"$or": [{"$gt": 100}, {}]}}}}, "/data/total/$not"),
        ({"data": {"tags": "old"}}, "/data/tags"),
        ({"data": {"items": {"sku": "C"}}}, "/data/items"),
        ({"data": {"items": {"sku": "A", "$exists": False}}}, "/data/items/$exists"),
        ({"data": {"items": {"sku": "A", "$and": [{"qty": 9}, {"qty": 2}]}}}, "/data/items/$and/1"),
    ],
)
def test_a_mismatch_points_at_the_first_condition_that_does_not_hold(filter: Pattern, pointer: str) -> None:
    assert pointer == first_mismatch(filter)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("x", ["x"], ["X", "x ", "", None, 1, {"x": "x"}]),
        (None, [None], [False, 0, "", "null", {}, []]),
        ({"$eq": "x"}, ["x"], ["y"]),
        ({"$eq": {"$gt": 1}}, [{"$gt": 1}], [2, {}]),
        ({"$in": ["x", 1, None, {"b": [1]}]}, ["x", 1, 1.0, None, {"b": [1]}], ["y", True, {"b": [True]}, {"b": 1}, 2]),
        ({"$exists": True}, [0, "", None, [], {}], []),
        ({"$exists": False}, [], [0, "", None, [], {}]),
        ({"$gt": 5}, [6, 5.1, 10**400], [5, 5.0, 4, "6", True, None, {}]),
        ({"$gte": 5}, [5, 5.0, 6], [4.9, "5", None]),
        ({"$lt": 5}, [4, 4.9, -(10**400)], [5, 6, "4", False, None]),
        ({"$lte": 5}, [5, 4], [5.1, "5", False, None]),
        ({"$gt": "b"}, ["ba", "c"], ["b", "B", "a", "", 99, None, True]),
        ({"$gte": "b"}, ["b", "c"], ["a", 99]),
        ({"$lt": "b"}, ["a", "B", ""], ["b", "c", 1]),
        ({"$lte": "b"}, ["b", "a"], ["ba", 1]),
        ({"$gte": 1, "$lt": 3}, [1, 2], [0, 3]),
        ({"$prefix": "ab"}, ["ab", "abc"], ["a", "Abc", "cab", 1, None, {"ab": 1}]),
        ({"$prefix": ""}, ["", "a"], [1, None]),
        ({"$not": "x"}, ["y", None, 1, {}], ["x"]),
        ({"$not": {"$gt": 5}}, [5, "6", None], [6]),
        ({"$not": {"$not": 1}}, [1], [2]),
        ({"$not": {}}, [], [1, None, {}]),
        ({"$and": [{"$gt": 1}, {"$lt": 3}]}, [2], [1, 3]),
        ({"$or": [{"$lt": 1}, {"$gt": 3}]}, [0, 4], [1, 3, "4"]),
        ({"$or": [{"b": 1}, {"c": {"$exists": False}}]}, [{"b": 1, "c": 2}, {}, 7], [{"c": 2}]),
        ({"b": {"$not": 1}}, [{"b": 2}, {}, "text", None], [{"b": 1}]),
        ({}, [0, None, "x", [], {}, {"b": 1}], []),
    ],
    ids=str,
)
def test_a_pattern_holds_for_the_one_and_not_for_the_other(
    pattern: JsonValue, matching: list[JsonValue], other: list[JsonValue]
) -> None:
    for value in matching:
        assert holds(pattern, value), value
    for value in other:
        assert not holds(pattern, value), value


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1.0, True),
        (0, -0.0, True),
        (1, True, False),
        (0, False, False),
        (0.0, False, False),
        (1, "1", False),
        (2**53, 2**53 + 1, False),
        (None, False, False),
        ("", None, False),
        ([], {}, False),
        ({"x": 1, "y": 2}, {"y": 2.0, "x": 1}, True),
        ({"x": 1}, {"x": True}, False),
        ({"x": 1}, {"x": 1, "y": None}, False),
        ({"x": None}, {"y": None}, False),
        ([1, [2]], [1.0, [2.0]], True),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ([0], [False], False),
        ([{"x": [1]}], [{"x": [True]}], False),
    ],
)
@pytest.mark.parametrize("name", ["$eq", "$in"])
def test_equality_is_json_s(name: str, one: JsonValue, other: JsonValue, equal: bool) -> None:
    for operand, value in ((one, other), (other, one)):
        assert holds({name: operand if name == "$eq" else ["x", operand]}, value) is equal


@pytest.mark.parametrize(
    ("pattern", "if_missing", "if_null"),
    [
        (None, False, True),
        ({"$eq": None}, False, True),
        ({"$in": [None]}, False, True),
        ({"$exists": True}, False, True),
        ({"$exists": False}, True, False),
        ({"$not": None}, True, False),
        ({"$not": "x"}, True, True),
        ({"$not": {"$exists": True}}, True, False),
        ({"$gte": 0}, False, False),
        ({"$lte": ""}, False, False),
        ({"$prefix": ""}, False, False),
        ({"b": None}, False, False),
        ({"b": {"$exists": False}}, True, True),
        ({}, True, True),
    ],
)
def test_a_missing_field_is_not_null(pattern: JsonValue, if_missing: bool, if_null: bool) -> None:
    assert (first_mismatch({"data": {"a": pattern}}, {"data": {}}) is None) is if_missing
    assert holds(pattern, None) is if_null


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # the list itself, or any one of its elements
        ({"tags": "vip"}, True),
        ({"tags": 5.0}, True),
        ({"tags": "v"}, False),
        ({"tags": ["new", "vip", 5]}, True),
        ({"tags": ["new", "vip"]}, False),
        ({"tags": {"$eq": "new"}}, True),
        ({"tags": {"$in": ["old", "vip"]}}, True),
        ({"tags": {"$in": [["new", "vip", 5]]}}, True),
        ({"tags": {"$in": ["old", ["new"]]}}, False),
        ({"tags": {"$prefix": "vi"}}, True),
        ({"tags": {"$prefix": "ip"}}, False),
        ({"tags": {"$gt": 4}}, True),
        ({"tags": {"$gt": 5}}, False),
        ({"tags": {"$lt": "o"}}, True),
        ({"empty": []}, True),
        ({"empty": None}, False),
        ({"empty": {"$lt": 0}}, False),
        ({"empty": {"$exists": True}}, True),
        ({"tags": {"$exists": False}}, False),
        # not: none of them
        ({"tags": {"$not": "vip"}}, False),
        ({"tags": {"$not": "old"}}, True),
        # each condition by itself
        ({"tags": {"$eq": "new", "$gt": 4}}, True),
        ({"tags": {"$and": [{"$eq": "new"}, {"$eq": "vip"}]}}, True),
        # fields: all for the same element, $and for any each
        ({"items": {"sku": "B"}}, True),
        ({"items": {"sku": "A", "qty": 1}}, True),
        ({"items": {"sku": "A", "qty": 9}}, False),
        ({"items": {"sku": "A", "qty": {"$lt": 5}, "$exists": True}}, True),
        ({"items": {"$and": [{"sku": "A"}, {"qty": 9}]}}, True),
        ({"items": {"sku": {"$not": "A"}}}, True),
        ({"items": {"$not": {"sku": "A"}}}, False),
        ({"items": {"$not": {"sku": "C"}}}, True),
        ({"items": {"nowhere": {"$exists": False}}}, True),
        ({"items": {"parts": {"no": 3}}}, True),
        ({"items": {"sku": "A", "parts": {"no": 3}}}, False),
        ({"items": {"$eq": {"sku": "A", "qty": 1, "parts": [{"no": 1}]}}}, True),
        ({"items": {"0": {"$exists": True}}}, False),
        ({"tags": {"sku": {"$exists": True}}}, False),
        ({"empty": {}}, True),
        ({"empty": {"sku": {}}}, False),
        ({"empty": {"sku": {"$not": "A"}}}, False),
        # a list within the list is an element
        ({"grid": [3]}, True),
        ({"grid": 3}, False),
        ({"grid": {"$gt": 0}}, False),
        ({"grid": {"x": {"$exists": False}}}, True),
        ({"stacks": [{"sku": "A"}]}, True),
        ({"stacks": {"sku": "A"}}, False),
    ],
    ids=str,
)
def test_lists(data: JsonValue, expected: bool) -> None:
    assert (first_mismatch({"data": data}) is None) is expected


@pytest.mark.parametrize("data", [None, True, 3, "text", [], [3, "text"], {}])
def test_data_need_not_be_an_object(data: JsonValue) -> None:
    assert first_mismatch({"data": {"$eq": data}}, {"data": data}) is None
    assert first_mismatch({"data": {"a": 1}}, {"data": data}) is not None


def nested(depth: int) -> JsonValue:
    """A filter of that many objects within one another."""
    pattern: JsonValue = {}
    for _ in range(depth - 2):
        pattern = {"a": pattern}
    return {"data": pattern}


@pytest.mark.parametrize(
    ("filter", "pointer", "message"),
    [
        (None, "", "a pattern must be an object"),
        ("data", "", "a pattern must be an object"),
        ([{"bulk": True}], "", "a pattern must be an object"),
        # the occurrence's own fields only
        (
            {"total": 1},
            "/total",
            "no such field; use one of: id, event, client_identifier, owner_id, ",
        ),
        ({"data.total": 1}, "/data.total", "an occurrence has no such field"),
        ({"data": {}, "$eq": {}}, "/$eq", "an occurrence has no such field"),
        ({"$exists": True}, "/$exists", "occurred_at, data, $and, $or, $not"),
        ({"$and": [{}, {"total": 1}]}, "/$and/1/total", "an occurrence has no such field"),
        ({"$or": [{"$not": {"$gt": 1}}]}, "/$or/0/$not/$gt", "an occurrence has no such field"),
        ({"$not": "x"}, "/$not", "a pattern must be an object"),
        # operators
        ({"data": {"$regex": "x"}}, "/data/$regex", "the operators are $eq, $in, $exists, $prefix, $gt, $gte, $lt, "),
        ({"data": {"a": {"b": {"$": 1}}}}, "/data/a/b/$", "$lte, $not, $and, $or"),
        ({"data": {"a": {"$not": {"$EQ": 1}}}}, "/data/a/$not/$EQ", "the operators are"),
        ({"data": {"a/b~c": {"$x": 1}}}, "/data/a~1b~0c/$x", "the operators are"),
        # operands
        ({"id": {"$in": []}}, "/id/$in", "$in takes a list that is not empty"),
        ({"id": {"$in": "x"}}, "/id/$in", "$in takes a list that is not empty"),
        ({"id": {"$exists": 1}}, "/id/$exists", "$exists takes true or false"),
        ({"id": {"$exists": None}}, "/id/$exists", "$exists takes true or false"),
        ({"id": {"$gt": True}}, "/id/$gt", "$gt takes a number or a string"),
        ({"id": {"$gte": None}}, "/id/$gte", "$gte takes a number or a string"),
        ({"id": {"$lt": [1]}}, "/id/$lt", "$lt takes a number or a string"),
        ({"id": {"$lte": {}}}, "/id/$lte", "$lte takes a number or a string"),
        ({"id": {"$prefix": 1}}, "/id/$prefix", "$prefix takes a string"),
        ({"id": {"$and": []}}, "/id/$and", "$and takes a list that is not empty"),
        ({"id": {"$or": {"a": 1}}}, "/id/$or", "$or takes a list that is not empty"),
        ({"id": {"$or": [{}, "x"]}}, "/id/$or/1", "a pattern must be an object"),
        ({"$and": [[]]}, "/$and/0", "a pattern must be an object"),
        # no JSON
        ({"data": float("nan")}, "", "not JSON"),
        ({"data": {"a": {"$in": [float("inf")]}}}, "", "not JSON"),
        ({"data": "\ud800"}, "", "not JSON"),
        ({"data": 10**5000}, "", "not JSON"),
        # limits
        (nested(MAX_NESTING + 1), "", "nested more than 20 levels deep"),
        (nested(5_000), "", "nested more than 20 levels deep"),
        ({"data": {f"f{n}": n for n in range(MAX_CONDITIONS + 1)}}, "", "more than 200 conditions"),
        ({"data": {"$in": list(range(MAX_CONDITIONS))}}, "", "more than 200 conditions"),
        ({"data": {"$and": [{"$not": 1}] * (MAX_CONDITIONS // 2)}}, "", "more than 200 conditions"),
        ({"data": "x" * MAX_FILTER_BYTES}, "", "larger than 16384 bytes"),
        ({"data": "é" * (MAX_FILTER_BYTES // 2)}, "", "larger than 16384 bytes"),
    ],
    ids=lambda value: str(value)[:50] if isinstance(value, str) else "",
)
def test_what_is_no_filter_is_refused_with_where_and_why(filter: JsonValue, pointer: str, message: str) -> None:
    where, why = refused(filter)

    assert pointer == where
    assert message in why


@pytest.mark.parametrize(
    "filter",
    [
        nested(MAX_NESTING),
        {"data": {f"f{n}": n for n in range(MAX_CONDITIONS)}},
        {"data": {"$in": list(range(MAX_CONDITIONS - 1))}},
        {"data": "x" * (MAX_FILTER_BYTES - len('{"data":""}'))},
        {"data": "é" * ((MAX_FILTER_BYTES - len('{"data":""}')) // 2)},
    ],
    ids=["nesting", "conditions", "alternatives", "bytes", "two-byte letters"],
)
def test_at_the_limit_a_filter_is_accepted(filter: JsonValue) -> None:
    check_filter(filter)


SECRET = "s3cret-value"


@pytest.mark.parametrize(
    "filter",
    [
        SECRET,
        {"$not": SECRET},
        {SECRET: 1},
        {"data": {f"${SECRET}": SECRET}},
        {"id": {"$exists": SECRET}},
        {"id": {"$in": SECRET}},
        {"id": {"$prefix": [SECRET]}},
        {"id": {"$and": [SECRET]}},
        {"id": [SECRET, "\ud800"]},
    ],
    ids=str,
)
def test_a_message_repeats_nothing_of_the_filter(filter: JsonValue) -> None:
    assert SECRET not in refused(filter)[1]


def test_an_occurrence_deeper_than_the_stack_is_judged() -> None:
    deep: JsonValue = 1
    for _ in range(20_000):
        deep = [{"a": deep}]
    filters: list[Pattern] = [
        {"data": {"$eq": [[[1]]]}},
        {"data": {"$in": [[{"a": [{"a": 1}]}]]}},
        {"data": {"a": {"a": {"a": {"$gt": 1}}}}},
    ]

    for filter in filters:
        assert first_mismatch(filter, {"data": deep}) is not None


NAMES = st.sampled_from("abc")
NUMBERS = st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text("abc", max_size=2) | st.text(max_size=5)
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
)
ORDERED: st.SearchStrategy[JsonValue] = NUMBERS | st.text("abc", max_size=2)
OPERANDS: dict[str, st.SearchStrategy[JsonValue]] = {
    "$eq": VALUES,
    "$in": st.lists(VALUES, min_size=1, max_size=3),
    "$exists": st.booleans(),
    "$prefix": st.text("abc", max_size=2),
    **dict.fromkeys(["$gt", "$gte", "$lt", "$lte"], ORDERED),
}
CONDITIONS: st.SearchStrategy[Pattern] = st.sampled_from(sorted(OPERANDS)).flatmap(
    lambda name: st.fixed_dictionaries({name: OPERANDS[name]})
)


def combined(inner: st.SearchStrategy[Pattern]) -> st.SearchStrategy[Pattern]:
    one: st.SearchStrategy[JsonValue] = inner | SCALARS
    several: st.SearchStrategy[JsonValue] = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries({}, optional={"a": one, "b": one, "$not": one, "$and": several, "$or": several})


PATTERNS: st.SearchStrategy[Pattern] = st.recursive(CONDITIONS, combined, max_leaves=8)


def at(pointer: str, document: JsonValue) -> JsonValue:
    for step in pointer.split("/")[1:]:
        match document:
            case dict():
                document = document[step.replace("~1", "/").replace("~0", "~")]
            case list():
                document = document[int(step)]
            case _:
                raise LookupError(pointer)
    return document


@given(PATTERNS, VALUES)
@settings(deadline=None)
def test_a_checked_filter_judges_any_json_and_points_into_itself(pattern: Pattern, data: JsonValue) -> None:
    filter: Pattern = {"data": pattern}
    pointer = first_mismatch(filter, {"data": data})

    if pointer is not None:
        at(pointer, filter)


@given(PATTERNS, VALUES)
@settings(deadline=None)
def test_not_inverts(pattern: Pattern, data: JsonValue) -> None:
    plain = first_mismatch({"data": pattern}, {"data": data})
    inverted = first_mismatch({"data": {"$not": pattern}}, {"data": data})

    assert (plain is None) is (inverted is not None)


@given(PATTERNS, PATTERNS, VALUES)
@settings(deadline=None)
def test_and_needs_both_and_or_needs_one(one: Pattern, other: Pattern, data: JsonValue) -> None:
    both = [first_mismatch({"data": pattern}, {"data": data}) is None for pattern in (one, other)]

    assert all(both) is (first_mismatch({"data": {"$and": [one, other]}}, {"data": data}) is None)
    assert any(both) is (first_mismatch({"data": {"$or": [one, other]}}, {"data": data}) is None)


@given(SCALARS, SCALARS)
@settings(deadline=None)
def test_a_scalar_literal_is_equal_to_what_json_writes_like_it(one: JsonValue, other: JsonValue) -> None:
    same = one == other and isinstance(one, bool) is isinstance(other, bool)

    assert holds(one, json.loads(json.dumps(one)))
    assert holds(one, other) is same


@given(VALUES)
@settings(deadline=None)
def test_a_value_equals_itself(value: JsonValue) -> None:
    assert holds({"$eq": value}, value)
    assert holds({"$eq": value}, ["x", value])
    assert holds({"$in": ["x", value]}, value)


@given(VALUES)
@settings(deadline=None)
def test_any_json_is_a_filter_or_refused(value: JsonValue) -> None:
    filters: list[JsonValue] = [value, {"data": value}, {"data": {"$in": value}}, {"$or": value}]
    for filter in filters:
        try:
            check_filter(filter)
        except NotAFilterError as error:
            at(error.pointer, filter)


def test_an_evaluation_that_would_keep_others_waiting_is_given_up() -> None:
    """Many alternatives for each of very many values: it does not match, although the last one would."""
    filter: dict[str, Any] = {"$or": [{"data": {"x": text}} for text in (*map(str, range(90)), "yes")]}
    check_filter(filter)

    few: list[JsonValue] = [*["a"] * 100, "yes"]
    many: list[JsonValue] = [*["a"] * 60_000, "yes"]
    assert mismatch(filter, {"data": {"x": few}}) is None
    assert mismatch(filter, {"data": {"x": many}}) == ""


def test_times_compare_in_utc() -> None:
    east = datetime.fromisoformat("2026-01-10T01:30:00+03:00")
    occurrence = fields_of(Occurrence(id="o", event="E", occurred_at=east, data=None))

    assert occurrence["occurred_at"] == "2026-01-09T22:30:00.000000Z"
    assert mismatch({"occurred_at": {"$gte": "2026-01-10"}}, occurrence) is not None


@pytest.mark.parametrize(
    ("operand", "pointer"),
    [
        ("2026-01-02", ""),
        ("1767225600", ""),
        (1767225600, ""),
        (None, ""),
        ({"$gte": "2026-01-02T03:04:05"}, "/$gte"),
        ({"$lt": 1767225600}, "/$lt"),
        ({"$eq": {"$gt": 1}}, "/$eq"),
        ({"$in": ["2026-01-02T03:04:05Z", "tomorrow"]}, "/$in/1"),
        ({"$not": "2026-13-01T00:00:00Z"}, "/$not"),
        ({"$or": [{"$gt": "2026-01-02T03:04:05Z"}, {"$lt": ""}]}, "/$or/1/$lt"),
        ({"$prefix": "today"}, "/$prefix"),
        ({"$prefix": "2026-01-02T03:04:05Z"}, "/$prefix"),
        ({"$prefix": "2026-01-02T03:04:05+02:00"}, "/$prefix"),
        ({"year": 2026}, "/year"),
        (["2026-01-02T03:04:05Z"], ""),
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(operand: JsonValue, pointer: str) -> None:
    assert refused({"occurred_at": operand})[0] == f"/occurred_at{pointer}"
    assert refused({"$or": [{"$not": {"occurred_at": operand}}]})[0] == f"/$or/0/$not/occurred_at{pointer}"
    check_filter({"data": {"occurred_at": operand}})
