from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from webhooks import cores, process
from webhooks.settings import RENAMED, Settings

SECRET = "top-s3cret-key"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"WEBHOOKS_{name.upper()}", raising=False)
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", *RENAMED):
        monkeypatch.delenv(name, raising=False)


def test_without_an_environment_nothing_private_is_reachable_and_all_is_local() -> None:
    settings = Settings()

    assert settings.egress_allow == ()
    assert settings.host == "127.0.0.1"
    assert settings.bootstrap_key is None
    assert settings.master_key is None
    assert settings.temporal_target == "127.0.0.1:7233"
    assert settings.temporal_ui == "http://localhost:8233"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" , ", []),
        ("10.0.0.0/8", ["10.0.0.0/8"]),
        ("10.0.0.0/8,192.168.0.0/16", ["10.0.0.0/8", "192.168.0.0/16"]),
        (" 10.0.0.0/8 ,\n fd00::/8 127.0.0.1 ", ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"]),
        ("::1", ["::1/128"]),
        ("10.0.0.0/255.0.0.0", ["10.0.0.0/8"]),
    ],
)
def test_the_operator_s_networks_are_cidrs(monkeypatch: pytest.MonkeyPatch, text: str, expected: list[str]) -> None:
    monkeypatch.setenv("WEBHOOKS_EGRESS_ALLOW", text)

    assert tuple(ip_network(cidr) for cidr in expected) == Settings().egress_allow


@pytest.mark.parametrize("bad", ["10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "fd00::/129", "localhost", "*", "0x7f000001"])
def test_what_is_no_cidr_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    monkeypatch.setenv("WEBHOOKS_EGRESS_ALLOW", f"192.168.0.0/16, {bad}")

    with pytest.raises(ValidationError) as caught:
        Settings()
    [error] = caught.value.errors()
    assert error["loc"] == ("egress_allow",)
    assert bad in error["msg"]
    assert "192.168.0.0" not in error["msg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.1/8", "10.0.0.1/8 has bits set after its prefix; write 10.0.0.0/8 for the network, or 10.0.0.1 for"),
        ("fd00::1/8", "fd00::1/8 has bits set after its prefix; write fd00::/8 for the network, or fd00::1 for"),
        ("localhost", "localhost is not a network; write one like 10.0.0.0/8"),
    ],
)
def test_a_bad_network_is_told_with_what_to_write(monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.setenv("WEBHOOKS_EGRESS_ALLOW", text)

    with pytest.raises(SystemExit) as caught:
        process.run(NotImplemented)
    assert str(caught.value).startswith(f"Bad setting: WEBHOOKS_EGRESS_ALLOW: {message}")


@pytest.mark.parametrize("name", ["bootstrap_key", "master_key"])
def test_a_key_shows_nowhere_but_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"WEBHOOKS_{name.upper()}", SECRET)
    settings = Settings()

    assert getattr(settings, name).get_secret_value() == SECRET
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json() + repr(settings.model_dump())


@pytest.mark.parametrize(
    "url", ["http://proxy:3128", "http://10.0.0.1:3128/", "http://[::1]:3128", "http://user:p%40ss@proxy.example:3128"]
)
def test_a_proxy_may_have_a_password_which_shows_nowhere(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WEBHOOKS_EGRESS_PROXY", url)
    settings = Settings()

    assert settings.egress_proxy is not None
    assert settings.egress_proxy.get_secret_value() == url
    assert "p%40ss" not in repr(settings) + str(settings) + settings.model_dump_json() + repr(settings.model_dump())


def test_a_bad_proxy_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOKS_EGRESS_PROXY", f"https://user:{SECRET}@proxy:3128")

    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "http://user:password@host:port" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:p%40ss@host/database",
        "postgres://user:p%40ss@host:5432/database?sslmode=require",
        "postgresql://user:p%40ss@one:5432,[::1]:5433/database",
        "postgresql:///database?host=/var/run/postgresql",
    ],
)
def test_the_database_may_have_a_password_which_shows_nowhere(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WEBHOOKS_DATABASE_URL", url)
    settings = Settings()

    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == url
    assert "p%40ss" not in repr(settings) + str(settings) + settings.model_dump_json() + repr(settings.model_dump())


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}@host",
        f"postgresql://user:{SECRET}/x@host/database",
        f"mysql://user:{SECRET}@host/database",
        f"postgresql+asyncpg://user:{SECRET}@host/database",
    ],
)
def test_a_bad_database_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WEBHOOKS_DATABASE_URL", url)

    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "postgresql://user:password@host/database" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ".data/master.key"),
        ({"WEBHOOKS_DATA_DIR": "/var/lib/webhooks"}, "/var/lib/webhooks/master.key"),
        ({"WEBHOOKS_DATA_DIR": "/x", "WEBHOOKS_MASTER_KEY_FILE": "/run/secrets/key"}, "/run/secrets/key"),
    ],
)
def test_where_the_master_key_is(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert Path(expected) == Settings().master_key_path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEBHOOKS_PORT", "65536"),
        ("WEBHOOKS_PORT", "http"),
        ("WEBHOOKS_TEMPORAL_PORT", "0"),
        ("WEBHOOKS_RESEND_WINDOW", "0"),
        ("WEBHOOKS_RESEND_WINDOW", "2592001"),
        ("WEBHOOKS_RESEND_WINDOW", "nan"),
        ("WEBHOOKS_EMBEDDED_WORKER", "perhaps"),
        ("WEBHOOKS_EGRESS_PROXY", "proxy:3128"),
        ("WEBHOOKS_EGRESS_PROXY", "https://proxy:3128"),
        ("WEBHOOKS_EGRESS_PROXY", "socks5://proxy:1080"),
        ("WEBHOOKS_EGRESS_PROXY", "http://proxy:3128/path"),
        ("WEBHOOKS_EGRESS_PROXY", "http://"),
        ("WEBHOOKS_EGRESS_PROXY", "http://a/b@proxy"),
    ],
)
def test_a_value_out_of_bounds_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError):
        Settings()


@pytest.mark.parametrize(
    ("variables", "target", "ui"),
    [
        ({"WEBHOOKS_TEMPORAL_PORT": "17233"}, "127.0.0.1:17233", "http://localhost:8233"),
        ({"WEBHOOKS_TEMPORAL_UI_PORT": "18233"}, "127.0.0.1:7233", "http://localhost:18233"),
        (
            {"TEMPORAL_ADDRESS": "temporal:7233", "WEBHOOKS_TEMPORAL_PORT": "1"},
            "temporal:7233",
            "http://localhost:8233",
        ),
        ({"TEMPORAL_ADDRESS": ""}, "127.0.0.1:7233", "http://localhost:8233"),
        ({"WEBHOOKS_TEMPORAL_UI_URL": "https://temporal.example/"}, "127.0.0.1:7233", "https://temporal.example"),
    ],
)
def test_where_temporal_is(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], target: str, ui: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings()

    assert (target, ui) == (settings.temporal_target, settings.temporal_ui)


@pytest.mark.parametrize(
    ("variables", "rate", "warnings"),
    [
        ({}, 20, []),
        ({"WEBHOOKS_RESUME_RATE": "5"}, 5, []),
        ({"WEBHOOKS_RELEASE_RATE": ""}, 20, []),
        (
            {"WEBHOOKS_RELEASE_RATE": "7"},
            7,
            ["WEBHOOKS_RELEASE_RATE has a new name: set WEBHOOKS_RESUME_RATE instead"],
        ),
        (
            {"WEBHOOKS_RELEASE_RATE": "7", "WEBHOOKS_RESUME_RATE": "5"},
            5,
            ["WEBHOOKS_RELEASE_RATE has a new name: set WEBHOOKS_RESUME_RATE instead"],
        ),
    ],
)
def test_the_old_name_of_a_variable_is_read_and_the_process_warns_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variables: dict[str, str],
    rate: float,
    warnings: list[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    # What run() sets for a whole process, this one keeps as it is.
    monkeypatch.setenv("TEMPORAL_WORKFLOW_TASK_DURATION_WARN_SECONDS", "60")
    monkeypatch.setattr("webhooks.telemetry.logs.set_up", lambda *_: None)
    monkeypatch.setattr(process, "tune_gc", lambda: None)
    monkeypatch.setattr("os.umask", lambda _: 0)
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    seen = list[float]()

    async def main(settings: Settings) -> None:
        seen.append(settings.resume_rate)

    process.run(main)

    assert seen == [rate]
    assert warnings == [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("name", ["WEBHOOKS_RESUME_RATE", "WEBHOOKS_RELEASE_RATE"])
def test_a_bad_value_under_the_old_name_names_both(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "0")

    with pytest.raises(SystemExit) as caught:
        process.run(NotImplemented)
    assert "WEBHOOKS_RESUME_RATE: must be greater than 0" in str(caught.value)
    assert name in str(caught.value)


def test_variables_of_others_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("DATA_DIR", "/nowhere")
    monkeypatch.setenv("WEBHOOKS_TEMPORAL_NAMESPACE", "theirs")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "ours")
    settings = Settings()

    assert (settings.port, settings.data_dir, settings.temporal_namespace) == (8000, Path(".data"), "ours")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"OIDC_AUDIENCE": "a"}, "Bad setting: WEBHOOKS_OIDC_ISSUER must be set as well"),
        ({"OIDC_ISSUER": "https://i"}, "Bad setting: WEBHOOKS_OIDC_AUDIENCE or WEBHOOKS_OIDC_CLIENT_ID must be set"),
        (
            {"OIDC_ISSUER": "https://i", "OIDC_CLIENT_ID": "c"},
            "Bad setting: WEBHOOKS_OIDC_CLIENT_SECRET and WEBHOOKS_PUBLIC_URL must be set",
        ),
        (
            {"OIDC_ISSUER": "https://i", "OIDC_CLIENT_ID": "c", "OIDC_AUDIENCE": "c"},
            "Bad setting: WEBHOOKS_OIDC_AUDIENCE must not be the client id",
        ),
        (
            {"OIDC_ISSUER": "https://i", "OIDC_AUDIENCE": "a", "PUBLIC_URL": "https://i"},
            "Bad setting: WEBHOOKS_OIDC_ISSUER must not be WEBHOOKS_PUBLIC_URL",
        ),
        ({"OIDC_ALGORITHMS": "RS256 HS256"}, "Bad setting: WEBHOOKS_OIDC_ALGORITHMS: "),
        ({"OIDC_ALGORITHMS": "none"}, "Bad setting: WEBHOOKS_OIDC_ALGORITHMS: "),
        ({"PUBLIC_URL": "https://h.example/path"}, "Bad setting: WEBHOOKS_PUBLIC_URL: must be https://host"),
        ({"PUBLIC_URL": "javascript:alert(1)"}, "Bad setting: WEBHOOKS_PUBLIC_URL: must be https://host"),
    ],
)
def test_settings_about_callers_fit_each_other(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"WEBHOOKS_{name}", value)

    with pytest.raises(SystemExit) as caught:
        process.run(NotImplemented)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("text", ["auto", " AUTO "])
def test_as_many_processes_as_cores(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("WEBHOOKS_PROCESSES", text)

    assert Settings().processes == min(cores.usable(), 64) >= 1


@pytest.mark.parametrize("bad", ["0", "65", "-1", "2.5", "many"])
def test_a_number_of_processes_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    monkeypatch.setenv("WEBHOOKS_PROCESSES", bad)

    with pytest.raises(SystemExit, match="WEBHOOKS_PROCESSES: "):
        process.run(NotImplemented)


def test_each_process_has_metrics_ports_of_its_own() -> None:
    settings = Settings(processes=3, metrics_port=9000, temporal_metrics_port=9003)
    ports = [(one.metrics_port, one.temporal_metrics_port) for one in map(settings.of_process, range(3))]

    assert ports == [(9000, 9003), (9001, 9004), (9002, 9005)]
    assert Settings(processes=3).of_process(2).metrics_port is None


@pytest.mark.parametrize(("ours", "of_temporal"), [(9000, 9002), (9002, 9000), (65534, None), (None, 65534)])
def test_metrics_ports_of_several_processes_must_not_meet(ours: int | None, of_temporal: int | None) -> None:
    with pytest.raises(ValidationError, match="WEBHOOKS_METRICS_PORT"):
        Settings(processes=3, metrics_port=ours, temporal_metrics_port=of_temporal)
