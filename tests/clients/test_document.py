"""The OpenAPI document: what client generators make of it depends on its names, defaults and examples."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from webhooks.testing.platform_process import Json, PlatformProcess

Found = tuple[str, Json, Any]


def values(node: Any, place: str = "") -> Iterator[Found]:
    """Yield each example and default of the document: where it is, its schema, and the value."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from values(item, f"{place}/{index}")
    elif isinstance(node, dict):
        if "schema" in node and "example" in node:
            yield f"{place}/example", node["schema"], node["example"]
        if isinstance(node.get("examples"), list):
            for index, example in enumerate(node["examples"]):
                yield f"{place}/examples/{index}", node, example
        if "default" in node:
            yield f"{place}/default", node, node["default"]
        for name, member in node.items():
            if name == "properties":
                for field, schema in member.items():
                    yield from values(schema, f"{place}/properties/{field}")
            elif name not in ("example", "examples", "default"):
                yield from values(member, f"{place}/{name}")


def operations(document: Json) -> list[tuple[str, str, Json]]:
    return [(method, path, found) for path, item in document["paths"].items() for method, found in item.items()]


def test_values_finds_what_stands_in_a_document() -> None:
    document = {
        "schema": {"properties": {"default": {"type": "string", "default": "a"}, "b": {"examples": [1, 2]}}},
        "example": {"b": 1},
    }

    assert [(place, value) for place, _, value in values(document)] == [
        ("/example", {"b": 1}),
        ("/schema/properties/default/default", "a"),
        ("/schema/properties/b/examples/0", 1),
        ("/schema/properties/b/examples/1", 2),
    ]


async def test_every_example_and_default_fits_its_schema(document: Json) -> None:
    found = list(values(document))
    problems = []
    for place, schema, value in found:
        whole = {"components": document["components"], **schema}
        validator = jsonschema_rs.validator_for(whole, validate_formats=True)
        problems += [f"{place}: {error.message}" for error in validator.iter_errors(value)]

    assert problems == []
    assert len(found) > 100


async def test_no_default_is_an_object(document: Json) -> None:
    """openapi-python-client leaves out every model that has one, and every call that takes the model."""
    assert [
        place for place, _, value in values(document) if place.endswith("/default") if isinstance(value, dict)
    ] == []


async def test_a_request_body_can_be_left_out_but_is_never_null(document: Json) -> None:
    """For a body that may be null, openapi-python-client makes a call that fails without one."""
    bodies = [operation["requestBody"] for _, _, operation in operations(document) if "requestBody" in operation]
    schemas = [media["schema"] for body in bodies for media in body["content"].values()]

    assert [schema for schema in schemas if "anyOf" in schema or schema.get("type") == "null"] == []
    assert [body.get("required", False) for body in bodies].count(False) == 5


async def test_a_parameter_can_be_left_out_but_is_never_null(document: Json) -> None:
    """It is text, in which null is a word like others."""
    schemas = [
        parameter["schema"] for _, _, operation in operations(document) for parameter in operation.get("parameters", ())
    ]
    assert len(schemas) > 100
    assert [schema for schema in schemas if "null" in str(schema)] == []


async def test_calls_and_models_have_short_names(document: Json) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]

    assert {"createEvent", "createWebhook", "publishOccurrence", "listDeliveries", "resendDelivery"} <= set(ids)
    assert [id for id in ids if not re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", id)] == []
    assert len(set(ids)) == len(ids)
    assert [name for name in document["components"]["schemas"] if not re.fullmatch(r"[A-Z][A-Za-z]+", name)] == []


async def test_what_any_call_can_answer_is_documented(document: Json) -> None:
    for method, path, operation in operations(document):
        if path.startswith("/v1/"):
            expected = {"401", "422", "503"}
            expected |= {"413", "415"} if "requestBody" in operation else set()
            expected |= {"404"} if "{" in path else set()

            assert expected <= operation["responses"].keys(), f"{method} {path}"


@pytest.fixture
async def documented(platform: PlatformProcess) -> Json:
    """The ids that the examples of request bodies name, and real ones instead."""
    key = await platform.event()
    webhook = await platform.post("/v1/webhooks", {"url": "https://receiver.invalid/", "active": False})
    return {"event": key, "webhook_id": webhook["id"]}


async def test_every_example_of_a_request_is_accepted(
    platform: PlatformProcess, document: Json, documented: Json
) -> None:
    tried = 0
    source = {"name": "GitHub", "event": documented["event"], "verification": {"type": "github"}}
    source_id = (await platform.post("/v1/sources", source))["id"]
    for method, path, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        for reference in re.findall(r"#/components/schemas/(\w+)", str(content)):
            for example in document["components"]["schemas"][reference].get("examples", []):
                body = example | {name: value for name, value in documented.items() if name in example}
                at = path.replace("{key}", documented["event"]).replace(
                    "{id}", source_id if "/sources/" in path else documented["webhook_id"]
                )
                answer = await platform.http.request(method, at, json=body)
                tried += 1

                assert answer.is_success or answer.status_code == 409, f"{method} {path}: {answer.text}"
                if reference == "WebhookIn":  # nothing may be sent to the example's URL
                    assert (await platform.http.delete(answer.headers["location"])).status_code == 204

    assert tried >= 7
