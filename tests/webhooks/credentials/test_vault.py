import base64
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import SecretStr

from webhooks.credentials.vault import PREFIX_BYTES, CannotOpenError, Vault, key_id, new_key, write_key_file
from webhooks.errors import CannotRunError
from webhooks.settings import Settings

OLD, NEW = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
CONTEXT = "webhooks.sealed:tenant:webhook"


def settings(folder: Path, key: str | None = None, file: Path | None = None) -> Settings:
    return Settings(data_dir=folder, master_key=SecretStr(key) if key else None, master_key_file=file)


def key_file(folder: Path, keys: str) -> Path:
    """One that was written long ago, so that every change shows."""
    file = folder / "keys"
    file.write_text(keys)
    os.utime(file, (1, 1))
    return file


def opened(file: Path) -> Vault:
    return Vault.of(settings(file.parent, file=file))


@given(st.binary(max_size=200), st.text(st.characters(codec="utf-8"), max_size=20))
@examples(deadline=None)
def test_what_is_sealed_opens_and_does_not_show(plain: bytes, context: str) -> None:
    sealed = Vault(OLD).seal(plain, context)

    assert plain == Vault(OLD).open(sealed, context)
    assert len(plain) < 4 or plain not in sealed


@pytest.mark.parametrize(
    "context", ["webhooks.sealed:tenant:other", "webhooks.sealed:other:webhook", "other.column:tenant:webhook", ""]
)
def test_what_is_moved_elsewhere_does_not_open(context: str) -> None:
    sealed = Vault(OLD).seal(b"secret", CONTEXT)

    with pytest.raises(CannotOpenError, match="not those that were sealed"):
        Vault(OLD).open(sealed, context)


def test_with_any_byte_changed_it_does_not_open() -> None:
    vault = Vault(OLD)
    sealed = vault.seal(b"secret", CONTEXT)
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1 << place % 8
        with pytest.raises(CannotOpenError):
            vault.open(bytes(changed), CONTEXT)


def test_with_any_byte_more_or_less_it_does_not_open() -> None:
    vault = Vault(OLD)
    sealed = vault.seal(b"secret", CONTEXT)
    for wrong in (*(sealed[:length] for length in range(len(sealed))), sealed + b"\0", b"\0" + sealed, sealed[1:]):
        with pytest.raises(CannotOpenError):
            vault.open(wrong, CONTEXT)


def test_no_two_seals_are_alike_and_no_nonce_is_used_twice() -> None:
    vault = Vault(OLD)
    nonces = {vault.seal(b"secret", CONTEXT)[PREFIX_BYTES:][:12] for _ in range(5_000)}

    assert len(nonces) == 5_000


@pytest.mark.parametrize("keys", [f"{NEW},{OLD}", f"{NEW}, {OLD}", f"{NEW}\n{OLD}\n", f"\n {NEW}\t{OLD} "])
def test_of_several_keys_the_first_seals_and_every_one_opens(keys: str) -> None:
    vault, old, new = Vault(keys), Vault(OLD), Vault(NEW)
    by_old, by_new = old.seal(b"secret", CONTEXT), vault.seal(b"secret", CONTEXT)

    assert vault.open(by_old, CONTEXT) == vault.open(by_new, CONTEXT) == new.open(by_new, CONTEXT) == b"secret"
    assert (vault.is_first(by_old), vault.is_first(by_new)) == (False, True)
    assert vault.knows(by_old[:PREFIX_BYTES])
    assert not new.knows(by_old[:PREFIX_BYTES])


def test_a_missing_key_is_named_and_its_name_says_nothing_of_it() -> None:
    prefix = Vault(OLD).seal(b"secret", CONTEXT)[:PREFIX_BYTES]
    name = key_id(prefix)
    key = base64.b64decode(OLD)

    with pytest.raises(CannotOpenError, match=name):
        Vault(NEW).open(Vault(OLD).seal(b"secret", CONTEXT), CONTEXT)
    assert len(bytes.fromhex(name)) == 8
    assert bytes.fromhex(name) not in key


def test_new_keys_differ_and_are_taken() -> None:
    fresh = {new_key() for _ in range(100)}

    Vault(",".join(fresh))
    assert len(fresh) == 100


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("", "empty"),
        (" ,\n", "empty"),
        ("canary", "32 bytes in base64"),
        (base64.b64encode(b"canary" * 5).decode(), "32 bytes in base64"),
        (base64.b64encode(bytes(31)).decode(), "32 bytes in base64"),
        (base64.b64encode(bytes(33)).decode(), "32 bytes in base64"),
        (base64.urlsafe_b64encode(b"\xff" * 32).decode(), "32 bytes in base64"),
        (bytes(32).hex(), "32 bytes in base64"),
        (OLD.rstrip("="), "32 bytes in base64"),
        (f"{OLD[:9]}*{OLD[9:]}", "32 bytes in base64"),
        (f"{OLD},canary", "32 bytes in base64"),
        ("canary-clé", "32 bytes in base64"),
        ("\ufeff" + OLD, "32 bytes in base64"),  # a file that an editor gave a byte order mark
    ],
)
def test_wrong_keys_are_refused_without_being_shown(keys: str, message: str) -> None:
    with pytest.raises(CannotRunError, match=message) as caught:
        Vault(keys)

    assert "canary" not in str(caught.value)
    assert OLD not in str(caught.value)


def test_the_default_key_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    ours = settings(tmp_path / "new")
    before = os.umask(0)
    try:
        sealed = Vault.of(ours, create=True).seal(b"secret", CONTEXT)
    finally:
        os.umask(before)

    assert [file.name for file in (tmp_path / "new").iterdir()] == ["master.key"]
    assert (tmp_path / "new" / "master.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert Vault.of(ours, create=True).open(sealed, CONTEXT) == Vault.of(ours).open(sealed, CONTEXT) == b"secret"


@pytest.mark.parametrize(("own_file", "create"), [(False, False), (True, False), (True, True)])
def test_a_key_file_that_is_missing_is_named_and_not_made_up(tmp_path: Path, own_file: bool, create: bool) -> None:
    """Only the default file may be made: who names one has a key already, and a fresh one would open nothing."""
    ours = settings(tmp_path, file=tmp_path / "theirs" if own_file else None)

    with pytest.raises(CannotRunError, match=f"{ours.master_key_path}.*No such file"):
        Vault.of(ours, create=create)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a key", b"\xff" * 32], ids=["empty", "text", "binary"])
def test_a_key_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").write_bytes(content)

    with pytest.raises(CannotRunError):
        opened(tmp_path / "keys")


def test_a_key_of_the_environment_comes_before_a_file(tmp_path: Path) -> None:
    vault = Vault.of(settings(tmp_path, key=NEW, file=key_file(tmp_path, OLD)), create=True)

    assert Vault(NEW).open(vault.seal(b"secret", CONTEXT), CONTEXT) == b"secret"


def test_a_running_process_notices_that_the_key_file_changes(tmp_path: Path) -> None:
    file = key_file(tmp_path, OLD)
    sealing, opening = opened(file), opened(file)
    by_old = sealing.seal(b"secret", CONTEXT)
    write_key_file(file, f"{NEW}\n{OLD}\n")
    by_new = sealing.seal(b"secret", CONTEXT)

    assert Vault(NEW).open(by_new, CONTEXT) == b"secret"
    assert opening.open(by_new, CONTEXT) == opening.open(by_old, CONTEXT) == b"secret"
    assert opening.is_first(by_new)


def test_a_key_that_is_taken_from_the_file_opens_nothing_more(tmp_path: Path) -> None:
    file = key_file(tmp_path, f"{NEW}\n{OLD}")
    vault = opened(file)
    by_old = Vault(OLD).seal(b"secret", CONTEXT)
    write_key_file(file, NEW)
    vault.seal(b"secret", CONTEXT)

    assert not vault.knows(by_old[:PREFIX_BYTES])
    with pytest.raises(CannotOpenError, match=key_id(by_old[:PREFIX_BYTES])):
        vault.open(by_old, CONTEXT)


def test_a_key_file_that_goes_away_takes_no_key_from_a_running_process(tmp_path: Path) -> None:
    file = key_file(tmp_path, OLD)
    vault = opened(file)
    file.unlink()

    assert vault.open(vault.seal(b"secret", CONTEXT), CONTEXT) == b"secret"


def test_a_key_file_is_replaced_as_a_whole_and_stays_private(tmp_path: Path) -> None:
    file = key_file(tmp_path, OLD)
    file.chmod(0o644)
    with file.open() as reading:
        write_key_file(file, NEW)
        seen = reading.read()

    assert (seen, file.read_text()) == (OLD, NEW)
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_draft_that_a_crash_left_behind_is_in_nobody_s_way(tmp_path: Path) -> None:
    """In a container the process that failed and the next one have the same number."""
    file = key_file(tmp_path, OLD)
    file.with_name(f"{file.name}.{os.getpid()}").write_text("half a key")
    write_key_file(file, NEW)

    assert file.read_text() == NEW
