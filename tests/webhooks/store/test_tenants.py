"""The rows of tenants."""

from datetime import UTC, datetime

from sqlmodel import SQLModel, select

from webhooks.credentials.vault import Vault, new_key
from webhooks.settings import Settings
from webhooks.store import api_keys, tenants
from webhooks.store.database import Database
from webhooks.store.models import (
    ApiKey,
    AuditEntry,
    Event,
    EventVersion,
    IdempotentAnswer,
    Role,
    Session,
    Source,
    StoredPayloadKey,
    Subscription,
    Tenant,
    Webhook,
)


def rows_of(id: str) -> list[SQLModel]:
    """Return a row of each kind."""
    event, webhook = Event(tenant=id, key="E"), Webhook(tenant=id, url="https://a.example/")
    return [
        event,
        webhook,
        EventVersion(event_id=event.id, version=1),
        Subscription(tenant=id, event_id=event.id, webhook_id=webhook.id),
        Role(tenant=id, name="r"),
        ApiKey(tenant=id, name="n", digest=api_keys.digest(id)),
        StoredPayloadKey(tenant=id, sealed=b"x"),
        AuditEntry(tenant=id, actor="a", actor_name="n", address="", action="x", resource="y"),
        Session(digest=id, tenant=id, expires_at=datetime.now(UTC)),
        Source(tenant=id, name="n", event="E"),
        IdempotentAnswer(id=id, tenant=id, digest="d", sealed=b"x"),
    ]


async def test_deleting_a_tenant_deletes_its_rows_and_no_others(settings: Settings) -> None:
    database = Database.of(settings)
    await database.migrate(Vault(new_key()))
    async with database.write() as session:
        session.add_all(Tenant(id=id, name=id) for id in ("a", "b"))
        for id in ("a", "b"):
            rows = rows_of(id)
            session.add_all(rows[:2])
            await session.flush()
            session.add_all(rows[2:])
    async with database.write() as session:
        gone = await tenants.find(session, "a", lock=True)
        assert gone
        gone.deleting_since = datetime.now(UTC)
    async with database.write() as session:
        await tenants.delete_rows(session, "a")
        taken = await tenants.is_taken(session, "a")
        for id in ("a", "b"):
            await tenants.delete_deleted(session, id)
    async with database.read() as session:
        kinds = {type(row) for row in rows_of("x")}
        left = {kind: len((await session.exec(select(kind))).all()) for kind in kinds}
        ids = await tenants.ids(session)
        key_of_deleted = await api_keys.find(session, "a")
    await database.close()

    assert taken
    assert left == dict.fromkeys(kinds, 1)
    assert ids == ["b", "default"], "b is not being deleted"
    assert key_of_deleted is None
    assert {kind.__tablename__ for kind in kinds} == SQLModel.metadata.tables.keys() - {"tenants", "signing_keys"}


async def test_who_is_paused(settings: Settings) -> None:
    database = Database.of(settings)
    await database.migrate(Vault(new_key()))
    async with database.write() as session:
        session.add(Tenant(id="a", name="A", suspended=True))
        session.add(Tenant(id="b", name="B", deleting_since=datetime.now(UTC)))
        session.add(ApiKey(tenant="a", name="n", digest=api_keys.digest("of-a")))
        session.add(ApiKey(tenant="b", name="n", digest=api_keys.digest("of-b")))
    async with database.read() as session:
        paused = await tenants.paused(session)
        of_a, of_b = [await api_keys.find_with_tenant(session, f"of-{id}") for id in "ab"]
    await database.close()

    assert sorted(paused) == ["a", "b"]
    assert of_a
    assert of_a[1] is True
    assert of_b is None
