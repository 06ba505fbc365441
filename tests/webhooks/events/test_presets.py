"""The payloads as the products' own documents show them (LogiSense, SoftLedger, EngageIP; Logto by its source)."""

import json
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from pydantic import JsonValue

from webhooks import retry
from webhooks.contracts import Format, Occurrence
from webhooks.events.presets import PRESETS, Preset
from webhooks.events.rendering import check_template, render

OWN = {"tenant": "t-1", "webhook_id": "w-1", "delivery_id": "o-1~w-1", "entity": "LedgerAccount", "action": "Updated"}
presets = pytest.mark.parametrize("preset", Preset)


def sent(preset: Preset, *, format: Format = Format.JSON, sends_json: bool = True, data: JsonValue = None) -> str:
    occurrence = Occurrence(
        id="o-1",
        event="LedgerAccount.Updated",
        occurred_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        data=PRESETS[preset].sample if data is None else data,
    )
    return render(PRESETS[preset].template, occurrence, OWN, format=format, sends_json=sends_json)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (
            Preset.LOGISENSE,
            {
                "eventName": "LedgerAccount.Updated",
                "eventTime": "2026-01-02T03:04:05Z",
                "account": {"id": 10045, "name": "Acme Networks"},
                "invoice": {"id": 88213, "name": "INV-88213", "total": 1250.5, "dueDate": "2026-02-01"},
            },
        ),
        (
            Preset.SOFTLEDGER,
            {
                "uuid": "o-1~w-1",
                "date": "2026-01-02T03:04:05Z",
                "objectType": "LedgerAccount",
                "action": "LedgerAccount Updated",
                "objectId": 4711,
                "tenantId": "t-1",
            },
        ),
        (
            Preset.LOGTO,
            {
                "hookId": "w-1",
                "event": "LedgerAccount.Updated",
                "createdAt": "2026-01-02T03:04:05Z",
                "userAgent": "Mozilla/5.0",
                "ip": "198.51.100.7",
                "sessionId": "example-session",
                "userId": "example-user",
                "user": {"id": "example-user", "username": "jane", "primaryEmail": "jane@example.com"},
                "application": {"id": "example-app", "type": "SPA", "name": "Example", "description": ""},
            },
        ),
        (
            Preset.ENGAGEIP,
            {"entity": "LedgerAccount", "action": "Updated", "object": {"Id": 4711, "OwnerId": 1, "Name": "Example"}},
        ),
    ],
)
def test_a_sample_is_sent_in_its_product_s_shape(preset: Preset, expected: JsonValue) -> None:
    assert json.dumps(expected) == json.dumps(json.loads(sent(preset)))  # the order of the fields included


def test_the_template_of_logisense_is_the_one_of_its_guide() -> None:
    expected = """
        {
        "eventName": "{eventName}",
        "eventTime": "{currentDateTime}",
        "account": {
        "id": "{account.id}",
        "name": "{account.name}"
        },
        "invoice": {
        "id": "{invoice.id}",
        "name": "{invoice.name}",
        "total": "{invoice.invoiceTotal}",
        "dueDate": "{invoice.dueDate}"
        }
        }
    """

    assert json.loads(expected) == PRESETS[Preset.LOGISENSE].template


def test_every_product_has_its_payload() -> None:
    assert list(Preset) == list(PRESETS)


@presets
def test_a_sample_has_what_its_template_asks_for(preset: Preset) -> None:
    sample = PRESETS[preset].sample

    assert isinstance(sample, dict)
    check_template(PRESETS[preset].template, sample.keys())
    assert "null" not in sent(preset)


@presets
def test_a_preset_can_be_sent_as_a_form(preset: Preset) -> None:
    sample = dict(parse_qsl(sent(preset, format=Format.FORM), keep_blank_values=True))

    assert {name.partition("[")[0] for name in sample} == set(json.loads(sent(preset)))


def test_engageip_sends_the_object_only_where_it_is_asked_for() -> None:
    assert json.loads(sent(Preset.ENGAGEIP, sends_json=False)) == {"entity": "LedgerAccount", "action": "Updated"}


def test_the_standard_s_schedule_takes_over_three_days() -> None:
    rules = retry.PRESETS["standard"]
    waits = [retry.backoff_seconds(rules, attempt, retry_after=None, spread=0) for attempt in range(1, 11)]
    minute, hour = 60, 3_600

    assert waits == [5, 5 * minute, 30 * minute, *(hours * hour for hours in (2, 5, 10, 14, 20, 24)), None]
    assert max(rules.schedule) <= rules.maximum_interval


@pytest.mark.parametrize(
    ("outcome", "retries"),
    [
        ("http_500", 3),
        ("http_503", 3),
        ("http_400", 0),
        ("http_404", 0),
        ("http_429", 0),
        ("http_302", 0),
        ("timeout", 0),
    ],
)
def test_logto_retries_three_times_and_after_5xx_answers_only(outcome: str, retries: int) -> None:
    rules = retry.PRESETS["logto"]
    waits = [retry.backoff_seconds(rules, attempt, retry_after=None, spread=0) for attempt in range(1, 9)]

    assert retries == (0 if retry.is_final(outcome, rules) else len([wait for wait in waits if wait is not None]))
