"""Secrets that have to be used again, such as those that sign webhooks: encrypted where they are kept.

Whoever reads the database, a backup of it or Redis learns nothing from them without the key. Secrets that only have
to be recognised are hashed instead (:mod:`realtime.identity.secrets`).
"""

import base64
import hashlib
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from realtime.settings import Settings

_KEY_FILE = "encryption.key"
_CONTEXT = b"realtime: secrets at rest\0"


class UnsealError(Exception):
    """A secret was encrypted with a key that the settings do not name any more."""

    def __init__(self) -> None:
        super().__init__(
            "A stored secret cannot be decrypted. REALTIME_ENCRYPTION_KEYS must also name the key that it was "
            "encrypted with."
        )


class Sealer:
    """Encrypts with the newest of its keys, and decrypts with any. Thread-safe.

    Args:
        keys: Texts of any length, oldest first; at least one.
    """

    def __init__(self, keys: list[str]) -> None:
        newest_first = [Fernet(_derive(key)) for key in reversed(keys)]
        self._fernets = MultiFernet(newest_first)
        self._keys = keys

    @classmethod
    def from_settings(cls, settings: Settings) -> "Sealer":
        """Return a sealer with the settings' keys, or with the one of the data folder, which is made if need be.

        Raises:
            OSError: the data folder cannot be written.
        """
        return cls(list(settings.encryption_keys) or [_kept_key(settings.data_dir)])

    def signing_keys(self, purpose: str) -> list[str]:
        """Return keys that sign what is for ``purpose`` and for nothing else, oldest first."""
        context = f"realtime: signatures for {purpose}\0"
        return [hashlib.sha256(f"{context}{key}".encode()).hexdigest() for key in self._keys]

    def seal(self, secret: str) -> str:
        """Return ``secret`` encrypted, as ASCII text; empty for an empty one."""
        return self._fernets.encrypt(secret.encode()).decode() if secret else ""

    def unseal(self, sealed: str) -> str:
        """Return what :meth:`seal` was given.

        Raises:
            UnsealError: none of the keys fits, or the text is damaged.
        """
        if not sealed:
            return ""
        try:
            return self._fernets.decrypt(sealed).decode()
        except InvalidToken as error:
            raise UnsealError from error


def _derive(key: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(_CONTEXT + key.encode()).digest())


def _kept_key(folder: Path) -> str:
    """Return the key of a data folder; the first who asks makes it, also if several processes start at once."""
    path = folder / _KEY_FILE
    folder.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f"{_KEY_FILE}.{os.getpid()}")
    try:
        return path.read_text()
    except FileNotFoundError:
        made.touch(mode=0o600)
        made.write_text(Fernet.generate_key().decode())
        try:
            # Unlike renaming, this fails if another process was faster.
            path.hardlink_to(made)
        except FileExistsError:
            pass
        finally:
            made.unlink()
        return path.read_text()
