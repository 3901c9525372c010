"""A gate that gets a new secret is told at once where to push: until then its old address would be shut to it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from hub.kernel.ledger import gate_lists, gates
from hub.worker.catchup import CatchUp
from iot.hikvision.simulator import HikvisionStore
from tests.scenario.iot_lists.asking import PASSWORD, asked, memory, people, standing

KEY = b"k" * 32


def test_a_rotated_and_a_newly_enrolled_secret_are_told_at_once(ledger: Any) -> None:
    async def go() -> None:
        stored = memory(2)
        store = HikvisionStore(stored, password=PASSWORD)
        async with ledger() as here, store as address:
            worker = await asked(here, "G1", "hikvision", address, push_base="https://hub.example.vn", every_s=900)
            await worker.work(10)
            assert len(store.hosts) == 1 and await worker.work(10) == 0, "told, and not due"

            given = await gates.rotate(here.core, "an", "G1", here.keys.encrypt, timedelta(hours=1))
            assert await worker.work(10) == 1
            assert f"/gates/{given.secret}/hikvision".encode() in store.hosts[-1] and len(store.hosts) == 2
            assert (await standing(here))["told_at"] is not None and await worker.work(10) == 0

            codes = await gates.new_codes(here.core, "an", ["G1"], KEY)
            enrolled = await gates.enrolled(here.core, codes["G1"], KEY, here.keys.encrypt)
            assert enrolled is not None and await worker.work(10) == 1
            assert f"/gates/{enrolled.secret}/hikvision".encode() in store.hosts[-1] and len(store.hosts) == 3
            assert await people(here) == [s.person for s in stored]

    asyncio.run(go())


def test_a_rotation_while_it_is_told_is_told_after_it_and_the_run_goes_on(
    ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old address is on its way when the new secret is committed: what was told must not count as told."""

    async def go() -> None:
        stored = memory(20)
        store = HikvisionStore(stored, size=7, password=PASSWORD)
        async with ledger() as here, store as address:
            worker = await asked(here, "G1", "hikvision", address, push_base="https://hub.example.vn", every_s=900)
            given: list[gates.Credential] = []
            real = gate_lists.told

            async def told(core: Any, device: str, sealed: bytes) -> None:
                if not given:
                    given.append(await gates.rotate(core, "an", device, here.keys.encrypt, timedelta(0)))
                await real(core, device, sealed)

            monkeypatch.setattr(gate_lists, "told", told)
            await worker.work(10)
            row = await standing(here)
            assert (row["told_at"], row["owner"], row["fault"]) == (None, None, None)
            await CatchUp(here.core, here.keys, ["127.0.0.0/8"]).work(10)
            assert f"/gates/{given[0].secret}/hikvision".encode() in store.hosts[-1] and len(store.hosts) == 2
            row = await standing(here)
            assert row["told_at"] is not None and row["missed"] == len(stored)
            assert await people(here) == [s.person for s in stored]

    asyncio.run(go())
