"""Roles, and what docs/security.md says of them."""

import re

from webhooks.identity.permissions import ACTIONS, HOME, OF_INSTALLATION, PERMISSIONS, ROLES, administrator_of, known
from webhooks.testing.child_process import ROOT


def test_roles_grow() -> None:
    assert ROLES["viewer"] < ROLES["operator"] < ROLES["administrator"] < ROLES["installation_administrator"]
    assert ROLES["publisher"] < ROLES["operator"]
    assert ROLES["installation_administrator"] == PERMISSIONS


def test_only_the_home_tenant_has_permissions_on_tenants() -> None:
    everything = [*PERMISSIONS, "webhook:fly"]

    assert known(everything, HOME) == PERMISSIONS
    assert known(everything, "acme") == PERMISSIONS - OF_INSTALLATION == ROLES[administrator_of("acme")]


def test_a_viewer_sees_no_body_and_changes_nothing() -> None:
    assert {permission.partition(":")[2] for permission in ROLES["viewer"]} == {"list", "read"}
    assert "occurrence:read" not in ROLES["viewer"]


def test_the_page_lists_every_permission() -> None:
    text = (ROOT / "docs/security.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (`[^|]+`) \|", text, re.MULTILINE))

    assert {name: re.findall(r"`(\w+)`", actions) for name, actions in rows.items() if name in ACTIONS} == {
        name: list(actions) for name, actions in ACTIONS.items()
    }
