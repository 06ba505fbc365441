"""`make new-api-key`: makes an API key and prints it once, for whoever can reach the database.

For a key that is lost. With `--revoke-others`, every other key of the tenant ends: for a key that somebody else has.
"""

import argparse
import getpass
import logging
import sys

from pydantic import JsonValue
from sqlalchemy.exc import SQLAlchemyError

from webhooks import process
from webhooks.errors import CannotRunError
from webhooks.identity.keyring import new_key
from webhooks.identity.permissions import ROLES, administrator_of
from webhooks.settings import Settings
from webhooks.store import api_keys, tenants
from webhooks.store.database import Database
from webhooks.store.models import AuditEntry

log = logging.getLogger("new_api_key")


async def main(settings: Settings) -> None:
    """Store a new key and print it to stdout. Raises CannotRunError."""
    parser = argparse.ArgumentParser(prog="new_api_key", description="Make an API key and print it once.")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--name", default="administrator")
    parser.add_argument("--revoke-others", action="store_true", help="end every other key of the tenant")
    parser.add_argument("--role", choices=sorted(ROLES), help="the tenant's administrator, if left out")
    chosen = parser.parse_args()
    key, role = new_key(), chosen.role or administrator_of(chosen.tenant)
    database = Database.of(settings)
    try:
        async with database.write_alone() as session:
            if await tenants.find(session, chosen.tenant) is None:
                raise CannotRunError(f"There is no tenant {chosen.tenant}. POST /v1/tenants creates one.")
            revoked = await api_keys.revoke_all(session, chosen.tenant) if chosen.revoke_others else 0
            row = api_keys.add(session, tenant=chosen.tenant, name=chosen.name, key=key, role=role)
            if revoked:
                session.add(_entry(chosen.tenant, "key.delete", "every other key", {"keys": [revoked, 0]}))
            session.add(_entry(chosen.tenant, "key.add", row.id, {"name": [None, chosen.name], "role": [None, role]}))
    except SQLAlchemyError as error:
        raise CannotRunError(
            f"Cannot store a key: {getattr(error, 'orig', error)}. The platform must have run once on this database."
        ) from None
    finally:
        await database.close()
    if chosen.revoke_others:
        (settings.data_dir / "bootstrap.key").unlink(missing_ok=True)  # it holds a key that has ended
        log.info("revoked %d keys; running processes accept them for a few seconds more", revoked)
    sys.stdout.write(f"{key}\n")


def _entry(tenant: str, action: str, resource: str, changes: dict[str, JsonValue]) -> AuditEntry:
    return AuditEntry(
        tenant=tenant,
        actor="command:new-api-key",
        actor_name=getpass.getuser(),
        address="",
        action=action,
        resource=resource,
        changes=changes,
    )


if __name__ == "__main__":
    process.run(main)
