"""A stage: a real ledger, a real worker in this process, real simulators over HTTP. Outcomes are read from the simulators' books."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.ministry.simulator import TOKEN
from adapters.ministry.simulator import Simulator as Ministry
from adapters.population import simulator as population_twin
from adapters.public_service.simulator import PASSWORD, USERNAME
from adapters.public_service.simulator import Simulator as Portal
from hub.bell import Bell
from hub.evidence.pack import pack
from hub.kernel.access import EVERYWHERE
from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger import evidence
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept
from hub.kernel.ports import Draft
from hub.settings import load
from hub.wiring import House
from hub.worker.main import Worker
from mappings.engine import TYPES, parse_item, today_of

SCHOOL = "31HP0123001"
POLICY: dict[str, Any] = {
    "settle_after_s": 0.3, "absent_gap_s": 0.3, "concurrency": 4,
    "timeouts": {"connect_s": 1.0, "read_s": 1.0}, "retry": {"base_s": 0.3, "cap_s": 1.0},
    "breaker": {"failures": 1000, "open_s": 0.3}, "quick_tries": {"attempts": 1},
}  # fmt: skip


class Stage:
    def __init__(self, ledger: Any, house: House) -> None:
        self.led = ledger
        self.house = house
        self.core = house.core
        self.twins: dict[str, Any] = {}
        self.worker: Worker | None = None
        self._task: asyncio.Task[None] | None = None

    async def ministry(self, policy: dict[str, Any] | None = None, **options: Any) -> Ministry:
        twin = Ministry(**options)
        url = await twin.start()
        self.twins["ministry"] = twin
        await self.connect(
            "ministry",
            {"kind": "rest", "base_url": url},
            {"scheme": "bearer"},
            {"token": TOKEN},
            {"source": "000.00.12.H24"},
            policy,
        )
        return twin

    async def portal(
        self,
        policy: dict[str, Any] | None = None,
        password: str = PASSWORD,
        adapter: dict[str, Any] | None = None,
        **options: Any,
    ) -> Portal:
        twin = Portal(**options)
        url = await twin.start()
        self.twins["public_service"] = twin
        auth = {
            "scheme": "portal_session",
            "login_url": f"{url}/mapi/login",
            "username": USERNAME,
            "dstcode": "VN:GOV:G22:portal",
        }
        await self.connect(
            "public_service",
            {"kind": "rest", "base_url": url},
            auth,
            {"password": password},
            {"agency": "000.00.12.H24", **(adapter or {})},
            policy,
        )
        return twin

    async def population(
        self,
        people: list[Any],
        policy: dict[str, Any] | None = None,
        adapter: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        twin = population_twin.Simulator(people=people, **options)
        url = await twin.start()
        self.twins["population"] = twin
        auth = {"scheme": "population_signed", "user": population_twin.USER, "xroad_client": population_twin.CLIENT}
        secrets = {"secret": population_twin.SECRET, "api_key": population_twin.API_KEY}
        await self.connect(
            "population", {"kind": "soap", "base_url": url}, auth, secrets,
            {"MaDVC": "DVC1", "MaCanBo": "CB1"} | (adapter or {}), policy,
        )  # fmt: skip
        return twin

    async def connect(
        self,
        name: str,
        transport: dict[str, Any],
        auth: dict[str, Any],
        secrets: dict[str, str],
        adapter: dict[str, Any],
        policy: dict[str, Any] | None,
    ) -> None:
        settings = {
            "name": name,
            "system": name,
            "transport": transport,
            "auth": auth,
            "adapter": adapter,
            "policy": POLICY | (policy or {}),
        }
        await self.led.connector(name, name, settings, secrets)
        await self.house.refresh()

    async def push(self, record_type: str, *items: dict[str, Any], key: str | None = None) -> Any:
        """Items as a school sends them, through the parser, into the ledger."""
        at = datetime.now(UTC)
        drafts, rejects = [], []
        for n, item in enumerate(items):
            found = parse_item(record_type, item, f"/{n}", at)
            if isinstance(found, Draft):
                self.core.catalogue.standardise_record(TYPES[record_type], found.body, today_of(found.updated_at))
                drafts.append(found)
            else:
                rejects += found
        assert not rejects, rejects
        source = Source("client", "test")
        arrival = Arrival(
            source=source, type=record_type, body=repr(items).encode(), content_type="application/json", digest=b"d" * 32,
            key=intake_key(source, key) if key else None, drafts=drafts,
        )  # fmt: skip
        (answer,) = await accept(self.core, [arrival])
        assert not answer.rejects, answer.rejects
        return answer

    async def work(self) -> None:
        self.worker = Worker(self.house, None)
        self._task = asyncio.create_task(self.worker.run())

    async def rest(self) -> None:
        if self.worker is not None and self._task is not None:
            self.worker.stop()
            await asyncio.wait_for(self._task, 20)
            self.worker = self._task = None

    async def until(self, true: Callable[[], Any], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while True:
            found = true()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            assert time.monotonic() < end, f"not within {seconds} s; states: {await self.states()}"
            await asyncio.sleep(0.05)

    async def states(self) -> dict[str, int]:
        return {k: v for k, v in (await account(self.core)).by_state.items() if v}

    async def settled(self, seconds: float = 20.0, **wanted: int) -> None:
        await self.until(lambda: self._is(wanted), seconds)
        assert (await account(self.core)).balanced

    async def _is(self, wanted: dict[str, int]) -> bool:
        return await self.states() == wanted


def learner(code: str = "3112345678", **data: Any) -> dict[str, Any]:
    full = {
        "learner_code": code, "full_name": "Nguyễn Văn Mẫu", "birth_date": "2014-03-05", "sex": "Nam", "ethnicity": "01",
        "school_code": SCHOOL, "class_code": "6A1", "grade": "6", "school_level": "03", "status": "studying",
    }  # fmt: skip
    return {"data": full | data}


def filing(number: str = "000.00.12.H24-261122-0001", **data: Any) -> dict[str, Any]:
    full = {
        "file_number": number, "procedure_code": "2.002481", "procedure_name": "Chuyển trường", "field_code": "GDTrH", "field_name": "Giáo dục trung học",
        "applicant": {"kind": "1", "name": "Trần Thị Ví Dụ"}, "submitted_at": "2026-11-20T08:00:00+07:00", "received_at": "2026-11-20T09:00:00+07:00",
        "due_at": "2026-11-27T17:00:00+07:00", "status": "2", "channel": "1", "content": "Xin chuyển trường", "agency": "000.00.12.H24", "school_code": SCHOOL,
    }  # fmt: skip
    return {"data": full | data}


def progress(number: str, at: str = "2026-11-21T09:00:00+07:00", status: str = "4", **data: Any) -> dict[str, Any]:
    body = {
        "file_number": number, "handler": "Lê Thị Thử", "handled_at": at, "content": "Bước xử lý", "status": status,
        "department": "Phòng Giáo dục trung học", "school_code": SCHOOL,
    }  # fmt: skip
    return {"data": body | data}


@pytest.fixture
def items() -> Any:
    class Items:
        pass

    Items.learner, Items.filing, Items.progress = staticmethod(learner), staticmethod(filing), staticmethod(progress)
    return Items


@pytest.fixture
def stage(ledger: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens a stage: `async with stage() as s`."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Stage]:
        async with ledger(high=12) as led:
            given = load(
                data_dir=tmp_path, database_url=SecretStr(led.url), outward={"allow_private": ["127.0.0.0/8"]},
                dispatch={"poll_interval_s": 0.1, "lease_s": 5.0, **settings},
            )  # fmt: skip
            bell = Bell(None)
            led.core.on_commit = bell.ring
            house = House(given, led.keys, led.core, None, bell)
            s = Stage(led, house)
            await led.school(SCHOOL)
            try:
                yield s
            finally:
                await s.rest()
                for twin in s.twins.values():
                    await twin.stop()

    return opened


@pytest.fixture
def made(stage: Any, items: Any) -> Any:
    """Runs `work(stage, pack's bytes, record)` after one filing and some learners were delivered."""

    def run(work: Any) -> Any:
        async def go() -> Any:
            async with stage() as s:
                await s.portal()
                await s.ministry()
                await s.push(
                    "filing", items.filing("000.00.12.H24-261122-0001"), items.filing("000.00.12.H24-261122-0002")
                )
                await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(5)))
                await s.work()
                await s.settled(delivered=7)
                record = await evidence.find(s.core, "000.00.12.H24-261122-0001", "filing")
                assert record is not None
                found = await evidence.gather(s.core, record, EVERYWHERE)
                assert found is not None
                return await work(s, pack(found), record)

        return asyncio.run(go())

    return run
