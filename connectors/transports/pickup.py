"""Files a counterparty leaves for the hub: seen, claimed, read, and put away once the ledger has them.

One concern: taking each file once. A file is claimed by renaming it, which one taker alone can do; it is put away only
after `confirm`, which is called after the commit. It must never delete what has not been confirmed.

What a kill leaves: a claimed file. After `claim_s` it is offered again under the same `key`, by which the intake knows it:
a file whose message had been committed gives rise to no second one.

    for offered in await inbox.ready():
        picked = await inbox.claim(offered)
        if picked is not None:
            ...commit the message under picked.key...
            await inbox.confirm(picked)
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import secrets as random_source
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from msgspec import Struct

from connectors.transports.file_store import Entry, Store, TooLarge
from connectors.transports.files import CHECKSUM, FilesTransport, Stage
from hub.kernel.ports import MaybeSent, NotSent, Text

_CLAIMED = re.compile(r"(\d{10,13})-[0-9a-f]{16}-(.+)", re.DOTALL)
_UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload")
_MOST_LINE = 4096
_MOST_NAME = 200
"""Bytes of a name: a claim puts 28 before it, and most file systems end at 255."""
_T = TypeVar("_T")


class Offered(Struct, frozen=True, kw_only=True):
    """A file that may be claimed. `path` is where it stands; `again` says that an earlier claim was never finished."""

    name: str
    path: str
    size: int
    again: bool = False


class Picked(Struct, frozen=True, kw_only=True):
    """A claimed file with its content. `key` is the same each time this very file is offered."""

    name: str
    path: str
    body: bytes
    sha256: str
    key: str
    again: bool


class Damaged(Struct, frozen=True, kw_only=True):
    """A file that was put into the failed folder instead of being given out, and why."""

    name: str
    code: str
    message: Text


class Lost(Exception):
    """Tệp đã bị lấy hoặc dời đi nơi khác. / The claim no longer holds: the file was taken over or moved away."""


class Inbox:
    """The pick-up side of a file connector. All methods raise `NotSent` when the place cannot be reached in time."""

    def __init__(self, files: FilesTransport, *, timeout_s: float) -> None:
        self._files = files
        self._settings = files.settings
        self._timeout_s = timeout_s
        self._seen: dict[str, tuple[Entry, float]] = {}
        self.damaged: list[Damaged] = []
        """What was refused on claiming, newest last; for whoever tells people. Emptied by the reader."""

    async def ready(self, limit: int = 100) -> list[Offered]:
        """Whole files, oldest first: those with their checksum file, or unchanged for `stable_s`; and claims that were
        never finished."""
        return (await self._run(self._ready))[:limit]

    async def claim(self, offered: Offered) -> Picked | None:
        """The file, now this caller's alone; None when another was quicker, or it was damaged and put away."""
        return await self._run(lambda store: self._claim(store, offered))

    async def confirm(self, picked: Picked) -> None:
        """Put the file away: its message is committed. Harmless to repeat. Raises `Lost` when the claim had been taken
        over meanwhile: whoever took it over meets the intake's key. A file that was to be deleted and is gone is gone,
        whoever did it: then nothing is raised."""
        await self._run(lambda store: self._confirm(store, picked))

    async def release(self, picked: Picked) -> None:
        """Give the file back unprocessed. Raises `Lost`; `NotSent` where a new file of that name has come meanwhile."""
        await self._run(lambda store: self._give_back(store, picked))

    async def report(self, name: str, body: bytes) -> None:
        """Put a file of ours about one of theirs into the failed folder: whole or not at all, and once under its name."""
        await self._run(lambda store: self._report(store, name, body))

    async def refuse(self, picked: Picked, reason: Text) -> None:
        """Put the file into the failed folder with the reason beside it. Raises `Lost`."""
        await self._run(lambda store: self._fail(store, picked.path, picked.name, reason))

    # ---------------------------------------------------------------------------------------- in the thread

    async def _run(self, operation: Callable[[Store], _T]) -> _T:
        try:
            return await self._files.run(operation, self._timeout_s, Stage())
        except (NotSent, MaybeSent):
            raise
        except OSError as error:
            raise NotSent(f"{type(error).__name__}: {error.strerror or error}"[:200]) from error

    def _ready(self, store: Store) -> list[Offered]:
        s = self._settings
        for folder in (s.in_folder, s.claimed_folder):
            store.make_folder(folder)
        entries = {e.name: e for e in store.entries(s.in_folder)}
        now = time.monotonic()
        self._seen = {
            n: self._seen[n] if n in self._seen and self._seen[n][0] == e else (e, now) for n, e in entries.items()
        }
        found = [e for e in entries.values() if self._wanted(e.name) and self._whole(e, entries, now)]
        found.sort(key=lambda e: (e.changed, e.name))
        offers = [Offered(name=e.name, path=f"{s.in_folder}/{e.name}", size=e.size) for e in found]
        return self._unfinished(store) + offers

    def _unfinished(self, store: Store) -> list[Offered]:
        s = self._settings
        offers = []
        for entry in store.entries(s.claimed_folder):
            claimed = _CLAIMED.fullmatch(entry.name)
            if claimed and int(claimed[1]) + s.claim_s < self._files.clock():
                path = f"{s.claimed_folder}/{entry.name}"
                offers.append(Offered(name=claimed[2], path=path, size=entry.size, again=True))
        return offers

    def _wanted(self, name: str) -> bool:
        if name.startswith(".") or name.lower().endswith((*_UNFINISHED, CHECKSUM)):
            return False
        return fnmatch.fnmatchcase(name, self._settings.pick)

    def _whole(self, entry: Entry, entries: dict[str, Entry], now: float) -> bool:
        if self._settings.checksum == "sha256":
            return entry.name + CHECKSUM in entries
        return now - self._seen[entry.name][1] >= self._settings.stable_s

    def _claim(self, store: Store, offered: Offered) -> Picked | None:
        s = self._settings
        stamp = f"{int(self._files.clock())}-{random_source.token_hex(8)}"
        name = _bytes(offered.name)
        path = f"{s.claimed_folder}/{stamp}-{offered.name}"
        entry = store.stat(offered.path)
        if entry is None:
            return None
        if len(name) > _MOST_NAME:
            told = Text(f"Tên tệp dài hơn {_MOST_NAME} byte", f"The file's name is over {_MOST_NAME} bytes")
            short = f"{stamp}-{name[:100].decode('utf-8', 'ignore')}"
            self._damaged(store, offered.path, offered.name, "name_too_long", told, short)
            return None
        try:
            store.move(offered.path, path)
        except FileNotFoundError:
            return None
        try:
            body = store.read(path, s.max_file_bytes)
        except TooLarge:
            limit = f"{s.max_file_bytes:,}"
            self._damaged(
                store, path, offered.name, "too_large", Text(f"Tệp lớn hơn {limit} byte", f"Over {limit} bytes")
            )
            return None
        digest = hashlib.sha256(body).hexdigest()
        if s.checksum == "sha256":
            said = self._checksum(store, offered.name)
            if said != digest:
                self._damaged(
                    store,
                    path,
                    offered.name,
                    "checksum",
                    Text("Nội dung không khớp tệp kiểm tra SHA-256", "The content does not match its SHA-256 file"),
                )
                return None
        # The time of change goes in: content that comes back later is a new fact, a file offered again is not.
        key = hashlib.sha256(b"%b\n%d\n%b" % (name, entry.changed, digest.encode())).hexdigest()
        return Picked(name=offered.name, path=path, body=body, sha256=digest, key=key, again=offered.again)

    def _checksum(self, store: Store, name: str) -> str | None:
        """The digest the counterparty's checksum file names; as `sha256sum` writes it, or the digest alone."""
        try:
            line = store.read(f"{self._settings.in_folder}/{name}{CHECKSUM}", _MOST_LINE)
        except (FileNotFoundError, TooLarge):
            return None
        words = line.decode("utf-8", "replace").split()
        return words[0].lower() if words else None

    def _damaged(self, store: Store, path: str, name: str, code: str, message: Text, put_as: str | None = None) -> None:
        self._fail(store, path, name, message, put_as)
        self.damaged.append(Damaged(name=name, code=code, message=message))

    def _confirm(self, store: Store, picked: Picked) -> None:
        s = self._settings
        if s.after == "delete":
            with suppress(FileNotFoundError):
                store.remove(picked.path)
        else:
            store.make_folder(s.done_folder)
            self._put_away(store, picked.path, f"{s.done_folder}/{picked.path.rpartition('/')[2]}")
        self._drop_checksum(store, picked.name)

    def _fail(self, store: Store, path: str, name: str, reason: Text, put_as: str | None = None) -> None:
        s = self._settings
        store.make_folder(s.failed_folder)
        target = f"{s.failed_folder}/{put_as or path.rpartition('/')[2]}"
        self._put_away(store, path, target)
        with suppress(FileExistsError):  # told by an earlier try
            store.write_new(f"{target}.txt", f"{reason.vi}\n{reason.en}\n".encode())
        self._drop_checksum(store, name)

    def _report(self, store: Store, name: str, body: bytes) -> None:
        folder = self._settings.failed_folder
        store.make_folder(folder)
        if store.stat(f"{folder}/{name}") is not None:
            return
        temporary = f"{folder}/.{random_source.token_hex(8)}.part"
        store.write_new(temporary, body)
        try:
            store.move(temporary, f"{folder}/{name}")
        except FileExistsError:
            store.remove(temporary)

    def _drop_checksum(self, store: Store, name: str) -> None:
        """The checksum of a file put away, unless a new file of that name waits with it already."""
        s = self._settings
        if s.checksum == "sha256" and store.stat(f"{s.in_folder}/{name}") is None:
            try:
                store.remove(f"{s.in_folder}/{name}{CHECKSUM}")
            except FileNotFoundError:
                return

    def _put_away(self, store: Store, source: str, target: str) -> None:
        """Move a claimed file. Its name is its claim's own, so a target that is there was moved there before, by a try
        whose answer was lost."""
        try:
            store.move(source, target)
        except (FileNotFoundError, FileExistsError):
            if store.stat(source) is not None or store.stat(target) is None:
                raise Lost(source.rpartition("/")[2]) from None

    def _give_back(self, store: Store, picked: Picked) -> None:
        try:
            store.move(picked.path, f"{self._settings.in_folder}/{picked.name}")
        except FileNotFoundError:
            raise Lost(picked.name) from None


def _bytes(name: str) -> bytes:
    """A name as the file system has it, also where it is no UTF-8."""
    return name.encode("utf-8", "surrogateescape")
