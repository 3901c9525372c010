"""Starting one child process the way every embedded service needs it.

One concern: a child in its own session and process group, as an unprivileged user where asked, that gets a signal when
its parent dies. It must never wait, restart or log; the supervisor does that.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_PR_SET_PDEATHSIG = 1
# Looked up here, not in the forked child: only async-signal-safe work may happen between fork and exec.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def _die_with_parent(parent: int, death_signal: int) -> Callable[[], None]:
    def in_child() -> None:
        _prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the request was made: no signal would ever come
            os._exit(1)

    return in_child


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    identity: tuple[int, int] | None = None,
    output: IO[Any] | int = subprocess.DEVNULL,
    death_signal: int = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `argv` in its own session, stdin closed, stdout and stderr to `output`.

    `identity` is `(uid, gid)` to run as (needs root). `death_signal` is sent by the kernel when the *thread* that
    called this ends, so call it from a thread that lives as long as the child should. Raises `OSError`.
    """
    drop: dict[str, Any] = {}
    if identity is not None:
        drop = {"user": identity[0], "group": identity[1], "extra_groups": []}
    return subprocess.Popen(
        list(argv),
        env=None if env is None else dict(env),
        cwd=str(cwd) if cwd is not None else None,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent(os.getpid(), death_signal),
        **drop,
    )


def session_members(session: int) -> list[int]:
    """Pids of a session's living processes. A child leads its own session; what it forks may leave its group,
    hardly ever its session."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields and fields[0] != "Z" and int(fields[3]) == session:
                found.append(int(entry))
    return found


def kill_session(session: int) -> None:
    """SIGKILL every process of a session, also one forked meanwhile."""
    for _ in range(5):
        members = session_members(session)
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not members:
            return


def started_at(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (tells a recycled pid from the old one); None: gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] != "Z" else None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name: state, parent, group, session …; empty when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def processes_in(folder: Path) -> list[int]:
    """Pids whose working folder is `folder`: how a server's orphans are found without trusting a pid file."""
    wanted = os.path.realpath(folder)
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{entry}/cwd") == wanted:
                found.append(int(entry))
        except OSError:
            continue  # it ended meanwhile, or belongs to someone else and so is not ours
    return found


def wait_until(check: Callable[[], bool], timeout_s: float, pause_s: float = 0.02) -> bool:
    """Poll `check` until it is true or `timeout_s` seconds have gone; says which."""
    end = time.monotonic() + timeout_s
    while True:
        if check():
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(pause_s)


def free_port(preferred: int = 0, host: str = "127.0.0.1") -> int:
    """A TCP port that is free now: `preferred` when it is, else one the system picks."""
    for port in (preferred, 0) if preferred else (0,):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"no free TCP port on {host}")


def tcp_open(host: str, port: int, timeout_s: float = 0.5) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def unix_open(path: Path) -> bool:
    """Whether something accepts connections on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def write_private(path: Path, content: str | bytes, identity: tuple[int, int] | None = None, mode: int = 0o600) -> None:
    """Write a file whole or not at all, readable by its owner only; `identity` becomes the owner (needs root)."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # exactly this mode, whatever the umask
        if identity is not None:
            os.fchown(descriptor, *identity)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)
