import time
import uuid

import pytest

from webhooks.ids import is_delivery_id, name_in, uuid7, workflow_id

WEBHOOK = "01a219eb-81c3-7ecc-9c26-060564defee8"


def test_a_uuid7_has_version_variant_and_this_moment() -> None:
    before = time.time_ns() // 1_000_000
    text = uuid7()
    after = time.time_ns() // 1_000_000
    parsed = uuid.UUID(text)

    assert str(parsed) == text
    assert parsed.version == 7
    assert is_delivery_id(f"occurrence~{text}")
    assert parsed.variant == uuid.RFC_4122
    assert before <= parsed.int >> 80 <= after


def test_uuid7s_of_later_milliseconds_sort_later() -> None:
    ids = []
    for _ in range(50):
        ids.append(uuid7())
        this = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 == this:
            pass

    assert sorted(ids) == ids


def test_uuid7s_of_one_millisecond_differ_in_all_their_random_bits() -> None:
    values = [uuid.UUID(uuid7()).int for _ in range(10_000)]
    ever_set = ever_clear = 0
    for value in values:
        ever_set |= value
        ever_clear |= ~value
    random_bits = ((1 << 12) - 1) << 64 | (1 << 62) - 1

    assert len(set(values)) == len(values)
    assert ever_set & ever_clear & random_bits == random_bits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"order-4711:created_x~{WEBHOOK}", True),
        (f"{'a' * 128}~{WEBHOOK}", True),
        (f"{'a' * 129}~{WEBHOOK}", False),
        (f"~{WEBHOOK}", False),
        (f"a.b~{WEBHOOK}", False),
        (f"a~b~{WEBHOOK}", False),
        (f"a/b~{WEBHOOK}", False),
        (f"a' OR ~{WEBHOOK}", False),
        (f"ä~{WEBHOOK}", False),
        (f"a~{WEBHOOK}\n", False),
        (f"a~{WEBHOOK.upper()}", False),
        ("a~", False),
        ("a", False),
        ("", False),
    ],
)
def test_what_a_delivery_id_looks_like(text: str, expected: bool) -> None:
    assert expected == is_delivery_id(text)


def test_a_workflow_id_holds_the_tenant_and_gives_the_name_back() -> None:
    assert workflow_id("acme", "o-1~w-1") == "acme/o-1~w-1"
    assert name_in("acme", "acme/o-1~w-1") == "o-1~w-1"
    assert workflow_id("acme", "x") != workflow_id("acm", "x")
