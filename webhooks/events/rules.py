"""Rules for an event of the catalogue, so that no delivery fails because of its event."""

import json
from datetime import UTC, datetime

from pydantic import JsonValue

from webhooks.contracts import Occurrence
from webhooks.errors import WebhooksError
from webhooks.events import json_schema, rendering
from webhooks.json_pointer import json_pointer
from webhooks.store.models import Event

_MAX_BYTES = 64 * 1024
"""Size of a sample, and of a template."""
_COMPOSING = {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas", "patternProperties"}
"""Keywords with which a schema describes more names than those in its `properties`."""


class BadEventError(WebhooksError, ValueError):
    """The event breaks a rule. `errors` are pairs of a JSON pointer into the event and what is wrong there."""

    def __init__(self, message: str, *errors: tuple[str, str]) -> None:
        super().__init__(message)
        self.errors = errors


def check_event(event: Event) -> None:
    """Raise BadEventError if schema, template or sample is wrong, or if they do not fit together."""
    for field, value in (("sample", event.sample), ("template", event.template)):
        if len(json.dumps(value, ensure_ascii=False).encode()) > _MAX_BYTES:
            raise _bad(f"/{field}", f"the {field} is larger than {_MAX_BYTES} bytes")
    if event.json_schema is not None:
        try:
            json_schema.check_schema(event.json_schema)
        except json_schema.NotASchemaError as error:
            raise _bad("/schema", f"not a JSON Schema: {error}") from None
        if event.sample is not None and (found := json_schema.violations(event.json_schema, event.sample)):
            errors = ((f"/sample{pointer}", message) for pointer, message in found)
            raise BadEventError("the sample does not match the schema", *errors)
    check_event_template(event, event.template, event.sample)
    if event.template is not None and event.sample is not None:
        occurrence = Occurrence(id="sample", event=event.key, occurred_at=datetime.now(UTC), data=event.sample)
        try:
            rendering.render(
                event.template,
                occurrence,
                rendering.own_fields(event.tenant, "sample", occurrence, event.entity, event.action),
            )
        except rendering.NotRenderedError as error:
            raise _bad("/template", f"the template cannot render the sample: {error}") from None


def check_event_template(event: Event, template: JsonValue, data: JsonValue) -> None:
    """Raise BadEventError if the template does not fit the event and data with these names."""
    own = rendering.OWN_FIELDS if event.entity else rendering.OWN_FIELDS - {"entity", "action"}
    known: set[str] = set(data) if isinstance(data, dict) else set()
    json_schema: JsonValue = event.json_schema
    if isinstance(json_schema, dict):
        properties = json_schema.get("properties")
        known |= set(properties) if isinstance(properties, dict) else set()
    composed = isinstance(json_schema, dict) and _COMPOSING & json_schema.keys()
    try:
        rendering.check_template(template, None if composed else known or None, own)
    except rendering.BadTemplateError as error:
        raise _bad(f"/template{json_pointer(error.path)}", str(error)) from None


def _bad(pointer: str, message: str) -> BadEventError:
    return BadEventError(message, (pointer, message))
