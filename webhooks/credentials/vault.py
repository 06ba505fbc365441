"""Encryption of stored secrets: AES-256-GCM with master keys that the operator keeps.

A master key is 32 bytes in base64. WEBHOOKS_MASTER_KEY or a file holds one or more, one a line. The first one seals,
and all of them open. To replace a key, put a new one first and reseal (`make rotate-master-key`). Sealed bytes hold the
id of their key and are bound to a context: copied to another row or column, they do not open.
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

from webhooks.errors import CannotRunError, WebhooksError
from webhooks.settings import Settings

log = logging.getLogger(__name__)

_FORMAT = b"\x01"
"""The first byte of everything sealed: the version of the format."""
_KEY_BYTES = 32
"""AES-256."""
_ID_BYTES = 8
_NONCE_BYTES = 12
"""The size that GCM is made for."""
PREFIX_BYTES = len(_FORMAT) + _ID_BYTES
"""The beginning of sealed bytes: the format and the id of the key."""


class CannotOpenError(WebhooksError):
    """Sealed bytes cannot be opened: their key is unknown, or they were changed or sealed for another context."""


class Vault:
    """Seals (encrypts) and opens (decrypts). A key file is read again when it changes, without a restart."""

    def __init__(self, keys: str = "", *, file: Path | None = None) -> None:
        """Read the keys from `file`, or else from `keys`. Raises CannotRunError, or OSError if the file cannot be
        read."""
        self._file = file
        self._changed_at: int | None = None
        if file:
            self._read(file)
        else:
            self._use(keys)

    @classmethod
    def of(cls, settings: Settings, *, create: bool = False) -> "Vault":
        """Return the vault of the settings. With `create`, make the default key file if there is none. Raises
        CannotRunError."""
        if settings.master_key:
            return cls(settings.master_key.get_secret_value())
        if settings.database_url and not settings.master_key_file:
            raise CannotRunError(
                "WEBHOOKS_DATABASE_URL is set. Several machines may share that database, so no master key is created "
                "here. Set WEBHOOKS_MASTER_KEY or WEBHOOKS_MASTER_KEY_FILE to the same key for all processes "
                "(openssl rand -base64 32), and keep a copy of the key."
            )
        file = settings.master_key_path
        try:
            if create and not settings.master_key_file and not file.exists():
                settings.make_data_dir()
                write_key_file(file, new_key() + "\n", replace=False)
                log.warning(
                    "created the master key %s: keep a copy, without it the secrets in the database are lost", file
                )
            return cls(file=file)
        except OSError as error:
            raise CannotRunError(
                f"Cannot read the master key {file}: {error.strerror}. Set WEBHOOKS_MASTER_KEY, or "
                "WEBHOOKS_MASTER_KEY_FILE to a file that this process may read."
            ) from None

    def seal(self, cleartext: bytes, context: str) -> bytes:
        """Return `cleartext` encrypted with the first key. `context` must be the same to open it."""
        self._reread()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self._first + nonce + self._ciphers[self._first].encrypt(nonce, cleartext, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return the cleartext. Raises CannotOpenError."""
        prefix, rest = sealed[:PREFIX_BYTES], sealed[PREFIX_BYTES:]
        if prefix not in self._ciphers:
            self._reread()
        if prefix not in self._ciphers:
            raise CannotOpenError(f"sealed with master key {key_id(prefix)}, which is not configured")
        try:
            return self._ciphers[prefix].decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError):
            raise CannotOpenError(f"the sealed bytes are not those that were sealed for {context}") from None

    def knows(self, prefix: bytes) -> bool:
        """Return whether the key of this prefix is configured."""
        return prefix in self._ciphers

    def is_first(self, sealed: bytes) -> bool:
        """Return whether it was sealed with the first key."""
        return sealed.startswith(self._first)

    def _use(self, keys: str) -> None:
        ciphers = {_FORMAT + _id(key): AESGCM(key) for key in _parse(keys)}
        self._first, self._ciphers = next(iter(ciphers)), ciphers

    def _reread(self) -> None:
        try:
            if self._file and self._file.stat().st_mtime_ns != self._changed_at:
                self._read(self._file)
        except (OSError, CannotRunError) as error:  # the keys read before remain
            log.error("cannot read the changed master key file %s: %s", self._file, error)

    def _read(self, file: Path) -> None:
        self._changed_at = file.stat().st_mtime_ns  # before reading: a change meanwhile is seen next time
        self._use(file.read_text("utf-8-sig", "replace"))


def new_key() -> str:
    """Return a new master key in base64."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def key_id(prefix: bytes) -> str:
    """Return the id of a key for messages. It reveals nothing about the key."""
    return prefix[len(_FORMAT) :].hex()


def write_key_file(file: Path, keys: str, *, replace: bool = True) -> None:
    """Write a key file that only our own user can read. Readers see the old file or the whole new one. Without
    `replace`, an existing file is kept."""
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
            raise CannotRunError(
                f"A master key must be {_KEY_BYTES} bytes in base64. Make one with: openssl rand -base64 {_KEY_BYTES}"
            )
        keys.append(key)
    if not keys:
        raise CannotRunError("The master key is empty. Make one with: openssl rand -base64 32")
    return keys


def _id(key: bytes) -> bytes:
    return hashlib.sha256(b"durable-webhooks master key id\0" + key).digest()[:_ID_BYTES]
