"""Secrets at rest: AES-256-GCM under master keys that the operator holds.

Master keys are 32 bytes in base64, one a line, from WEBHOOKS_MASTER_KEY or a file. The first seals, every one opens, so
a key is replaced by putting a new one first and sealing again (`make rotate-master-key`). What was sealed
names its key, and is bound to its context: moved to another row or column, it does not open.
"""

import base64
import contextlib
import hashlib
import logging
import os
import secrets
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from webhooks.errors import CannotRunError
from webhooks.settings import Settings

log = logging.getLogger(__name__)

_FORMAT = b"\x01"
_KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12
PREFIX_BYTES = len(_FORMAT) + _ID_BYTES
"""What tells under which key something was sealed."""


class CannotOpenError(Exception):
    """The key is not among ours, or what was sealed is not what it claims to be."""


class Vault:
    """Seals and opens. Keys in a file are read again when the file changes, so that no process needs a restart."""

    def __init__(self, keys: str = "", *, file: Path | None = None) -> None:
        """Raises CannotRunError."""
        self._file = file
        self._changed_at: int | None = None
        if file:
            self._read(file)
        else:
            self._use(keys)

    @classmethod
    def of(cls, settings: Settings, *, create: bool = False) -> "Vault":
        """Raises CannotRunError. `create` makes the default key file if there is none."""
        if settings.master_key:
            return cls(settings.master_key.get_secret_value())
        if settings.database_url and not settings.master_key_file:
            raise CannotRunError(
                "WEBHOOKS_DATABASE_URL names a database that several machines may share, so the master key is not made "
                "on one of them: set WEBHOOKS_MASTER_KEY, or WEBHOOKS_MASTER_KEY_FILE, to the same for all "
                "(openssl rand -base64 32), and keep a copy."
            )
        file = settings.master_key_path
        try:
            if create and not settings.master_key_file and not file.exists():
                settings.make_data_dir()
                write_key_file(file, new_key() + "\n", replace=False)
                log.warning("made the master key %s: keep a copy, without it the database's secrets are lost", file)
            return cls(file=file)
        except OSError as error:
            raise CannotRunError(
                f"Cannot read the master key {file}: {error.strerror}. Set WEBHOOKS_MASTER_KEY, or "
                "WEBHOOKS_MASTER_KEY_FILE to a file that this process may read."
            ) from None

    def seal(self, plain: bytes, context: str) -> bytes:
        self._reread()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self._first + nonce + self._ciphers[self._first].encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises CannotOpenError."""
        prefix, rest = sealed[:PREFIX_BYTES], sealed[PREFIX_BYTES:]
        if prefix not in self._ciphers:
            self._reread()
        if prefix not in self._ciphers:
            raise CannotOpenError(f"sealed under master key {key_id(prefix)}, which is not among ours")
        try:
            return self._ciphers[prefix].decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError):
            raise CannotOpenError(f"not what was sealed for {context}") from None

    def knows(self, prefix: bytes) -> bool:
        return prefix in self._ciphers

    def is_first(self, sealed: bytes) -> bool:
        """Whether it was sealed under the key that seals today."""
        return sealed.startswith(self._first)

    def _use(self, keys: str) -> None:
        ciphers = {_FORMAT + _id(key): AESGCM(key) for key in _parse(keys)}
        self._first, self._ciphers = next(iter(ciphers)), ciphers

    def _reread(self) -> None:
        try:
            if self._file and self._file.stat().st_mtime_ns != self._changed_at:
                self._read(self._file)
        except (OSError, CannotRunError) as error:  # what is known stays
            log.error("the master key file %s cannot be read again: %s", self._file, error)

    def _read(self, file: Path) -> None:
        self._changed_at = file.stat().st_mtime_ns  # first, so that a change while reading is seen the next time
        self._use(file.read_text("utf-8-sig", "replace"))


def new_key() -> str:
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def key_id(prefix: bytes) -> str:
    """A key's name for people: it says nothing of the key."""
    return prefix[len(_FORMAT) :].hex()


def write_key_file(file: Path, keys: str, *, replace: bool = True) -> None:
    """Only our own user may read it, and nobody ever sees half of it. Without `replace`, one that is there stays."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    draft = Path(name)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(keys)
        opened.flush()
        os.fsync(descriptor)
    if replace:
        draft.replace(file)
    else:
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
        draft.unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _parse(text: str) -> list[bytes]:
    keys = []
    for word in text.replace(",", " ").split():
        try:
            key = base64.b64decode(word, validate=True)
        except ValueError:
            key = b""
        if len(key) != _KEY_BYTES:
            raise CannotRunError(f"A master key is {_KEY_BYTES} bytes in base64 (openssl rand -base64 {_KEY_BYTES}).")
        keys.append(key)
    if not keys:
        raise CannotRunError("The master key is empty.")
    return keys


def _id(key: bytes) -> bytes:
    return hashlib.sha256(b"durable-webhooks master key id\0" + key).digest()[:_ID_BYTES]
