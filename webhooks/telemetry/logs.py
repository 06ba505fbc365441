"""The format of a process's log: one line for each record, as text or JSON, without secrets."""

import logging
import re
import sys
from typing import Any, Literal

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["console", "json"]

_EXTRA_FIELDS = ["delivery_id", "webhook_id", "event_key", "tenant", "attempt", "trigger", "outcome", "status_code"]
_EXTRA_FIELDS += ["duration_ms", "next_in_s"]
"""Fields of `extra` that are written. Others come from libraries and could hold secrets."""
_SECRET_NAME = re.compile(r"secret|passw|token|authorization|cookie|api_?key|signature", re.IGNORECASE)
_SECRET = re.compile(r"\b(whsec_|whsk_|whk_|Bearer\s+|Basic\s+)(?=\S*[0-9+/=_])[\w.~+/=-]{8,}", re.IGNORECASE)
_REDACTED = "[redacted]"


def set_up(format: LogFormat | None, process: int | None = None) -> None:
    """Write the log of this process to stderr from now on. Without a format: text if stderr is a terminal, else
    JSON. `process` is its number if several write one log: each line has it."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(chosen(format), process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # it warns each time that a collector is unreachable


def chosen(format: LogFormat | None) -> LogFormat:
    """Return the format, or the default one for None."""
    return format or ("console" if sys.stderr.isatty() else "json")


def formatter(format: LogFormat, process: int | None = None) -> logging.Formatter:
    def add_process(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
        return line if process is None else {**line, "process": process}

    shared: list[Processor] = [
        add_process,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(_EXTRA_FIELDS),
        _add_trace,
        structlog.processors.format_exc_info,  # tracebacks without the values of variables
        _redact,
    ]
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if format == "json":
        last += [structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer()]
    else:
        last += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, pad_level=False)]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)


def _add_trace(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"], line["span_id"] = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return line


def _redact(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Replace what looks like a secret. A second safeguard: nothing that we log should hold one."""
    for name, value in line.items():
        if name.startswith("_"):
            continue
        line[name] = _REDACTED if _SECRET_NAME.search(name) else _redacted(value)
    return line


def _redacted(value: Any) -> Any:
    return _SECRET.sub(lambda found: found[1] + _REDACTED, value) if isinstance(value, str) else value
