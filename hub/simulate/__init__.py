"""The city morning and the simulators: a synthetic city that plays against the hub and checks what came of it.

One concern: putting the pieces in order (`morning`). Nothing of the product depends on this package.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

import aiohttp
import msgspec
from rich.console import Console

from adapters.population.simulator import number_hash
from hub.api.control import control_token
from hub.embedded.process import free_port
from hub.embedded.supervisor import ChildSpec, Supervisor
from hub.settings import Settings
from hub.simulate import city as cities
from hub.simulate import prepare, summary
from hub.simulate.morning import Stage, play
from hub.simulate.sender import Refused
from hub.simulate.verdict import judge
from hub.wiring import ROOT, House

SEED = 2025
_KNOWN_AFTER_S = 5.5
"""By then every process of the hub has read the small tables again, even without its bell."""
_RUN_FILE = re.compile(r"(?:people|morning)-(\d{3})\.json")


async def morning(
    house: House,
    settings: Settings,
    supervisor: Supervisor,
    gateway_url: str,
    mqtt: tuple[str, int],
    run_dir: Path,
    renew_devices: Callable[[], Awaitable[None]],
    *,
    seed: int = SEED,
    patience_s: float = 240.0,
    screen: Console | None = None,
) -> bool:
    """Play one morning against a running hub, show the summary, and say whether everything held.

    Starts the three simulators under `supervisor` and leaves them running. `run_dir` keeps each run's people, books and
    verdict; every run has a number, a new city and new books. `renew_devices` is awaited once the gates are registered
    and must make them users of the broker. Raises `prepare.NotOurs` when a connector leads to a real system, and
    `ChildFailed` when a simulator does not start.
    """
    shown = screen or Console(highlight=False, soft_wrap=True)
    began = time.monotonic()

    def report(vi: str, en: str) -> None:
        shown.print(f"[dim]{time.monotonic() - began:6.1f}s[/dim]  {vi} [dim]/ {en}[/dim]")

    run = 1 + max(await prepare.last_run(house.core), _last_file(run_dir))
    if run > cities.RUN_MAX:
        raise ValueError(
            f"đã diễn {cities.RUN_MAX} lượt; hãy dọn dữ liệu / {cities.RUN_MAX} runs were played; clean the data"
        )
    at = datetime.now(cities.ZONE)
    city = await asyncio.to_thread(cities.build, seed, run, at)
    people = run_dir / f"people-{run:03d}.json"
    await asyncio.to_thread(cities.people_file, city, people)
    report(f"Thành phố lượt {run}: {', '.join(s.name for s in city.schools)}", f"the city of run {run}")

    urls = {system: f"http://127.0.0.1:{free_port()}" for system in prepare.SYSTEMS}
    await prepare.connect(house.core, house.keys, urls)
    clients = await prepare.admit(house.core, house.keys, city)
    registered = time.monotonic()
    await asyncio.gather(*(_start(supervisor, system, url, run_dir, run) for system, url in urls.items()))
    report("Ba hệ thống giả lập đã sẵn sàng", "three simulated counterparties are up")
    await asyncio.sleep(max(0.0, registered + _KNOWN_AFTER_S - time.monotonic()))

    async def install(them: cities.City) -> dict[str, str]:
        installed = await prepare.install_gates(house.core, house.keys, them)
        await renew_devices()
        return installed

    stage = Stage(
        gateway=gateway_url,
        control_token=control_token(house.keys),
        mqtt=mqtt,
        clients=clients,
        install_gates=install,
        simulators=urls,
        patience_s=patience_s,
    )
    try:
        played = await play(city, stage, report)
    except (Refused, ConnectionError, aiohttp.ClientError) as error:
        shown.print(
            f"[bold red]✘ {error.__doc__ if isinstance(error, Refused) else type(error).__name__}[/bold red] {error}"
        )
        return False
    verdict = judge(played, await asyncio.to_thread(_numbers_before, run_dir, run))
    summary.keep(verdict, run_dir / f"morning-{run:03d}.json")
    return summary.show(verdict, shown)


def _last_file(run_dir: Path) -> int:
    """The highest run that left a file here; 0 before the first."""
    found = (_RUN_FILE.fullmatch(p.name) for p in (run_dir.iterdir() if run_dir.is_dir() else ()))
    return max((int(m.group(1)) for m in found if m), default=0)


def _numbers_before(run_dir: Path, run: int) -> frozenset[str]:
    """Hashes of the personal numbers of earlier runs: what an interrupted one left may be looked up in this one."""
    numbers: set[str] = set()
    for path in run_dir.glob("people-*.json"):
        match = _RUN_FILE.fullmatch(path.name)
        if match and int(match.group(1)) < run:
            numbers |= {
                number_hash(p["number"]) for p in msgspec.json.decode(path.read_bytes(), type=list[dict[str, str]])
            }
    return frozenset(numbers)


async def _start(supervisor: Supervisor, system: str, url: str, run_dir: Path, run: int) -> None:
    """Start one simulator with fresh books and wait until it answers."""
    argv = [
        sys.executable,
        "-m",
        f"adapters.{system}.simulator",
        "--port",
        url.rpartition(":")[2],
        "--books",
        str(run_dir / f"{system}-{run:03d}.jsonl"),
    ]
    if system == "population":
        argv += ["--people", str(run_dir / f"people-{run:03d}.json"), "--quota-per-s", str(prepare.PER_SECOND)]

    async def answers() -> bool:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http,
                http.get(f"{url}/_sim/books") as reply,
            ):
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    await supervisor.add(
        ChildSpec(name=f"sim-{system}", argv=argv, env=env, cwd=ROOT, ready=answers, stop_timeout_s=3.0, stage=1),
        wait=True,
    )
