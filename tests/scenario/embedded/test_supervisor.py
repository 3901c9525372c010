"""The supervisor and its watchdog, with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hub.embedded.lock import AlreadyRunning, DataLock
from hub.embedded.process import session_members, started_at, wait_until
from hub.embedded.supervisor import ChildFailed, ChildSpec, Supervisor, read_status

ROOT = Path(__file__).resolve().parents[3]
STUBBORN = (
    "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({mark!r},'w').close(); time.sleep(99)"
)
PARENT = "import os,time,signal\nif os.fork()==0:\n os.setpgid(0,0); signal.signal(15,signal.SIG_IGN)\ntime.sleep(99)"

HOST = """
import asyncio, signal, sys
from pathlib import Path
from hub.embedded.supervisor import Supervisor, ChildSpec
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background has it ignored
async def main():
    async with Supervisor(Path(sys.argv[1])) as s:
        for number, code in enumerate(sys.argv[2:]):
            await s.add(ChildSpec(name=f"c{number}", argv=[sys.executable, "-c", code], stop_timeout_s=1))
        await asyncio.sleep(99)
try:
    asyncio.run(main())
except (KeyboardInterrupt, asyncio.CancelledError):
    sys.exit(130)
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def host(data_dir: Path, *codes: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", HOST, str(data_dir), *codes], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def children_of(data_dir: Path, count: int) -> list[int]:
    def pids() -> list[int]:
        return [c["pid"] for c in read_status(data_dir).get("children", {}).values() if c["state"] == "up"]

    assert wait_until(lambda: len(pids()) == count, 10)
    return pids()


def test_states_restart_with_backoff_and_status_file(tmp_path: Path) -> None:
    async def run() -> None:
        async with Supervisor(tmp_path) as supervisor:
            mark = tmp_path / "ready"
            spec = ChildSpec(
                name="child",
                argv=python(f"import time; time.sleep(.2); open({str(mark)!r},'w'); time.sleep(99)"),
                ready=mark.exists,
            )
            await supervisor.add(spec)
            await asyncio.sleep(0)
            assert supervisor.state("child") == "starting"
            await supervisor.wait_ready("child")
            assert supervisor.state("child") == "up"
            pid = supervisor.pid("child")
            assert pid is not None
            assert os.getsid(pid) == pid
            os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.2)
            assert supervisor.state("child") == "backoff"
            saved = json.loads((tmp_path / "status.json").read_text())["children"]["child"]
            assert (saved["state"], saved["exit_code"], saved["restarts"]) == ("backoff", -9, 1)
            await asyncio.sleep(0.6)
            await supervisor.wait_ready("child")
            await supervisor.stop("child")
            assert supervisor.state("child") == "stopped"
            await supervisor.restart("child")
            assert supervisor.state("child") == "up"

    asyncio.run(run())
    assert read_status(tmp_path)["children"]["child"]["state"] == "stopped"


def test_backoff_grows(tmp_path: Path) -> None:
    async def run() -> int:
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.add(ChildSpec(name="crasher", argv=python("raise SystemExit(3)")))
            with pytest.raises(ChildFailed, match="exit code 3"):
                await supervisor.wait_ready("crasher")
                await asyncio.sleep(0.3)
                await supervisor.wait_ready("crasher")
            await asyncio.sleep(2.2)
            return int(supervisor.status()["children"]["crasher"]["restarts"])

    assert 2 <= asyncio.run(run()) <= 3  # 0.5 s, then 1 s, then 2 s


def test_faulty_starts_are_said(tmp_path: Path) -> None:
    async def run() -> None:
        async with Supervisor(tmp_path) as supervisor:
            with pytest.raises(ChildFailed, match="FileNotFoundError"):
                await supervisor.add(ChildSpec(name="missing", argv=["/nowhere/server"]), wait=True)
            never = ChildSpec(
                name="never", argv=python("import time; time.sleep(99)"), ready=lambda: False, ready_timeout_s=0.2
            )
            with pytest.raises(ChildFailed, match="not ready"):
                await supervisor.add(never, wait=True)
            assert (
                await supervisor.run_once(ChildSpec(name="once", argv=python("print('said'); raise SystemExit(4)")))
                == 4
            )
        assert "said" in (tmp_path / "logs" / "once.log").read_text()

    asyncio.run(run())


def test_logs_are_private_and_rotated(tmp_path: Path) -> None:
    async def run() -> None:
        for number in range(7):
            async with Supervisor(tmp_path) as supervisor:
                await supervisor.run_once(ChildSpec(name="x", argv=python(f"print({number})")))

    asyncio.run(run())
    logs = {path.name: path.read_text().strip() for path in (tmp_path / "logs").iterdir()}
    assert logs == {"x.log": "6", "x.log.1": "5", "x.log.2": "4", "x.log.3": "3", "x.log.4": "2", "x.log.5": "1"}
    assert (tmp_path / "logs" / "x.log").stat().st_mode & 0o777 == 0o600


def test_a_hanging_child_and_its_fork_are_killed(tmp_path: Path) -> None:
    async def run() -> list[int]:
        mark = tmp_path / "mark"
        async with Supervisor(tmp_path) as supervisor:
            hanging = ChildSpec(
                name="hanging", argv=python(STUBBORN.format(mark=str(mark))), ready=mark.exists, stop_timeout_s=0.3
            )
            await supervisor.add(hanging, wait=True)
            await supervisor.add(ChildSpec(name="forking", argv=python(PARENT)))
            await asyncio.sleep(0.3)
            pids = [pid for name in ("hanging", "forking") for pid in session_members(supervisor.pid(name) or 0)]
            assert len(pids) == 3
            return pids

    began = time.monotonic()
    assert [pid for pid in asyncio.run(run()) if started_at(pid)] == []
    assert time.monotonic() - began < 5


def test_double_start_is_refused_in_both_languages(tmp_path: Path) -> None:
    first = host(tmp_path, "import time; time.sleep(99)")
    try:
        children_of(tmp_path, 1)

        async def second() -> None:
            async with Supervisor(tmp_path):
                raise AssertionError

        with pytest.raises(AlreadyRunning) as caught:
            asyncio.run(second())
        assert str(first.pid) in str(caught.value)
        assert "Thư mục" in str(caught.value)
        assert "Another process" in str(caught.value)
    finally:
        first.terminate()
        first.wait(10)
    lock = DataLock(tmp_path)
    lock.release()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_stopping_ends_every_child(tmp_path: Path, signum: int) -> None:
    mark = tmp_path / "mark"
    process = host(tmp_path, "import time; time.sleep(99)", STUBBORN.format(mark=str(mark)), PARENT)
    pids = children_of(tmp_path, 3)
    assert wait_until(mark.exists, 10)
    process.send_signal(signum)
    assert process.wait(15) == 130
    assert [pid for pid in pids if session_members(pid)] == []
    assert read_status(tmp_path)["running"] is False


def test_a_killed_supervisor_leaves_no_children(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    process = host(tmp_path, "import time; time.sleep(99)", STUBBORN.format(mark=str(mark)), PARENT)
    pids = children_of(tmp_path, 3)
    assert wait_until(mark.exists, 10)
    process.kill()
    process.wait()
    assert wait_until(lambda: not any(session_members(pid) for pid in pids), 8)


def test_what_a_killed_supervisor_and_watchdog_left_is_ended_at_the_next_start(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    process = host(tmp_path, STUBBORN.format(mark=str(mark)))
    (pid,) = children_of(tmp_path, 1)
    assert wait_until(mark.exists, 10)
    (watchdog,) = [
        int(p.name)
        for p in Path("/proc").iterdir()
        if p.name.isdigit() and _parent(p) == process.pid and int(p.name) != pid
    ]
    os.kill(watchdog, signal.SIGKILL)
    process.kill()
    process.wait()
    assert started_at(pid) is not None

    async def again() -> None:
        async with Supervisor(tmp_path):
            assert started_at(pid) is None

    asyncio.run(again())


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
