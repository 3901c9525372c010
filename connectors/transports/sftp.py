"""A folder on an SFTP server as a place that holds files.

One concern: one SSH session and the file operations on it. It must never log in before the server has shown the pinned
host key, connect to an address the policy refuses, or let a password or key into an error.
"""

from __future__ import annotations

import errno
import io
import socket
import stat as stat_module
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import paramiko
from paramiko.sftp import CMD_EXTENDED, SFTPError

from connectors.address import AddressPolicy
from connectors.errors import AddressRefused, CredentialsRefused, HostKeyRefused, SettingError, SettingsInvalid
from connectors.transports.file_store import MOST_ENTRIES, Entry, TooLarge
from connectors.transports.files_settings import KEY, SftpSettings, host_key
from hub.kernel.ports import NotSent, Text

_FSYNC = "fsync@openssh.com"
_CHUNK = 256 * 1024
_RSA = ("rsa-sha2-512", "rsa-sha2-256")
_T = TypeVar("_T")


class SftpStore:
    """See `connectors.transports.file_store.Store`. `silence_s`: how long the server may say nothing."""

    def __init__(
        self, settings: SftpSettings, secrets: Mapping[str, str], policy: AddressPolicy, silence_s: float
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._silence_s = silence_s
        self._password = secrets.get("sftp_password", "")
        self._key = _private_key(secrets) if settings.login == "key" else None
        self._pinned = [k for k in map(host_key, settings.host_keys) if k is not None]
        self._session: paramiko.Transport | None = None
        self._sftp: Any = None
        self._flushes = True

    def __repr__(self) -> str:
        return f"SftpStore({self._settings.username}@{self._settings.host})"

    def connect(self, timeout_s: float) -> None:
        """Connect, check the host key, log in. A session that still stands is kept."""
        if self._session is not None and self._session.is_active() and self._sftp is not None:
            return
        self.close()
        ends = time.monotonic() + timeout_s
        sock = self._socket(ends)
        try:
            self._session = session = paramiko.Transport(sock)
            options = session.get_security_options()
            kinds = {kind for kind, _ in self._pinned}
            # Only the pinned kinds are offered: a server has several keys and would show the one it likes best.
            options.key_types = [t for t in options.key_types if t in kinds or (t in _RSA and "ssh-rsa" in kinds)]
            session.banner_timeout = session.auth_timeout = max(ends - time.monotonic(), 0.1)
            session.start_client(timeout=max(ends - time.monotonic(), 0.1))
            if session.get_remote_server_key().asbytes() not in [blob for _, blob in self._pinned]:
                raise HostKeyRefused(f"{self._settings.host} showed a host key that is not the pinned one")
            self._log_in(session)
            self._sftp = session.open_sftp_client()
            self._sftp.get_channel().settimeout(self._silence_s)
        except NotSent:
            self.close()
            raise
        except Exception as error:
            self.close()
            sock.close()
            if _no_common_key(error):
                raise HostKeyRefused(f"{self._settings.host} has no host key of a pinned kind") from None
            raise NotSent(f"no SFTP session: {_say(error)}") from None

    def stat(self, path: str) -> Entry | None:
        """See `Store`."""
        try:
            about = self._do(lambda: self._sftp.lstat(self._at(path)))
        except FileNotFoundError:
            return None
        if about.st_mode is not None and not stat_module.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return Entry(path.rpartition("/")[2], about.st_size or 0, about.st_mtime or 0)

    def entries(self, folder: str) -> list[Entry]:
        """See `Store`."""

        def listing() -> list[Entry]:
            found = []
            for about in self._sftp.listdir_iter(self._at(folder)):
                if about.st_mode is not None and stat_module.S_ISREG(about.st_mode):
                    found.append(Entry(about.filename, about.st_size or 0, about.st_mtime or 0))
                if len(found) >= MOST_ENTRIES:
                    break
            return found

        return self._do(listing)

    def read(self, path: str, limit: int) -> bytes:
        """See `Store`."""

        def whole() -> bytes:
            with self._sftp.open(self._at(path), "rb") as file:
                size = file.stat().st_size or 0
                if size > limit:
                    raise TooLarge(errno.EFBIG, f"over {limit} bytes")
                file.prefetch(size)
                data = bytes(file.read(limit + 1))
            if len(data) > limit:
                raise TooLarge(errno.EFBIG, f"over {limit} bytes")
            return data

        return self._do(whole)

    def write_new(self, path: str, data: bytes) -> None:
        """See `Store`. Flushed to the server's disk where the server knows how."""

        def write() -> None:
            with self._sftp.open(self._at(path), "wbx") as file:
                file.set_pipelined(True)
                for at in range(0, len(data), _CHUNK):
                    file.write(data[at : at + _CHUNK])
                file.flush()
                self._flush(file)
            if (self._sftp.lstat(self._at(path)).st_size or 0) != len(data):
                raise OSError(errno.EIO, "the server holds another size than was written")

        self._do(write)

    def move(self, source: str, target: str) -> None:
        """See `Store`. SFTP's own rename (version 3) refuses to replace what is there."""
        try:
            self._do(lambda: self._sftp.rename(self._at(source), self._at(target)))
        except FileNotFoundError:
            raise
        except OSError as error:
            if not isinstance(error, TimeoutError | ConnectionError) and self.stat(target) is not None:
                raise FileExistsError(errno.EEXIST, "exists") from None
            raise

    def remove(self, path: str) -> None:
        """See `Store`."""
        self._do(lambda: self._sftp.remove(self._at(path)))

    def make_folder(self, folder: str) -> None:
        """See `Store`."""
        try:
            self._do(lambda: self._sftp.stat(self._at(folder)))
        except FileNotFoundError:
            self._do(lambda: self._sftp.mkdir(self._at(folder)))

    def abort(self) -> None:
        """End the session: whatever waits for the server fails."""
        session = self._session
        if session is not None:
            session.close()

    def close(self) -> None:
        """End the session."""
        session, self._session, self._sftp = self._session, None, None
        if session is not None:
            session.close()

    def _at(self, path: str) -> str:
        return f"{self._settings.root.rstrip('/')}/{path}"

    def _do(self, operation: Callable[[], _T]) -> _T:
        with _errors():
            if self._sftp is None:
                raise ConnectionError(errno.ENOTCONN, "no session")
            try:
                return operation()
            except TimeoutError:
                self.abort()  # an answer still to come would be taken for the next one's
                raise

    def _flush(self, file: Any) -> None:
        """Ask for a flush to the disk. The client library has no word for this extension; it sends any request."""
        if self._flushes:
            try:
                self._sftp._request(CMD_EXTENDED, _FSYNC, file.handle)
            except SFTPError:
                self._flushes = False
            except OSError as error:
                if error.errno is not None:
                    raise
                self._flushes = False  # "operation unsupported" comes without a number

    def _socket(self, ends: float) -> socket.socket:
        """A socket to the first address that is allowed and answers, checked at the very moment of connecting."""
        last: Exception = NotSent(f"{self._settings.host} has no address")
        try:
            found = socket.getaddrinfo(self._settings.host, self._settings.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NotSent(f"no address: {_say(error)}") from None
        for number, (family, kind, protocol, _, address) in enumerate(found):
            refusal = self._policy.refusal(str(address[0]))
            if refusal is not None:
                last = AddressRefused(refusal)
                continue
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(max((ends - time.monotonic()) / (len(found) - number), 0.05))
                sock.connect(address)
                sock.settimeout(None)
                return sock
            except OSError as error:
                sock.close()
                last = NotSent(f"no connection: {_say(error)}")
        raise last

    def _log_in(self, session: paramiko.Transport) -> None:
        try:
            if self._key is not None:
                session.auth_publickey(self._settings.username, self._key)
            else:
                session.auth_password(self._settings.username, self._password, fallback=False)
        except paramiko.AuthenticationException as error:
            # Lost on the way is not refused: only a plain refusal pauses the connector.
            if isinstance(error, paramiko.BadAuthenticationType) or session.is_active():
                raise CredentialsRefused(f"{self._settings.host} refused user {self._settings.username}") from None
            raise NotSent("the server hung up during the log-in") from None
        if not session.is_authenticated():
            raise CredentialsRefused(
                f"{self._settings.host} wants more than one proof of user {self._settings.username}"
            )


@contextmanager
def _errors() -> Iterator[None]:
    """What the library raises, as `OSError`s."""
    try:
        yield
    except TimeoutError:
        raise
    except (EOFError, paramiko.SSHException) as error:
        raise ConnectionError(errno.ECONNRESET, f"the session ended: {_say(error)}") from None
    except SFTPError as error:
        raise OSError(errno.EIO, _say(error)) from None
    except UnicodeError:
        raise OSError(errno.EILSEQ, "a name on the server is not UTF-8") from None


def _private_key(secrets: Mapping[str, str]) -> paramiko.PKey:
    """The key of the secrets. Raises `SettingsInvalid` when it cannot be read with the passphrase given."""
    # What was pasted into a form may have lost its last line's end or gained carriage returns.
    text = "\n".join(secrets.get(KEY.name, "").split("\r\n")).strip() + "\n"
    passphrase = secrets.get("sftp_key_passphrase") or None
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(text), password=passphrase)
        except Exception:  # noqa: S112 (each kind refuses the others' keys in its own way)
            continue
    message = Text(
        f"“{KEY.title.vi}” không đọc được, hoặc sai mật khẩu của khóa",
        f"“{KEY.title.en}” is not readable, or its passphrase is wrong",
    )
    raise SettingsInvalid([SettingError(pointer=f"/secrets/{KEY.name}", code="key", message=message)])


def _no_common_key(error: Exception) -> bool:
    return isinstance(error, paramiko.ssh_exception.IncompatiblePeer) and "key" in str(error).lower()


def _say(error: BaseException) -> str:
    """A short reason; the library's texts name hosts and protocol states, never credentials."""
    return f"{type(error).__name__}: {error}"[:200]
