"""The hub's master key and what is derived from it.

One concern: one secret file outside the data folder, keys for named purposes, and authenticated encryption. It must
never give the master key itself away, nor make a new one where data encrypted with an old one exists.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_BYTES = 32
_NONCE_BYTES = 12
_FORM = b"\x01"
"""First byte of everything encrypted: a later form can be told from this one."""


class KeyMissing(Exception):
    """Thiếu khóa chủ của dữ liệu này, hoặc sai khóa. / The master key of this data is missing or is another."""

    def __str__(self) -> str:
        return f"{self.__doc__} {self.args[0] if self.args else ''}".strip()


class CannotDecrypt(Exception):
    """Không giải mã được: sai khóa hoặc dữ liệu đã bị sửa. / Cannot decrypt: another key, or the data was altered."""

    def __str__(self) -> str:
        return str(self.__doc__)


class Keys:
    """Keys derived from one master key (32 random bytes) with HKDF-SHA256, one per purpose."""

    def __init__(self, master: bytes) -> None:
        if len(master) != _BYTES:
            raise KeyMissing(f"a master key has {_BYTES} bytes")
        self._derive = lru_cache(maxsize=256)(lambda purpose, length: _hkdf(master, purpose, length))
        self._aead = AESGCM(self._derive("encryption", _BYTES))

    @classmethod
    def load(cls, path: Path, *, create: bool = True, expected: str | None = None) -> Keys:
        """Read the master key; with `create` and no file yet, make one (mode 0600, its folder 0700 if made).

        `expected` is the fingerprint of the key existing data needs: then nothing is created and another key refused.
        Raises `KeyMissing`, also when others than the owner may read the file.
        """
        if create and expected is None and not path.exists():
            _create(path)
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read(4096)
        except OSError as error:
            raise KeyMissing(f"{path}: {error.strerror}") from error
        if stat.S_IMODE(mode) & 0o077:
            raise KeyMissing(f"{path}: mode {stat.S_IMODE(mode):04o}, must be 0600")
        try:
            keys = cls(bytes.fromhex(text.decode("ascii").strip()))
        except ValueError as error:
            raise KeyMissing(f"{path}: not {_BYTES} bytes in hexadecimal") from error
        if expected is not None and keys.fingerprint != expected:
            raise KeyMissing(f"{path}: not the key of this data")
        return keys

    @classmethod
    def open(cls, path: Path, data_dir: Path) -> Keys:
        """`load` for a data folder, which remembers the fingerprint of its key: a lost key is said, never replaced."""
        note = data_dir / "master.fingerprint"
        expected = note.read_text(encoding="ascii").strip() if note.exists() else None
        keys = cls.load(path, expected=expected)
        if expected is None:
            data_dir.mkdir(parents=True, exist_ok=True)
            note.write_text(keys.fingerprint + "\n", encoding="ascii")
        return keys

    @property
    def fingerprint(self) -> str:
        """Names the key without telling it (hex)."""
        return self.hmac("fingerprint")[:8].hex()

    def hmac(self, purpose: str, length: int = _BYTES) -> bytes:
        """The key for a purpose: the same for the same purpose, telling nothing about the others."""
        return self._derive(purpose, length)

    def encrypt(self, plain: bytes, aad: bytes) -> bytes:
        """AES-256-GCM with a random nonce. `aad` ties the result to its place (table, row, column)."""
        nonce = os.urandom(_NONCE_BYTES)
        return _FORM + nonce + self._aead.encrypt(nonce, plain, aad)

    def decrypt(self, sealed: bytes, aad: bytes) -> bytes:
        """Undo `encrypt`. Raises `CannotDecrypt`."""
        if sealed[:1] != _FORM or len(sealed) < 1 + _NONCE_BYTES + 16:
            raise CannotDecrypt
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, body, aad)
        except InvalidTag:
            raise CannotDecrypt from None

    def __repr__(self) -> str:
        return f"Keys({self.fingerprint})"


def default_path(data_dir: Path) -> Path:
    """Where a data folder's key lies by default: outside of it, so that a copy of the data alone tells no secret."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    name = hashlib.sha256(os.fsencode(os.path.realpath(data_dir))).hexdigest()[:12]
    return config / "lien-thong" / name / "master.key"


def _hkdf(master: bytes, purpose: str, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=b"lien-thong", info=purpose.encode()).derive(master)


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.urandom(_BYTES).hex().encode() + b"\n")
        file.flush()
        os.fsync(descriptor)
    # Linked whole: another process of the same start either sees no key or a complete one, and both use the first.
    with contextlib.suppress(FileExistsError):
        os.link(unfinished, path)
    unfinished.unlink()
