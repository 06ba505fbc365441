"""Everything an operator sets, from the environment. Built once by each process, then passed down."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from webhooks.errors import CannotRunError

_POSTGRESQL = re.compile(r"postgres(ql)?://([^/?#@\s]+@)?[^/?#@\s]*/[^/?#@\s]+(\?[^#\s]*)?")
_PROXY = re.compile(r"http://([^/?#@\s]+@)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")


def parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the networks of comma- or space-separated CIDRs. Raises ValueError naming the one that is none."""
    return tuple(ip_network(part) for part in text.replace(",", " ").split())


class Settings(BaseSettings):
    """`WEBHOOKS_<FIELD>` for each field below; Temporal's own by the names that Temporal's tools use."""

    model_config = SettingsConfigDict(
        env_prefix="WEBHOOKS_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    host: str = "127.0.0.1"
    """Address the API and the metrics listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    data_dir: Path = Path(".data")
    """Holds the configuration database, unless `database_url` names one, and the embedded Temporal server's database
    and log."""
    database_url: SecretStr | None = None
    """postgresql://user:password@host/database for the configuration. Without one, SQLite in the data directory."""
    database_connections: Annotated[int, Field(ge=1, le=1000)] = 10
    """To PostgreSQL, of one process: at most so many for reading, and so many for writing."""
    bootstrap_key: SecretStr | None = None
    """Bearer token of the first administrator, used only while no key is stored."""
    master_key: SecretStr | None = None
    """Seals the secrets of the configuration: 32 bytes in base64. Several, comma separated, open; the first seals."""
    master_key_file: Path | None = None
    """A file of master keys, one a line. Without either, and with SQLite, the API makes `master.key` in the data
    directory."""
    embedded_worker: bool = True
    """Deliver from the API's own process. Without it, run `worker.py` processes."""
    max_backlog: Annotated[int, Field(ge=1)] = 10_000
    """Deliveries that may wait for a worker to begin them before an API without a worker of its own refuses more."""
    egress_allow: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """CIDRs of private networks that deliveries may go to, also by plain http."""
    egress_proxy: SecretStr | None = None
    """http://host:port of a proxy that all deliveries go through, with user:password@ before the host if it asks."""
    resend_window: Annotated[float, Field(gt=0, le=30 * 86_400)] = 7 * 86_400
    """Seconds that a delivery which failed for good stays open for `resend`."""
    deactivate_after: Annotated[float, Field(ge=0, le=365 * 86_400)] = 5 * 86_400
    """Seconds that a webhook may fail without one success before it is deactivated; 0 for never."""
    release_rate: Annotated[float, Field(gt=0, le=10_000)] = 20
    """Deliveries a second that a process calls from waiting once their receiver has room again."""
    temporal_port: Annotated[int, Field(ge=1, le=65535)] = 7233
    temporal_ui_port: Annotated[int, Field(ge=1, le=65535)] = 8233
    temporal_ui_url: str | None = None
    """Where operators reach the Temporal Web UI; the embedded server's by default."""
    task_queue: str = "webhooks"
    log_format: Literal["console", "json"] | None = None
    """Without one: `console` if stderr is a terminal, else `json`."""
    metrics_port: Annotated[int | None, Field(ge=1, le=65535)] = None
    """Where this process serves its metrics to Prometheus; not without it."""
    temporal_metrics_port: Annotated[int | None, Field(ge=1, le=65535)] = None
    """Likewise those of Temporal's SDK, which has a server of its own for them."""

    temporal_address: str | None = Field(default=None, validation_alias="TEMPORAL_ADDRESS")
    """host:port of a Temporal server; without one we run our own."""
    temporal_namespace: str = Field(default="default", validation_alias="TEMPORAL_NAMESPACE")

    @field_validator("egress_allow", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        return parse_networks(value) if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _POSTGRESQL.fullmatch(value.get_secret_value()):
            raise ValueError("must be postgresql://user:password@host/database, with %40 for @ and %2F for / in it")
        return value

    @field_validator("egress_proxy")
    @classmethod
    def _is_http_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _PROXY.fullmatch(value.get_secret_value()):
            raise ValueError("must be http://host:port or http://user:password@host:port")
        return value

    def make_data_dir(self) -> None:
        """Raises CannotRunError."""
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CannotRunError(f"Cannot use WEBHOOKS_DATA_DIR {self.data_dir}: {error.strerror}") from None

    @property
    def master_key_path(self) -> Path:
        return self.master_key_file or self.data_dir / "master.key"

    @property
    def temporal_target(self) -> str:
        return self.temporal_address or f"127.0.0.1:{self.temporal_port}"

    @property
    def temporal_ui(self) -> str:
        return (self.temporal_ui_url or f"http://localhost:{self.temporal_ui_port}").rstrip("/")
