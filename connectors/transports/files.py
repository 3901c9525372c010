"""Calls as files dropped into a folder, and the folder's other side: files picked up.

One concern: running file operations beside the event loop, and the truth about whether a drop may have been seen. A
file appears under its name whole or not at all: it is written under a hidden name, flushed, then renamed. Until the
rename is asked for every failure is `NotSent`; from then on `MaybeSent`. It must never replace a file that is there: the
same content means the drop has been made already, other content is the counterparty's to explain.

What a kill leaves: a hidden `.….part` file, swept away a day later; or the file without its checksum beside it, which
the next try of the same call puts there.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets as random_source
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import orjson

from connectors.transports.base import Request
from connectors.transports.file_store import Store, TooLarge
from connectors.transports.files_settings import FileSettings
from hub.kernel.ports import Call, MaybeSent, NotSent, Reply

_NAME = re.compile(r"[^\x00-\x20./\\\x7f][^\x00-\x1f/\\\x7f]{0,199}")
_PART = ".part"
_STALE_S = 86_400.0
CHECKSUM = ".sha256"
_T = TypeVar("_T")


class Stage:
    """How far an operation in the thread has come, and whether anybody still waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given_up = False
        self._begun = False
        self._working = False

    def start(self) -> None:
        """The thread has come to this operation. Raises `TimeoutError` when nobody waits any more."""
        with self._lock:
            if self._given_up:
                raise TimeoutError("given up")
            self._working = True

    def end(self) -> None:
        """The thread is free for others: what they do is theirs to stop."""
        with self._lock:
            self._working = False

    def begin(self) -> None:
        """From here on the counterparty may see something. Raises `TimeoutError` when nobody waits any more."""
        with self._lock:
            if self._given_up:
                raise TimeoutError("given up before the file was renamed")
            self._begun = True

    def give_up(self, abort: Callable[[], None]) -> bool:
        """Stop before `begin` is passed, and end the session if it serves this operation now. True when `begin` has been
        passed already."""
        with self._lock:
            self._given_up = True
            if self._working:
                abort()
            return self._begun

    @property
    def begun(self) -> bool:
        """Whether the counterparty may have seen something."""
        return self._begun


class FilesTransport:
    """See `connectors.transports.base.Transport`: a call's path is the file's name, its body the content.

    Replies: 201 dropped, 200 was there with the same content, 409 is there with other content. The body is JSON with
    `name`, `bytes` and `sha256`.
    """

    def __init__(self, settings: FileSettings, store: Store, *, connect_s: float, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.clock = clock
        self._store = store
        self._connect_s = connect_s
        # One thread: a session serves one operation at a time, and files of one folder are no race.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="files")
        self._swept = False

    def request(self, call: Call) -> Request:
        """A drop of one file. Raises `NotSent` for a name that is none, or content over the limit."""
        if not _NAME.fullmatch(call.path) or call.path.endswith((_PART, CHECKSUM)):
            raise NotSent("the call's path is not a file name")
        if len(call.body) > self.settings.max_file_bytes:
            raise NotSent(f"the file is larger than {self.settings.max_file_bytes} bytes")
        return Request(method="PUT", url=call.path, body=call.body)

    async def exchange(self, request: Request, deadline_s: float) -> Reply:
        """Drop the file. Raises only `NotSent` and `MaybeSent`."""
        started = time.perf_counter()
        stage = Stage()
        try:
            status = await self.run(lambda store: self._drop(store, request, stage), deadline_s, stage)
        except (NotSent, MaybeSent):
            raise
        except OSError as error:
            reason = f"{type(error).__name__}: {error.strerror or error}"[:200]
            if stage.begun:
                raise MaybeSent(f"after the file may have got its name: {reason}") from error
            raise NotSent(f"before the file got its name: {reason}") from error
        told = {"name": request.url, "bytes": len(request.body), "sha256": _sha256(request.body)}
        return Reply(
            status=status,
            body=orjson.dumps(told),
            headers={"content-type": "application/json"},
            elapsed_ms=(time.perf_counter() - started) * 1000,
        )

    async def reach(self, deadline_s: float) -> None:
        """Log in, and see the folder for drops."""
        try:
            await self.run(lambda store: store.make_folder(self.settings.out_folder), deadline_s, Stage())
        except OSError as error:
            raise NotSent(f"{type(error).__name__}: {error.strerror or error}"[:200]) from error

    async def close(self) -> None:
        """End the session. An operation under way fails."""
        self._store.abort()
        self._threads.submit(self._store.close)
        self._threads.shutdown(wait=False)

    async def run(self, operation: Callable[[Store], _T], deadline_s: float, stage: Stage) -> _T:
        """An operation on the connected store, in its thread. Raises `NotSent`, `MaybeSent` and `OSError`s.

        What is given up at the deadline, or by cancelling, goes no further than the stage it has begun.
        """
        ends = time.monotonic() + deadline_s

        def work() -> _T:
            stage.start()
            try:
                self._store.connect(max(min(self._connect_s, ends - time.monotonic()), 0.05))
                return operation(self._store)
            finally:
                stage.end()

        loop = asyncio.get_running_loop()
        try:
            future = loop.run_in_executor(self._threads, work)
        except RuntimeError:
            raise NotSent("the connector is closed") from None
        try:
            async with asyncio.timeout(max(deadline_s, 0)):
                return await asyncio.shield(future)
        except TimeoutError:
            if future.done() and not future.cancelled() and future.exception() is not None:
                raise  # the operation's own
            if self._let_go(future, stage):
                raise MaybeSent("the deadline passed while the file got its name") from None
            raise NotSent("the deadline passed before the file got its name") from None
        except asyncio.CancelledError:
            self._let_go(future, stage)
            raise

    def _let_go(self, future: asyncio.Future[_T], stage: Stage) -> bool:
        """Nobody waits any more: end the session if it is at this operation, so that the thread is free again, and let the
        failure go by. True when the counterparty may have seen something."""
        future.add_done_callback(lambda f: f.cancelled() or f.exception())
        return stage.give_up(self._store.abort)

    def _drop(self, store: Store, request: Request, stage: Stage) -> int:
        name, body = request.url, request.body
        folder = self.settings.out_folder
        store.make_folder(folder)
        if not self._swept:
            self._sweep(store, folder)
        status = self._compare(store, f"{folder}/{name}", body)
        if status is None:
            status = self._place(store, f"{folder}/{name}", body, stage)
        if status != 409 and self.settings.checksum == "sha256":
            stage.begin()
            line = f"{_sha256(body)}  {name}\n".encode()
            if self._compare(store, f"{folder}/{name}{CHECKSUM}", line) is None:
                self._place(store, f"{folder}/{name}{CHECKSUM}", line, stage)
        return status

    def _place(self, store: Store, target: str, body: bytes, stage: Stage) -> int:
        folder, _, name = target.rpartition("/")
        temporary = f"{folder}/.{name[:150]}.{random_source.token_hex(8)}{_PART}"
        try:
            store.write_new(temporary, body)
            stage.begin()
            store.move(temporary, target)
        except FileExistsError:
            store.remove(temporary)
            status = self._compare(store, target, body)
            return 409 if status is None else status
        return 201

    def _compare(self, store: Store, target: str, body: bytes) -> int | None:
        """200: there with this content; 409: with another; None: not there."""
        found = store.stat(target)
        if found is None:
            return None
        if found.size != len(body):
            return 409
        try:
            return 200 if store.read(target, len(body)) == body else 409
        except TooLarge:
            return 409
        except FileNotFoundError:
            return None  # the counterparty has just taken it

    def _sweep(self, store: Store, folder: str) -> None:
        """Remove what killed drops left behind a day ago."""
        self._swept = True
        for entry in store.entries(folder):
            if entry.name.startswith(".") and entry.name.endswith(_PART) and entry.changed < self.clock() - _STALE_S:
                store.remove(f"{folder}/{entry.name}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
