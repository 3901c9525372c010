"""Keeps the hub's child processes running, and leaves none behind.

One concern: start, watch, restart and stop named processes, and say how they are. It must never know what a process
is for, and never outlive its duty: when it is killed itself, a watchdog stops everything it had started.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from hub.embedded import logs
from hub.embedded.lock import DataLock
from hub.embedded.process import kill_session, session_members, spawn, started_at, wait_until

State = Literal["starting", "up", "backoff", "stopped"]

_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_STABLE_S = 60.0
"""A child that lived this long starts again at the first backoff: at most two restarts a minute in the long run."""
_LEFTOVER_GRACE_S = 6.0
_ESCALATION_S = 5.0


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """How one child is run.

    `ready` is polled until true (a plain or async callable; None: ready once started); a child not ready after
    `ready_timeout_s` is killed and started again. `before` runs before every start and may raise. On stopping,
    `stop_signal` goes to the child, `escalate` (if any) after `stop_timeout_s`, at last SIGKILL to its whole session.
    Higher `stage`s are stopped first; one stage is stopped in parallel.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    identity: tuple[int, int] | None = None
    before: Callable[[], None] | None = None
    ready: Callable[[], bool | Awaitable[bool]] | None = None
    ready_timeout_s: float = 60.0
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 10.0
    escalate: int | None = None
    restart: bool = True
    stage: int = 1


class ChildFailed(Exception):
    """Một tiến trình con không khởi động được. / A child process did not start; its log says why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name = name
        self.why = why

    def __str__(self) -> str:
        return f"{self.__doc__} ({self.name}: {self.why})"


class _Child:
    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.state: State = "starting"
        self.since = time.time()
        self.restarts = 0
        self.exit_code: int | None = None
        self.error: str | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.up = asyncio.Event()
        self.stopping = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Supervisor:
    """An async context manager owning a data folder and every child started in it.

    Entering takes the folder's lock (`AlreadyRunning` when it is held) and ends what a killed predecessor left;
    leaving stops all children. SIGTERM then cancels the task that entered, as Ctrl-C does under `asyncio.run`.
    Enter and use it from the main thread only.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self.log_dir = self.data_dir / "logs"
        self.status_file = self.data_dir / "status.json"
        self._children: dict[str, _Child] = {}
        self._notes: dict[str, Any] = {}
        self._lock: DataLock | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._housekeeping: asyncio.Task[None] | None = None
        self._closing = False

    async def __aenter__(self) -> Supervisor:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._lock = DataLock(self.data_dir)
        self.log_dir.mkdir(mode=0o700, exist_ok=True)
        await asyncio.to_thread(_end_leftovers, self.status_file)
        script = Path(__file__).with_name("watchdog.py")
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._housekeeping = asyncio.create_task(logs.keep_small(self.log_dir))
        task = asyncio.current_task()
        if task is not None:
            with contextlib.suppress(RuntimeError, ValueError):  # not the main thread: then signals are not ours
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        self._write_status()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError, ValueError):
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        await self.stop_all()
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            await asyncio.to_thread(self._watchdog.wait)
        if self._lock is not None:
            self._lock.release()

    async def add(self, spec: ChildSpec, *, wait: bool = False) -> None:
        """Start a child and keep it running. With `wait`, return once it is ready or raise `ChildFailed`."""
        if self._closing:
            raise ChildFailed(spec.name, "the supervisor is stopping")
        if spec.name in self._children and self._children[spec.name].state != "stopped":
            raise ValueError(f"a child named {spec.name} already runs")
        logs.rotate(self.log_dir / f"{spec.name}.log")
        child = _Child(spec)
        self._children[spec.name] = child
        child.task = asyncio.create_task(self._keep(child), name=f"child {spec.name}")
        if wait:
            await self.wait_ready(spec.name)

    async def wait_ready(self, name: str) -> None:
        """Wait until the child is up. Raises `ChildFailed` at its first failed start."""
        child = self._children[name]
        up = asyncio.create_task(child.up.wait())
        try:
            while not child.up.is_set():
                if child.state in ("backoff", "stopped"):
                    raise ChildFailed(name, child.error or f"exit code {child.exit_code}")
                await asyncio.wait({up}, timeout=0.02)
        finally:
            up.cancel()

    async def run_once(self, spec: ChildSpec) -> int:
        """Run a child to its end and return its exit code; stopping the supervisor stops it too."""
        await self.add(_once(spec))
        child = self._children[spec.name]
        if child.task is not None:
            await asyncio.shield(child.task)
        return -1 if child.exit_code is None else child.exit_code

    async def stop(self, name: str) -> None:
        """Stop one child and keep it stopped."""
        child = self._children[name]
        child.stopping.set()
        if child.task is not None:
            await asyncio.wait({child.task})

    async def restart(self, name: str) -> None:
        """Stop one child, start it again and wait until it is ready."""
        await self.stop(name)
        await self.add(self._children[name].spec, wait=True)

    async def stop_all(self) -> None:
        """Stop every child, the highest stage first. Finishes even when the caller is cancelled meanwhile."""
        self._closing = True
        await asyncio.shield(asyncio.create_task(self._stop_stages()))

    async def _stop_stages(self) -> None:
        for stage in sorted({child.spec.stage for child in self._children.values()}, reverse=True):
            names = [name for name, child in self._children.items() if child.spec.stage == stage]
            await asyncio.gather(*(self.stop(name) for name in names))

    def pid(self, name: str) -> int | None:
        """The child's process id, None while it does not run."""
        process = self._children[name].process
        return None if process is None else process.pid

    def state(self, name: str) -> State:
        """How the child is."""
        return self._children[name].state

    def note(self, name: str, value: Any) -> None:
        """Put a fact (JSON data) into the status file beside the children, for the console."""
        self._notes[name] = value
        self._write_status()

    def status(self) -> dict[str, Any]:
        """What the status file holds.

        `{pid, notes, children: {name: {state, pid, started, since, restarts, exit_code, error}}}`; `since` is a Unix
        time, `started` the kernel's start tick of the process.
        """
        children = {}
        for name, child in self._children.items():
            pid = None if child.process is None else child.process.pid
            children[name] = {
                "state": child.state,
                "pid": pid,
                "started": None if pid is None else started_at(pid),
                "since": child.since,
                "restarts": child.restarts,
                "exit_code": child.exit_code,
                "error": child.error,
            }
        return {"pid": os.getpid(), "notes": self._notes, "children": children}

    async def _keep(self, child: _Child) -> None:
        spec, failures = child.spec, 0
        while not child.stopping.is_set():
            began = time.monotonic()
            child.error = None
            self._set(child, "starting")
            try:
                await self._run(child)
            except Exception as error:  # whatever a `before` raises is a failed start like any other
                child.error = f"{type(error).__name__}: {error}"
            child.up.clear()
            if child.stopping.is_set() or not spec.restart:
                break
            failures = 1 if time.monotonic() - began > _STABLE_S else failures + 1
            child.restarts += 1
            self._set(child, "backoff")
            with contextlib.suppress(TimeoutError):
                pause = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(failures - 1, 10))
                await asyncio.wait_for(child.stopping.wait(), pause)
        self._set(child, "stopped")

    async def _run(self, child: _Child) -> None:
        """One life of a child, from start to its last descendant's end."""
        spec = child.spec
        if spec.before is not None:
            spec.before()
        with logs.open_log(self.log_dir / f"{spec.name}.log") as output:
            process = spawn(
                spec.argv,
                env=spec.env,
                cwd=spec.cwd,
                identity=spec.identity,
                output=output,
                death_signal=spec.stop_signal,
            )
        child.process = process
        self._tell_watchdog(f"+{process.pid} {spec.stop_signal}")
        self._write_status()
        async with _exit_of(process) as ended:
            ready = asyncio.create_task(self._until_ready(child))
            stopping = asyncio.create_task(child.stopping.wait())
            try:
                waited: set[asyncio.Future[Any]] = {ended, ready, stopping}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if not ended.done() and not stopping.done() and not ready.result():
                    child.error = f"not ready after {spec.ready_timeout_s:g} s"
                    await _end(process, ended, spec)
                await asyncio.wait(waited - {ready}, return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    await _end(process, ended, spec)
            finally:
                ready.cancel()
                stopping.cancel()
                # Also when this is cancelled, and for descendants that outlived their leader.
                kill_session(process.pid)
                child.exit_code = process.wait()
                child.process = None
                self._tell_watchdog(f"-{process.pid}")

    async def _until_ready(self, child: _Child) -> bool:
        spec = child.spec
        end = time.monotonic() + spec.ready_timeout_s
        pause = 0.02
        while spec.ready is not None:
            answer = spec.ready()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                break
            if time.monotonic() > end:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        self._set(child, "up")
        child.up.set()
        return True

    def _set(self, child: _Child, state: State) -> None:
        child.state = state
        child.since = time.time()
        self._write_status()

    def _tell_watchdog(self, line: str) -> None:
        if self._watchdog is None or self._watchdog.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):  # the kernel's death signal still stands behind it
            self._watchdog.stdin.write(line.encode() + b"\n")
            self._watchdog.stdin.flush()

    def _write_status(self) -> None:
        temporary = self.status_file.with_suffix(".json.new")
        temporary.write_text(json.dumps(self.status()), encoding="utf-8")
        temporary.replace(self.status_file)


def read_status(data_dir: Path) -> dict[str, Any]:
    """The last status a supervisor wrote (shape: `Supervisor.status`) with `running` added; `{}` when there is none."""
    try:
        status = json.loads((data_dir / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    status["running"] = started_at(int(status["pid"])) is not None
    return dict(status)


@contextlib.asynccontextmanager
async def _exit_of(process: subprocess.Popen[bytes]) -> AsyncIterator[asyncio.Future[None]]:
    """A future done when the process has ended (not yet reaped by this)."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, _settle, ended)
    try:
        yield ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _settle(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


async def _end(process: subprocess.Popen[bytes], ended: asyncio.Future[None], spec: ChildSpec) -> None:
    """Ask, ask harder where there is a way, and kill the group."""
    process.send_signal(spec.stop_signal)
    await asyncio.wait({ended}, timeout=spec.stop_timeout_s)
    if not ended.done() and spec.escalate is not None:
        process.send_signal(spec.escalate)
        await asyncio.wait({ended}, timeout=_ESCALATION_S)
    if not ended.done():
        kill_session(process.pid)
        await asyncio.wait({ended})


def _once(spec: ChildSpec) -> ChildSpec:
    return ChildSpec(**{**vars(spec), "restart": False})


def _end_leftovers(status_file: Path) -> None:
    """End what a killed supervisor left; its watchdog may be at it already, so first give it time."""
    children = read_status(status_file.parent).get("children", {})
    # A pid is not given anew while a session bears its number: with the leader gone, members are still its own.
    left = [
        child["pid"]
        for child in children.values()
        if child.get("pid") and child.get("started") and started_at(child["pid"]) in (child["started"], None)
    ]
    wait_until(lambda: not any(session_members(pid) for pid in left), _LEFTOVER_GRACE_S, 0.1)
    for pid in left:
        kill_session(pid)
