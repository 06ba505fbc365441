"""docker-compose.yml, the Dockerfile and what they mount, as far as they can be judged without Docker."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from tests.support import compose
from tests.support.compose import ROOT
from webhooks.settings import Settings

SERVICES = compose.services()
JOBS = {"migrations", "schema", "namespace"}
BLIND = {"otel-collector", "jaeger"}
"""Images without a shell or a program that could ask them for their health."""


def test_it_fits_the_compose_specification() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
    document = yaml.safe_load(compose.FILE.read_text())

    assert [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(document)] == []


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_bounded_watched_and_restarted(name: str) -> None:
    service = SERVICES[name]

    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["restart"] == ("on-failure:5" if name in JOBS else "unless-stopped")
    assert ("healthcheck" in service) is (name not in JOBS | BLIND)
    assert "max-size" in service["logging"]["options"]
    tag = service["image"].rpartition(":")[2]
    assert re.search(r"\d+\.\d+", tag), f"{service['image']} is whatever is newest"


@pytest.mark.parametrize("name", SERVICES)
def test_nobody_waits_for_what_never_comes(name: str) -> None:
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        assert condition["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]
        assert (condition["condition"] == "service_completed_successfully") is (other in JOBS)


def test_every_password_and_key_is_asked_for_and_explained() -> None:
    text, example = compose.FILE.read_text(), (ROOT / ".env.example").read_text()
    secret = [
        value
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if re.search("PASSWORD|_KEY", name)
    ]

    assert secret
    assert all(value.startswith("${") and ":?" in value for value in secret)
    assert set(re.findall(r"(?m)^([A-Z_]+)=$", example)) == compose.asked_for(text)
    assert not re.search(r"(?m)^[A-Z_]+=.+$", example)  # nothing that works as it stands


def test_only_this_machine_reaches_what_has_no_login() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published.keys() == {"proxy", "temporal-ui", "jaeger", "prometheus", "grafana"}
    assert all(
        re.match(r"127\.0\.0\.1:|\$\{WEBHOOKS_PUBLISHED:-127\.0\.0\.1:8000\}:", port) for [port] in published.values()
    )


@pytest.mark.parametrize("name", ["api", "worker", "migrations"])
def test_our_processes_may_do_nothing_that_they_need_not(name: str) -> None:
    service = SERVICES[name]
    user = re.search(r"(?m)^USER (\d+):", (ROOT / "Dockerfile").read_text())

    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert user
    assert int(user[1]) > 0


@pytest.mark.parametrize("name", ["api", "worker", "migrations"])
def test_every_setting_of_ours_is_one(name: str) -> None:
    known = {f"WEBHOOKS_{field.upper()}" for field in Settings.model_fields}
    used = {variable for variable in SERVICES[name]["environment"] if variable.startswith("WEBHOOKS_")}

    assert used <= known, used - known


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (ROOT / source).exists(), source


@pytest.mark.parametrize("file", sorted((ROOT / "deploy").rglob("*.y*ml")), ids=lambda file: file.name)
def test_the_files_of_other_servers_are_yaml(file: Path) -> None:
    if "enable-template" not in file.read_text():
        assert yaml.safe_load(file.read_text())


@pytest.mark.thorough
def test_the_image_holds_all_that_its_processes_import(tmp_path: Path) -> None:
    """And nothing else: no tests, no data of whoever builds it."""
    copied = re.findall(r"(?m)^COPY (?!--from)(\S+) ", (ROOT / "Dockerfile").read_text())
    allowed = re.findall(r"(?m)^!(\S+)$", (ROOT / ".dockerignore").read_text())
    for name in copied:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    modules = "import api.__main__, api.serving, api.processes, api.child, worker"
    modules += ", webhooks.store.migrate, webhooks.store.rotate_master_key"
    imported = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.'); {modules}"], cwd=tmp_path, check=False
    )

    assert imported.returncode == 0
    assert sorted(copied) == sorted(allowed)
