"""docker-compose.yml as a test reads it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")
Service = dict[str, Any]


def services() -> dict[str, Service]:
    found: dict[str, Service] = yaml.safe_load(FILE.read_text())["services"]
    return found


def asked_for(text: str) -> set[str]:
    """The variables without which compose refuses to start."""
    return {found["name"] for found in _VARIABLE.finditer(text) if found["kind"] == "?"}


def environment(service: Service, given: Mapping[str, str]) -> dict[str, str]:
    """What compose would set, where the operator's .env holds what is given."""

    def value(found: re.Match[str]) -> str:
        if found["name"] in given:
            return given[found["name"]]
        assert found["kind"] == "-", f"{found['name']} is asked for"
        return str(found["rest"])

    return {name: _VARIABLE.sub(value, text) for name, text in service["environment"].items()}
