"""What a caller may be allowed to do: permissions, each a resource and an action, and the roles that name sets of them.

Their names are stored with API keys and in tokens, and never change."""

from collections.abc import Iterable

ACTIONS = {
    "event": ("add", "list", "edit", "delete"),
    "webhook": ("add", "list", "edit", "delete", "test"),
    "subscription": ("add", "list", "edit", "delete"),
    "source": ("add", "list", "edit", "delete"),
    "occurrence": ("publish", "list", "read", "erase"),
    "delivery": ("list", "read", "read_body", "resend", "cancel"),
    "job": ("list", "stop"),
    "key": ("add", "list", "delete"),
    "role": ("add", "list", "edit", "delete"),
    "token": ("add",),
    "tenant": ("add", "list", "edit", "delete"),
    "audit": ("list",),
}
"""The actions on each resource. `list` also reads one of them, except for occurrences and deliveries: there it shows
neither data nor bodies, which have permissions of their own."""
PERMISSIONS = frozenset(f"{resource}:{action}" for resource, actions in ACTIONS.items() for action in actions)
OF_INSTALLATION = frozenset(f"tenant:{action}" for action in ACTIONS["tenant"])
"""Permissions on all tenants. Only the tenant HOME can have them."""
HOME = "default"
"""The tenant of whoever runs the installation."""

_ADMINISTRATOR = PERMISSIONS - OF_INSTALLATION
_VIEWER = frozenset(f"{resource}:list" for resource in ("event", "webhook", "subscription", "source")) | {
    "occurrence:list",
    "delivery:list",
    "delivery:read",
    "job:list",
}
ROLES = {
    "viewer": _VIEWER,
    "publisher": frozenset({"event:list", "occurrence:publish", "occurrence:list", "token:add"}),
    "operator": _VIEWER
    | {f"{resource}:{action}" for resource in ("webhook", "subscription", "source") for action in ACTIONS[resource]}
    | {"occurrence:publish", "occurrence:read", "token:add"}
    | {"delivery:read_body", "delivery:resend", "delivery:cancel", "job:stop"},
    "administrator": _ADMINISTRATOR,
    "installation_administrator": PERMISSIONS,
}
"""The built-in roles. A tenant adds roles of its own."""
ADMINISTRATOR, INSTALLATION_ADMINISTRATOR = "administrator", "installation_administrator"


OF_CONSUMERS = frozenset(
    {
        "event:list",
        *(f"{resource}:{action}" for resource in ("webhook", "subscription") for action in ACTIONS[resource]),
        *(f"job:{action}" for action in ACTIONS["job"]),
        *(f"delivery:{action}" for action in ("list", "read", "read_body", "resend", "cancel")),
    }
)
"""Permissions that a caller with a client identifier can have. All of them are about webhooks of that client."""


def administrator_of(tenant: str) -> str:
    """Return the role that may do everything in this tenant."""
    return INSTALLATION_ADMINISTRATOR if tenant == HOME else ADMINISTRATOR


def known(permissions: Iterable[str], tenant: str) -> frozenset[str]:
    """Return those that exist and that the tenant can have: a newer version may have stored others."""
    return PERMISSIONS.intersection(permissions) - (frozenset() if tenant == HOME else OF_INSTALLATION)
