"""Reading an event catalogue from a file: a list of events, or the `webhooks` of an OpenAPI 3.1 document."""

from pydantic import JsonValue

from webhooks.events import openapi, yaml_documents
from webhooks.json_documents import DocumentError, Path

MAX_EVENTS = 1000


def read(content: bytes) -> list[tuple[Path, dict[str, JsonValue]]]:
    """Return the events as POST /v1/events takes them, each with its path in the file. The events are not validated.

    Raises DocumentError if the file is not a catalogue."""
    document = yaml_documents.read(content)
    if isinstance(document, dict) and document.keys() & {"openapi", "swagger"}:
        path: Path = ("webhooks",)
        events: list[tuple[Path, dict[str, JsonValue]]] = [
            ((*path, str(event["key"])), event) for event in openapi.events(document)
        ]
    else:
        events, path = _listed(document)
    if not events:
        raise DocumentError("the catalogue has no events", path)
    if len(events) > MAX_EVENTS:
        raise DocumentError(f"the catalogue has more than {MAX_EVENTS} events", path)
    return events


def _listed(document: JsonValue) -> tuple[list[tuple[Path, dict[str, JsonValue]]], Path]:
    path: Path = ()
    if isinstance(document, dict) and "events" in document:
        if others := document.keys() - {"events"}:
            raise DocumentError("unknown member; only `events` is allowed here", (min(others),))
        document, path = document["events"], ("events",)
    if not isinstance(document, list):
        raise DocumentError("expected a list of `events`, or an OpenAPI 3.1 document with `webhooks`", path)
    events = []
    for index, event in enumerate(document):
        if not isinstance(event, dict):
            raise DocumentError("an event must be an object", (*path, index))
        events.append(((*path, index), event))
    return events, path
