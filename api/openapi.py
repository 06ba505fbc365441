"""The OpenAPI document, as client generators need it: short operation ids, and every status that a call can answer."""

import json
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.protocol.idempotency import HEADER
from api.protocol.problems import Problem, responses

_PREFIX = "/v1/"
_NOT_REPEATABLE = ("/v1/tokens",)
"""Paths whose creating call takes no `Idempotency-Key`."""
_STARTS_A_JOB = ("/v1/deliveries/resend", "/v1/deliveries/cancel", "/v1/webhooks/{id}/replay")
"""Paths whose call answers 202, and takes an `Idempotency-Key`."""
_IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "Makes it safe to repeat the call for 24 hours: it creates nothing twice, and the answer is the "
    "first one. 422 if the key was used with another body",
}


def operation_id(route: APIRoute) -> str:
    """Return the name that generated clients give to the call, like `createEvent`."""
    first, *others = route.name.split("_")
    return first + "".join(word.capitalize() for word in others)


def install(app: FastAPI) -> None:
    """Complete the app's OpenAPI document."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(describe())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    document = _renamed(document)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    document["components"]["schemas"] |= {**problem.pop("$defs"), "Problem": problem}
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        for example in schema.get("examples", ()):
            _with_nulls(schemas, schema, example)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _without_null(parameter["schema"])
        if path.startswith(_PREFIX):
            for method, operation in operations.items():
                # What the declarations do not repeat: a body can be too large or of another type, any call needs the
                # database, and anybody can call too often.
                added = responses(429, 503, *((413, 415) if "requestBody" in operation else ()))
                declared = operation["responses"] | {str(status): answer for status, answer in added.items()}
                creates = "201" in declared and method == "post" and path not in _NOT_REPEATABLE
                if creates or path in _STARTS_A_JOB:
                    declared |= {str(status): answer for status, answer in responses(409).items()}
                    operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
                operation["responses"] = dict(sorted(declared.items()))
    return document


def _renamed(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with each schema under its title: `EventPage` instead of `Page_EventOut_`."""
    text = json.dumps(document)
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("_"):
            text = text.replace(f'"{name}"', f'"{schema["title"]}"').replace(f'/{name}"', f'/{schema["title"]}"')
    renamed: dict[str, Any] = json.loads(text)
    return renamed


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter without the alternative null: a parameter is text, or it is absent."""
    others = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if not others:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**rest, **others[0]} if len(others) == 1 else {**rest, "anyOf": others}


def _with_nulls(schemas: dict[str, Any], schema: dict[str, Any], example: Any) -> None:
    """Set each required field that the example does not have to null: FastAPI leaves null out of examples."""
    schema = next(iter(schema.get("anyOf", [schema])))
    schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if isinstance(example, list):
        for item in example:
            _with_nulls(schemas, schema.get("items", {}), item)
    elif isinstance(example, dict):
        for name in schema.get("required", ()):
            example.setdefault(name, None)
        for name, member in schema.get("properties", {}).items():
            _with_nulls(schemas, member, example.get(name))
