"""The settings of a process, read from environment variables once when it starts."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from webhooks import cores, disk
from webhooks.errors import CannotRunError

RENAMED = {"WEBHOOKS_RELEASE_RATE": "WEBHOOKS_RESUME_RATE"}
"""Variables that have a new name, by their old one. The old one is still read if the new one is not set."""

_POSTGRESQL = re.compile(r"postgres(ql)?://([^/?#@\s]+@)?[^/?#@\s]*/[^/?#@\s]+(\?[^#\s]*)?")
_PROXY = re.compile(r"http://([^/?#@\s]+@)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")

OidcAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Of public keys only: with a secret that is shared, whoever verifies can also sign."""
_MAX_PROCESSES = 64
_MAX_PORT = 65535
_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")


def parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the networks in a comma- or space-separated list of CIDRs. Raises ValueError, which names the first part
    that is not a CIDR."""
    return tuple(_network(part) for part in text.replace(",", " ").split())


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text} is not a network; write one like 10.0.0.0/8 or fd00::/8") from None
    address = text.split("/", maxsplit=1)[0]
    raise ValueError(
        f"{text} has bits set after its prefix; write {network} for the network, or {address} for the one address"
    )


def old_names(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each variable of `environment` that has a new name."""
    for name, value in environment.items():
        if value and (new := RENAMED.get(name.upper())):
            yield f"{name} has a new name: set {new} instead"


class Settings(BaseSettings):
    """Each field is read from `WEBHOOKS_<FIELD>`, unless it names another variable. Temporal's own settings have the
    names that Temporal's tools use."""

    model_config = SettingsConfigDict(
        env_prefix="WEBHOOKS_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    host: str = "127.0.0.1"
    """Address that the API and the metrics listen on."""
    port: Annotated[int, Field(ge=0, le=_MAX_PORT)] = 8000
    data_dir: Path = Path(".data")
    """Folder of the configuration database (unless `database_url` is set), and of the database and the log of the
    embedded Temporal server."""
    database_url: SecretStr | None = None
    """postgresql://user:password@host/database of the configuration database. Without it: SQLite in `data_dir`."""
    database_connections: Annotated[int, Field(ge=1, le=1000)] = 10
    """PostgreSQL connections of one process: up to this many for reads, and up to this many more for writes."""
    public_url: str | None = None
    """https://host or http://host:port under which callers and browsers reach the API. It names the issuer of our
    tokens, and with https, cookies go over TLS only."""
    bootstrap_key: SecretStr | None = None
    """Bearer token of the first administrator. Used only while no API key is stored."""
    oidc_issuer: str | None = None
    """https://... of a customer's identity provider (OpenID Connect), exactly as its discovery document names it."""
    oidc_audience: str | None = None
    """The `aud` of the provider's access tokens that are for us. Without it, none are accepted."""
    oidc_algorithms: Annotated[tuple[OidcAlgorithm, ...], NoDecode, Field(min_length=1)] = ("RS256", "ES256")
    """Algorithms that the provider may sign with."""
    oidc_tenant: str = "default"
    """Tenant of all who come from the provider, unless `oidc_tenant_claim` names a claim."""
    oidc_tenant_claim: str | None = None
    """Claim that holds the tenant: a name, or a JSON pointer (/organization/id)."""
    oidc_permissions_claim: str = "permissions"
    """Claim that holds permissions and roles, as a list or as words: a name or a JSON pointer (/realm_access/roles)."""
    oidc_client_claim: str | None = None
    """Claim that, if it is there, confines the caller to one client."""
    oidc_client_id: str | None = None
    """With `oidc_client_secret`: people sign in with the provider. The redirect URI is PUBLIC_URL/sign-in/callback."""
    oidc_client_secret: SecretStr | None = None
    master_key: SecretStr | None = None
    """Encrypts the secrets in the configuration database: 32 bytes in base64. With several, separated by commas, the
    first one encrypts and all of them decrypt."""
    master_key_file: Path | None = None
    """A file of master keys, one a line. With SQLite and without either setting, the API creates `master.key` in
    `data_dir`."""
    encrypt_payloads: bool = True
    """Whether what Temporal stores of a tenant is encrypted. What is encrypted already is read in any case."""
    processes: Annotated[int, Field(ge=1, le=_MAX_PROCESSES)] = 1
    """Processes of `python -m api`, each with API and worker, on one port; `auto`: one for each core."""
    embedded_worker: bool = True
    """Whether the API's process also delivers. If not, run `worker.py` processes."""
    max_backlog: Annotated[int, Field(ge=1)] = 10_000
    """An API without an embedded worker refuses occurrences while this many deliveries wait for a worker."""
    publish_wait: Annotated[float, Field(ge=0, le=60)] = 4
    """Seconds that a publication waits for room before it is refused."""
    publish_queue: Annotated[int, Field(ge=0, le=10_000)] = 200
    """Publications that wait for room at most."""
    egress_allow: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """CIDRs of private networks that deliveries may go to, also without TLS."""
    egress_proxy: SecretStr | None = None
    """http://host:port or http://user:password@host:port of a proxy for all deliveries."""
    ca_bundle: Path | None = None
    """PEM file of certificate authorities that requests trust in addition to the public ones."""
    resend_window: Annotated[float, Field(gt=0, le=30 * 86_400)] = 7 * 86_400
    """Seconds after its final failure during which a delivery can be sent again."""
    deactivate_after: Annotated[float, Field(ge=0, le=365 * 86_400)] = 5 * 86_400
    """Seconds that a webhook may fail without a success before it is deactivated; 0: never."""
    publish_rate: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    """Occurrences per second that a tenant may publish through this process; without it, as many as there is room
    for."""
    max_failed_authentications: Annotated[int, Field(ge=1, le=1_000_000)] = 60
    """Requests without a valid API key from one address in a minute; further ones are answered with 429."""
    audit_retention: Annotated[float, Field(gt=0, le=36_500)] = 365
    """Days for which it is kept who changed what."""
    resume_rate: Annotated[
        float, Field(gt=0, le=10_000, validation_alias=AliasChoices("WEBHOOKS_RESUME_RATE", "WEBHOOKS_RELEASE_RATE"))
    ] = 20
    """Delayed deliveries that a process resumes per second when their receivers accept requests again."""
    job_rate: Annotated[float, Field(gt=0, le=1_000)] = 10
    """Most deliveries that all jobs of a process together send, start or give up per second; fewer beside live ones."""
    fan_out_rate: Annotated[float, Field(gt=0, le=10_000)] = 30
    """Deliveries that a process starts per second for occurrences with more than 100 webhooks."""
    temporal_port: Annotated[int, Field(ge=1, le=_MAX_PORT)] = 7233
    temporal_ui_port: Annotated[int, Field(ge=1, le=_MAX_PORT)] = 8233
    temporal_ui_url: str | None = None
    """Where operators reach the Temporal Web UI. Without it: the embedded server's."""
    task_queue: str = "webhooks"
    log_format: Literal["console", "json"] | None = None
    """Without it: `console` if stderr is a terminal, else `json`."""
    metrics_port: Annotated[int | None, Field(ge=1, le=_MAX_PORT)] = None
    """Port on which this process serves its metrics to Prometheus. Without it, none are served."""
    temporal_metrics_port: Annotated[int | None, Field(ge=1, le=_MAX_PORT)] = None
    """Port for the metrics of Temporal's SDK, which serves them itself."""

    temporal_address: str | None = Field(default=None, validation_alias="TEMPORAL_ADDRESS")
    """host:port of a Temporal server. Without it, the API runs an embedded one."""
    temporal_namespace: str = Field(default="default", validation_alias="TEMPORAL_NAMESPACE")

    @field_validator("processes", mode="before")
    @classmethod
    def _number_of_processes(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.strip().lower() == "auto":
            return min(cores.usable(), _MAX_PROCESSES)
        if not value.strip().isdecimal():
            raise ValueError("must be a number of processes, or auto")
        return value

    @field_validator("egress_allow", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        return parse_networks(value) if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        if value and not _ORIGIN.fullmatch(value):
            raise ValueError("must be https://host or http://host:port, without a path")
        return value.rstrip("/").lower() if value else value

    @field_validator("oidc_algorithms", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        """Each error begins with the variable that it is about, because it belongs to no field."""
        if self.oidc_issuer is None:
            if self.oidc_audience or self.oidc_client_id:
                raise ValueError("WEBHOOKS_OIDC_ISSUER must be set as well")
            return self
        if not (self.oidc_audience or self.oidc_client_id):
            raise ValueError("WEBHOOKS_OIDC_AUDIENCE or WEBHOOKS_OIDC_CLIENT_ID must be set with WEBHOOKS_OIDC_ISSUER")
        if self.oidc_audience and self.oidc_audience == self.oidc_client_id:
            raise ValueError("WEBHOOKS_OIDC_AUDIENCE must not be the client id: that is the audience of ID tokens")
        if self.oidc_issuer == self.token_issuer:
            raise ValueError("WEBHOOKS_OIDC_ISSUER must not be WEBHOOKS_PUBLIC_URL, which issues our own tokens")
        if self.oidc_client_id and not (self.oidc_client_secret and self.public_url):
            raise ValueError("WEBHOOKS_OIDC_CLIENT_SECRET and WEBHOOKS_PUBLIC_URL must be set with _OIDC_CLIENT_ID")
        return self

    @model_validator(mode="after")
    def _metrics_ports_differ(self) -> Self:
        """Each error begins with the variable that it is about, because it belongs to no field."""
        ours, of_temporal = self.metrics_port, self.temporal_metrics_port
        if max(ours or 0, of_temporal or 0) + self.processes - 1 > _MAX_PORT:
            raise ValueError(
                "WEBHOOKS_METRICS_PORT and WEBHOOKS_TEMPORAL_METRICS_PORT must leave a port for each of "
                "WEBHOOKS_PROCESSES"
            )
        if self.processes > 1 and ours and of_temporal and abs(ours - of_temporal) < self.processes:
            raise ValueError(
                "WEBHOOKS_METRICS_PORT and WEBHOOKS_TEMPORAL_METRICS_PORT must be at least WEBHOOKS_PROCESSES apart, "
                "because each process takes the next port"
            )
        return self

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _POSTGRESQL.fullmatch(value.get_secret_value()):
            raise ValueError(
                "must be postgresql://user:password@host/database; in a password, write @ as %40 and / as %2F"
            )
        return value

    @field_validator("egress_proxy")
    @classmethod
    def _is_http_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _PROXY.fullmatch(value.get_secret_value()):
            raise ValueError("must be http://host:port or http://user:password@host:port")
        return value

    def make_data_dir(self) -> None:
        """Create `data_dir` if it does not exist; only its owner may read it. Raises CannotRunError if it cannot be
        written to."""
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            disk.try_to_write(self.data_dir)
        except OSError as error:
            raise CannotRunError(
                f"Cannot write to WEBHOOKS_DATA_DIR {self.data_dir.absolute()}: {error.strerror}. "
                f"{disk.remedy(error)}, or set WEBHOOKS_DATA_DIR to another directory."
            ) from None

    def of_process(self, number: int) -> Self:
        """Return the settings of one of several processes, counted from 0: its metrics have ports of their own."""
        ports = {"metrics_port": self.metrics_port, "temporal_metrics_port": self.temporal_metrics_port}
        return self.model_copy(update={name: port + number for name, port in ports.items() if port})

    @property
    def token_issuer(self) -> str:
        """The `iss` and `aud` of our own tokens."""
        return self.public_url or "durable-webhooks"

    @property
    def is_https(self) -> bool:
        """Whether browsers reach the API by TLS."""
        return bool(self.public_url and self.public_url.startswith("https:"))

    @property
    def master_key_path(self) -> Path:
        """The file of the master keys, unless `master_key` is set."""
        return self.master_key_file or self.data_dir / "master.key"

    @property
    def bootstrap_key_path(self) -> Path:
        """Where the first API key is written, if `bootstrap_key` does not give one."""
        return self.data_dir / "bootstrap.key"

    @property
    def temporal_target(self) -> str:
        """host:port of the Temporal server, embedded or not."""
        return self.temporal_address or f"127.0.0.1:{self.temporal_port}"

    @property
    def codec_endpoint(self) -> str | None:
        """Where a browser on this machine reaches the codec server; None if the port is not known yet."""
        host = "localhost" if self.host in ("127.0.0.1", "::1", "0.0.0.0", "::") else self.host  # noqa: S104
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.port}/codec" if self.port else None

    @property
    def temporal_ui(self) -> str:
        """The URL of the Temporal Web UI, without a slash at its end."""
        return (self.temporal_ui_url or f"http://localhost:{self.temporal_ui_port}").rstrip("/")
