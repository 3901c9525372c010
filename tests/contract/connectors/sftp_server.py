"""A small SFTP server inside the test's own process: real SSH, real files in a temporary folder, faults to switch on."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko
from paramiko import sftp as wire


class Faults:
    """`at` names an operation (`open`, `write`, `rename`, `renamed`, `stat`, `list`); `how` is `drop`, `stall`, `fail`.
    `renamed` strikes after the rename was carried out, before its answer. `times` is how often."""

    def __init__(self) -> None:
        self.at: str | None = None
        self.how = "drop"
        self.times = 1
        self.no_fsync = False
        self.flushed = 0

    def strike(self, at: str, session: Any) -> int | None:
        """Strike when it is time; an SFTP status to answer with, or None."""
        if self.at != at or self.times <= 0:
            return None
        self.times -= 1
        if self.how == "drop":
            session.transport.close()
            time.sleep(0.05)
            return int(paramiko.SFTP_FAILURE)
        if self.how == "stall":
            time.sleep(1.2)
        return int(paramiko.SFTP_FAILURE)


class _Auth(paramiko.ServerInterface):
    def __init__(self, book: Book) -> None:
        self.book = book

    def check_auth_password(self, username: str, password: str) -> int:
        self.book.logins.append((username, "password"))
        good = username == "so-gddt" and password == self.book.password
        return int(paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.book.logins.append((username, "key"))
        return int(paramiko.AUTH_SUCCESSFUL if key.asbytes() in self.book.keys else paramiko.AUTH_FAILED)

    def get_allowed_auths(self, username: str) -> str:
        return "password,publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


class _Files(paramiko.SFTPServerInterface):
    def __init__(self, server: Any, *, book: Book, transport: Any) -> None:
        self.book, self.transport = book, transport

    def _path(self, path: str) -> str:
        return str(self.book.root) + self.canonicalize(path)

    def _try(self, at: str, work: Any) -> Any:
        status = self.book.faults.strike(at, self)
        if status is not None:
            return status
        try:
            return work()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    def list_folder(self, path: str) -> Any:
        def listing() -> list[Any]:
            with os.scandir(self._path(path)) as found:
                return [paramiko.SFTPAttributes.from_stat(f.stat(follow_symlinks=False), f.name) for f in found]

        return self._try("list", listing)

    def stat(self, path: str) -> Any:
        return self._try("stat", lambda: paramiko.SFTPAttributes.from_stat(os.stat(self._path(path))))

    def lstat(self, path: str) -> Any:
        return self._try("stat", lambda: paramiko.SFTPAttributes.from_stat(os.lstat(self._path(path))))

    def open(self, path: str, flags: int, attr: Any) -> Any:
        def opened() -> Any:
            handle = _Handle(self, flags)
            mode = "r+b" if flags & (os.O_WRONLY | os.O_RDWR) else "rb"
            file = os.fdopen(os.open(self._path(path), flags, 0o640), mode)
            handle.readfile = handle.writefile = file
            return handle

        return self._try("open", opened)

    def remove(self, path: str) -> Any:
        return self._try("remove", lambda: os.remove(self._path(path)) or paramiko.SFTP_OK)

    def rename(self, old: str, new: str) -> Any:
        def rename() -> int:
            if os.path.lexists(self._path(new)):  # version 3 of the protocol: never replace
                return int(paramiko.SFTP_FAILURE)
            os.rename(self._path(old), self._path(new))
            self.book.renames.append((old, new))
            status = self.book.faults.strike("renamed", self)
            return int(paramiko.SFTP_OK) if status is None else status

        return self._try("rename", rename)

    def mkdir(self, path: str, attr: Any) -> Any:
        return self._try("mkdir", lambda: os.mkdir(self._path(path)) or paramiko.SFTP_OK)


class _Handle(paramiko.SFTPHandle):
    def __init__(self, files: _Files, flags: int) -> None:
        super().__init__(flags)
        self.files = files

    def stat(self) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))

    def write(self, offset: int, data: bytes) -> int:
        status = self.files.book.faults.strike("write", self.files)
        return int(super().write(offset, data)) if status is None else status


class _Server(paramiko.SFTPServer):
    """With the flush extension of OpenSSH, as a server may offer it."""

    def _process(self, t: int, request_number: int, msg: Any) -> None:
        if t == wire.CMD_EXTENDED:
            copy = paramiko.Message(msg.asbytes())
            copy.get_int()  # the request's number again
            book: Book = self.server.book  # type: ignore[attr-defined]
            if b"fsync@openssh.com" in msg.asbytes() and not book.faults.no_fsync:
                book.faults.flushed += 1
                self._send_status(request_number, paramiko.SFTP_OK)
                return
        super()._process(t, request_number, msg)


class Book:
    """What the server knows: its folder, who logged in, what was renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = 0
        self.host_key = paramiko.ECDSAKey.generate()
        self.password = "mat-khau-dung"
        self.keys: list[bytes] = []
        self.faults = Faults()
        self.logins: list[tuple[str, str]] = []
        self.renames: list[tuple[str, str]] = []
        self.connections = 0

    @property
    def line(self) -> str:
        """The host key as settings take it."""
        return f"{self.host_key.get_name()} {self.host_key.get_base64()}"


@contextmanager
def serving(root: Path) -> Iterator[Book]:
    """A server on a free port of this machine."""
    book = Book(root)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    book.port = listener.getsockname()[1]
    stopping = threading.Event()
    sessions: list[paramiko.Transport] = []

    def accept() -> None:
        while not stopping.is_set():
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            book.connections += 1
            session = paramiko.Transport(peer)
            session.add_server_key(book.host_key)
            session.set_subsystem_handler("sftp", _Server, _Files, book=book, transport=session)
            auth = _Auth(book)
            sessions.append(session)
            try:
                session.start_server(server=auth)
            except (paramiko.SSHException, EOFError, OSError):
                session.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield book
    finally:
        stopping.set()
        listener.close()
        for session in sessions:
            session.close()
        thread.join(2)
