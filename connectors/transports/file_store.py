"""A place that holds files: what drop and pick-up need of it, and a folder of this machine as one.

One concern: single file operations, each blocking and whole or not at all. Errors are `OSError`s: `FileNotFoundError`,
`FileExistsError`, `PermissionError`, `TimeoutError` where they apply. It must never follow a symbolic link out of its
root: names are opened relative to an open folder, step by step.
"""

from __future__ import annotations

import errno
import os
import stat as stat_module
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from connectors.address import AddressPolicy
from connectors.errors import AddressRefused

MOST_ENTRIES = 10_000
"""Files of one folder that are looked at in one listing."""


class Entry(Struct, frozen=True):
    """One regular file: its name, size in bytes, and time of last change in seconds since the epoch."""

    name: str
    size: int
    changed: int


class TooLarge(OSError):
    """Tệp lớn hơn mức cho phép. / The file is larger than allowed."""


class Store(Protocol):
    """Paths are `name` or `folder/name`, relative to the store's root. All methods block; one thread at a time."""

    def connect(self, timeout_s: float) -> None:
        """Be ready for use; nothing when it is already. Raises `NotSent` kinds for what a person must settle."""
        ...

    def stat(self, path: str) -> Entry | None:
        """The regular file there; None when there is nothing."""
        ...

    def entries(self, folder: str) -> list[Entry]:
        """Regular files of a folder, `MOST_ENTRIES` at most."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """Whole content. Raises `TooLarge`."""
        ...

    def write_new(self, path: str, data: bytes) -> None:
        """A new file, on the disk when this returns where the place can promise it. Raises `FileExistsError`."""
        ...

    def move(self, source: str, target: str) -> None:
        """Rename, at once. An existing target is never replaced: `FileExistsError`."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file."""
        ...

    def make_folder(self, folder: str) -> None:
        """Make a folder unless it is there."""
        ...

    def abort(self) -> None:
        """Make an operation under way in another thread fail soon. Called from any thread."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


class FolderStore:
    """See `Store`. `path` is checked against the policy at every operation: what it leads to may change."""

    def __init__(self, path: str, policy: AddressPolicy) -> None:
        self._path = Path(path)
        self._policy = policy

    def connect(self, timeout_s: float) -> None:
        """The folder is there and allowed."""
        with self._root():
            return

    def stat(self, path: str) -> Entry | None:
        """See `Store`."""
        with self._parent(path) as (folder, name):
            try:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return None
            if not stat_module.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            return Entry(name, found.st_size, int(found.st_mtime))

    def entries(self, folder: str) -> list[Entry]:
        """See `Store`."""
        found: list[Entry] = []
        with self._parent(f"{folder}/.") as (handle, _), os.scandir(handle) as listing:
            for item in listing:
                try:
                    about = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # taken away meanwhile
                if stat_module.S_ISREG(about.st_mode):
                    found.append(Entry(item.name, about.st_size, int(about.st_mtime)))
                if len(found) >= MOST_ENTRIES:
                    break
        return found

    def read(self, path: str, limit: int) -> bytes:
        """See `Store`."""
        with self._parent(path) as (folder, name):
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            with os.fdopen(handle, "rb") as file:
                if not stat_module.S_ISREG(os.fstat(handle).st_mode):
                    raise OSError(errno.EINVAL, "not a regular file")
                data = file.read(limit + 1)
        if len(data) > limit:
            raise TooLarge(errno.EFBIG, f"over {limit} bytes")
        return data

    def write_new(self, path: str, data: bytes) -> None:
        """See `Store`. The content is flushed to the disk, and so is its name."""
        with self._parent(path) as (folder, name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(name, flags, 0o640, dir_fd=folder), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.fsync(folder)

    def move(self, source: str, target: str) -> None:
        """See `Store`."""
        with self._parent(source) as (from_folder, old), self._parent(target) as (to_folder, new):
            try:
                # A second name first: unlike a rename it refuses to replace what is there.
                os.link(old, new, src_dir_fd=from_folder, dst_dir_fd=to_folder, follow_symlinks=False)
                os.unlink(old, dir_fd=from_folder)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                    raise
                # Shares without second names: look, then rename. Only the hub writes these names.
                if self.stat(target) is not None:
                    raise FileExistsError(errno.EEXIST, "exists") from None
                os.rename(old, new, src_dir_fd=from_folder, dst_dir_fd=to_folder)
            os.fsync(to_folder)

    def remove(self, path: str) -> None:
        """See `Store`."""
        with self._parent(path) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def make_folder(self, folder: str) -> None:
        """See `Store`."""
        with self._root() as root:
            try:
                os.mkdir(folder, 0o750, dir_fd=root)
            except FileExistsError:
                return

    def abort(self) -> None:
        """A local operation cannot be made to fail; whoever waits for it stops waiting."""

    def close(self) -> None:
        """Nothing is held."""

    @contextmanager
    def _root(self) -> Iterator[int]:
        refusal = self._policy.folder_refusal(self._path)
        if refusal is not None:
            raise AddressRefused(refusal)
        handle = os.open(self._path.resolve(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield handle
        finally:
            os.close(handle)

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The folder of a path, open, and the last name."""
        *folders, name = path.split("/")
        with self._root() as root:
            handle = os.dup(root)
            try:
                for folder in folders:
                    inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
                    os.close(handle)
                    handle = inner
                yield handle, name
            finally:
                os.close(handle)
