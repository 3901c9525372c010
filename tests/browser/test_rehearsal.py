"""A rehearsed outage watched in a real browser, with a real worker: deliveries wait, and are seen to recover."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from adapters.ministry.simulator import Simulator
from hub.embedded.postgres import ADMIN, APP, OWNER, EmbeddedPostgres
from hub.kernel.intake import Source
from hub.kernel.ledger.core import Core
from hub.kernel.router import Router, load_flows
from hub.kernel.store.db import open_pool
from hub.keys import Keys
from hub.wiring import FLOWS, hasher_of
from mappings.engine import Catalogue
from tests.browser import seed
from tests.browser.conftest import ROOT, Site, _free_port
from tests.browser.test_pages import OVERFLOW, UNREADABLE

DATABASE = "lt_rehearsal"
LEARNERS = 8


@pytest.fixture(scope="module")
def twin() -> Iterator[tuple[Simulator, str]]:
    """A simulator of the Ministry, and its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    simulator = Simulator(token="bi-mat-1")  # the one the seed gives the connector
    url = asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(10)
    yield simulator, url
    asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)


def _apart(work: Any) -> Any:
    """Run a coroutine in a thread's own loop: Playwright's runs in this one."""
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(lambda: asyncio.run(work)).result()


async def _with_core(site: Site, app: str, work: Any) -> Any:
    async with await open_pool(app) as pool:
        core = Core(pool, Router(load_flows(FLOWS), {}), Catalogue.load(), hasher_of(site.keys), worker="seed")
        await core.refresh()
        return await work(core)


async def _made(postgres: EmbeddedPostgres) -> None:
    admin = await asyncpg.connect(postgres.dsn("postgres", ADMIN).url)
    await admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    await admin.execute(f"CREATE DATABASE {DATABASE} TEMPLATE lt_template OWNER {OWNER} STRATEGY FILE_COPY")
    await admin.execute(f"GRANT CONNECT ON DATABASE {DATABASE} TO {APP}")
    await admin.close()


@pytest.fixture(scope="module")
def site(postgres: EmbeddedPostgres, twin: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hub of its own with a gateway and a worker: what a worker does would undo the other tests' picture."""
    data = tmp_path_factory.mktemp("rehearsal")
    keys = Keys.open(data / "key" / "master.key", data)
    port = _free_port()
    found = Site(f"http://127.0.0.1:{port}", DATABASE, postgres.dsn(DATABASE, ADMIN).url, {}, keys)
    app = postgres.dsn(DATABASE, APP).url

    async def fill(core: Core) -> None:
        await seed.systems(core, keys, _free_port())
        await seed.users(core)

    _apart(_made(postgres))
    _apart(_with_core(found, app, fill))
    _lead_to(found, twin[1])
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith("LT_")},
        "LT_DATA_DIR": str(data), "LT_MASTER_KEY_FILE": str(data / "key" / "master.key"), "LT_HTTP__PORT": str(port),
        "LT_DATABASE_URL": app, "LT_AIRFLOW__MODE": "off", "LT_OUTWARD__ALLOW_PRIVATE": '["127.0.0.0/8"]', "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    log = (data / "processes.log").open("wb")
    processes = [
        subprocess.Popen([sys.executable, "-m", "hub.cli", part], env=env, cwd=ROOT, stdout=log, stderr=log)
        for part in ("gateway", "worker")
    ]
    try:
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{found.url}/healthz", timeout=2):
                    break
            except OSError:
                if any(p.poll() is not None for p in processes) or time.monotonic() > until:
                    raise AssertionError((data / "processes.log").read_text()) from None
                time.sleep(0.1)
        yield found
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        log.close()


def _lead_to(site: Site, url: str) -> None:
    """Let the Ministry's connector lead to the simulator."""
    before = site.sql("SELECT settings FROM connectors WHERE name = 'ministry'")[0]["settings"]
    changed = json.loads(before) if isinstance(before, str) else dict(before)
    changed["transport"] = {**changed["transport"], "base_url": url}
    site.sql("UPDATE connectors SET settings = $1 WHERE name = 'ministry'", json.dumps(changed))


@pytest.fixture(scope="module")
def _states() -> dict[str, Any]:
    """Who signed in at this hub, and at no other."""
    return {}


def _push(site: Site, postgres: EmbeddedPostgres) -> None:
    school = seed.SCHOOLS[0][0]

    async def push(core: Core) -> None:
        items = [seed.learner(n, school) for n in range(LEARNERS)]
        core.router.bind(core.connectors)
        await seed.push(core, "learner", school, items, source=Source("client", "phan-mem-a"))

    _apart(_with_core(site, postgres.dsn(DATABASE, APP).url, push))


def _comes(page: Any, pattern: str, seconds: float) -> str:
    """What the live part says once it says that; nobody loads the page again, it refreshes itself."""
    live, until = page.locator("[data-live]"), time.monotonic() + seconds
    while not re.search(pattern, said := live.inner_text()):
        assert time.monotonic() < until, f"{pattern} did not come: {said}"
        page.wait_for_timeout(250)
    return said


def _shown(page: Any, folder: str | None, name: str) -> None:
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(UNREADABLE) == []
    if folder:
        page.screenshot(path=str(Path(folder) / f"rehearsal-{name}.png"), full_page=True)


@pytest.mark.timeout(240)
def test_an_outage_is_lived_through_before_ones_eyes(
    site: Site, postgres: EmbeddedPostgres, sign_in: Any, twin: tuple[Simulator, str]
) -> None:
    ministry, folder = twin[0], os.environ.get("CONSOLE_SHOTS")
    page = sign_in(width=1280, lang="en")
    page.goto("/twins")
    page.select_option("select[name=kind]", "down_503")
    page.select_option("select[name=seconds]", "300")
    page.click("form[action='/twins/ministry/fault'] button")
    _push(site, postgres)

    _comes(page, rf"Waiting\s+{LEARNERS}\b", 60)
    _comes(page, "Recovery begins", 30)
    assert ministry.summary()["effects"] == 0
    _shown(page, folder, "waits-en-1280")
    small = sign_in(width=390, lang="vi")
    small.goto("/twins")
    assert "Bắt đầu khôi phục" in small.locator("[data-live]").inner_text()
    _shown(small, folder, "waits-vi-390")

    page.select_option("select[name=kind]", "none")
    page.click("form[action='/twins/ministry/fault'] button")
    assert ministry.faults == []
    said = _comes(page, "Recovered after", 80)
    assert "Fault on: Out of service (503)" in said and "All faults off" in said and "released from waiting: 1" in said
    assert "Nothing is waiting" in said and not re.search(r"Waiting\s+\d", said)
    assert ministry.summary()["effects"] == LEARNERS and ministry.summary()["repeats"] == 0
    _shown(page, folder, "over-en-1280")
    small.goto("/twins")
    assert "Đã khôi phục" in small.locator("[data-live]").inner_text()
    _shown(small, folder, "over-vi-390")
