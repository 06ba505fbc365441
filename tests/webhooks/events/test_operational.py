"""The platform's own events, in the catalogue."""

import logging

import pytest
from sqlmodel import col, select

from webhooks.credentials.vault import Vault, new_key
from webhooks.events import operational, rules, seed
from webhooks.settings import Settings
from webhooks.store.database import Database
from webhooks.store.models import Event, EventVersion, Tenant


async def test_they_are_in_the_catalogue_of_each_tenant(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Once, whatever a start finds; what a tenant chose stays, and a key of his own becomes the platform's."""
    database = Database.of(settings)
    await database.migrate(Vault(new_key()))
    async with database.write() as session:
        session.add_all((Tenant(id="a", name="A"), Tenant(id="b", name="B")))
        session.add(Event(tenant="b", key="delivery.failed", description="mine", json_schema={"type": "array"}))
        session.add(Event(tenant="c", key="E", description=""))
    for _ in range(2):
        async with database.write() as session:
            await seed.provide(session)
    async with database.write() as session:
        mine = (
            await session.exec(select(Event).where(col(Event.tenant) == "a", col(Event.key) == "webhook.deactivated"))
        ).first()
        assert mine
        mine.active, mine.template = False, {"text": "{reason}"}
    before = caplog.text
    async with database.write() as session:
        await seed.provide(session)
    async with database.read() as session:
        events = (await session.exec(select(Event).order_by(Event.tenant, Event.key))).all()
        versions = (await session.exec(select(EventVersion))).all()
    await database.close()
    [kept] = [event for event in events if not event.active]
    of_a, taken = (next(e for e in events if (e.tenant, e.key) == (t, "delivery.failed")) for t in "ab")

    assert [(event.tenant, event.key) for event in events] == [
        *(("a", key) for key in sorted(operational.KEYS)),
        *(("b", key) for key in sorted(operational.KEYS)),
        ("c", "E"),
        *(("default", key) for key in sorted(operational.KEYS)),
    ]
    assert kept.template == {"text": "{reason}"}
    assert (taken.key, taken.entity, taken.action) == ("delivery.failed", "delivery", "failed")
    assert taken.description != "mine"
    assert taken.json_schema == of_a.json_schema
    assert [version.json_schema for version in versions] == [{"type": "array"}]
    assert before.count("delivery.failed of tenant b") == 1
    assert caplog.text == before
    assert caplog.records[0].levelno == logging.WARNING
    for event in events:
        rules.check_event(event)
