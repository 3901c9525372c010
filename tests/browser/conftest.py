"""A real gateway on a real PostgreSQL with a small real-looking hub in it, and Chromium to look at it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from hub.embedded.postgres import ADMIN, APP, OWNER, EmbeddedPostgres
from hub.kernel.ledger.core import Core
from hub.kernel.router import Router, load_flows
from hub.kernel.store.db import open_pool
from hub.keys import Keys
from hub.wiring import FLOWS, hasher_of
from mappings.engine import Catalogue
from tests.browser import seed

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "lt_console"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip


@dataclass
class Site:
    """The running gateway, and the owner's way into its database."""

    url: str
    database: str
    owner: str
    ids: dict[str, int]
    keys: Keys

    def sql(self, text: str, *args: Any) -> list[Any]:
        async def ask() -> list[Any]:
            connection = await asyncpg.connect(self.owner, server_settings={"search_path": "hub"})
            try:
                return list(await connection.fetch(text, *args))
            finally:
                await connection.close()

        # A thread's own loop: Playwright's runs in this one.
        with ThreadPoolExecutor(1) as apart:
            return apart.submit(lambda: asyncio.run(ask())).result()


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


async def _prepare(postgres: EmbeddedPostgres, keys: Keys, port: int) -> dict[str, int]:
    admin = await asyncpg.connect(postgres.dsn("postgres", ADMIN).url)
    await admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    await admin.execute(f"CREATE DATABASE {DATABASE} TEMPLATE lt_template OWNER {OWNER} STRATEGY FILE_COPY")
    await admin.execute(f"GRANT CONNECT ON DATABASE {DATABASE} TO {APP}")
    await admin.close()
    async with await open_pool(postgres.dsn(DATABASE, APP).url) as pool:
        core = Core(pool, Router(load_flows(FLOWS), {}), Catalogue.load(), hasher_of(keys), worker="worker-1")
        await core.refresh()
        return await seed.fill(core, keys, port=port)


@pytest.fixture(scope="session")
def site(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("console")
    keys = Keys.open(data / "key" / "master.key", data)
    port = _free_port()
    ids = asyncio.run(_prepare(postgres, keys, _free_port()))
    now = time.time()
    children = {
        name: {"state": state, "pid": 1, "started": 1, "since": now - age, "restarts": restarts, "exit_code": None, "error": None}
        for name, state, age, restarts in (
            ("postgres", "up", 7300, 0), ("redis", "up", 7299, 0), ("mosquitto", "up", 7298, 0), ("gateway", "up", 7290, 0),
            ("bridge", "up", 7289, 0), ("worker-1", "up", 640, 1), ("airflow-scheduler", "starting", 4, 0),
        )
    }  # fmt: skip
    (data / "status.json").write_text(
        json.dumps(
            {"pid": os.getpid(), "notes": {"broker": {"name": "mosquitto", "warning": None}}, "children": children}
        )
    )
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith("LT_")},
        "LT_DATA_DIR": str(data), "LT_MASTER_KEY_FILE": str(data / "key" / "master.key"), "LT_HTTP__PORT": str(port),
        "LT_DATABASE_URL": postgres.dsn(DATABASE, APP).url, "LT_AIRFLOW__MODE": "off",
        "LT_PICTURES__LEGAL_BASIS": "Quyết định 00/QĐ-SGDĐT (thử), điều 2", "LT_OUTWARD__ALLOW_PRIVATE": '["127.0.0.0/8"]', "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    log = (data / "gateway.log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "hub.cli", "gateway"], env=env, cwd=ROOT, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 40
        while True:
            try:
                with urllib.request.urlopen(f"{url}/healthz", timeout=2):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise AssertionError((data / "gateway.log").read_text()) from None
                time.sleep(0.1)
        yield Site(url, DATABASE, postgres.dsn(DATABASE, ADMIN).url, ids, keys)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for one module: while Playwright runs, no other loop can in this thread, and other tests need theirs."""
    if not Path(CHROMIUM).exists():
        pytest.fail(f"{CHROMIUM} is missing: install Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


SignIn = Callable[..., Page]


@pytest.fixture(scope="session")
def _states(site: Site) -> dict[str, Any]:
    """Cookies of users who signed in once: signing in is tested by itself."""
    return {}


@pytest.fixture
def sign_in(site: Site, browser: Browser, _states: dict[str, Any]) -> Iterator[SignIn]:
    """`sign_in(user, width=…, lang=…)` gives a page of a signed-in user. Script errors on any page fail the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def go(
        user: str = "quantri", *, width: int = 1440, lang: str = "vi", height: int = 900, dark: bool = False
    ) -> Page:
        if user not in _states:
            context = browser.new_context(base_url=site.url)
            page = context.new_page()
            page.goto("/login")
            page.fill("[name=name]", user)
            page.fill("[name=password]", seed.PASSWORD)
            page.click("button.main")
            page.wait_for_url(f"{site.url}/")
            _states[user] = context.storage_state()
            context.close()
        context = browser.new_context(
            base_url=site.url,
            viewport={"width": width, "height": height},
            storage_state=_states[user],
            color_scheme="dark" if dark else "light",
        )
        context.add_cookies([{"name": "lt_lang", "value": lang, "url": site.url}])
        contexts.append(context)
        page = context.new_page()
        # A page that answers 4xx is news to the console too, and what some tests are about.
        page.on(
            "console",
            lambda m: (
                errors.append(f"{page.url}: {m.text}")
                if m.type in ("error", "warning") and "status of 4" not in m.text
                else None
            ),
        )
        page.on("pageerror", lambda e: errors.append(f"{page.url}: {e}"))
        return page

    yield go
    for context in contexts:
        context.close()
    assert not errors, errors
