"""One gate floods the listeners, another begins anew again and again: both are held back alone, and nothing is lost."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from hub.api.gate_sluice import Sluice
from hub.kernel.ledger import gate_held
from hub.worker import gate_held as saying
from hub.worker.gate_guard import FLAPPING, FLOOD, Guard, GuardOptions, alarms_of

FLOODED, CALM = 400, 20


def line(number: int) -> bytes:
    now = datetime.now(UTC) + timedelta(hours=7)
    return f"HS{number:05d}\t{now:%Y-%m-%d %H:%M:%S}\t0\t1\n".encode()


async def alarm_subjects(led: Any, kind: str) -> list[str]:
    rows = await led.rows("SELECT subject FROM alarms WHERE kind = $1 AND ended_at IS NULL", kind)
    return sorted(r["subject"] for r in rows)


def test_a_flood_over_http_stays_one_gates_own(gateway: Any) -> None:
    async def go() -> None:
        async with gateway.ledger() as led:
            await gateway.register(led.core, "Z1", "zkteco", "z-flood", "standard")
            await gateway.register(led.core, "Z2", "zkteco", "z-calm", "standard")
            await gateway.register(led.core, "Z3", "zkteco", "z-flap", "standard")
            waits: list[float] = []
            async with httpx.AsyncClient(
                base_url=gateway.url, timeout=30, limits=httpx.Limits(max_connections=60)
            ) as client:

                async def push(secret: str, serial: str, number: int) -> None:
                    """As the device does it: until the hub has said yes."""
                    while True:
                        path = f"/gates/{secret}/iclock/cdata"
                        reply = await client.post(
                            path, params={"SN": serial, "table": "ATTLOG", "Stamp": "1"}, content=line(number)
                        )
                        if reply.status_code == 200:
                            assert reply.text == "OK: 1"
                            return
                        assert reply.status_code == 503 and reply.headers["retry-after"] == "5"
                        await asyncio.sleep(0.05)

                async def flood() -> None:
                    places = asyncio.Semaphore(50)

                    async def one(number: int) -> None:
                        async with places:
                            await push("z-flood", "Z1", number)

                    await asyncio.gather(*(one(n) for n in range(FLOODED)))

                # As on a quick machine: a slow one would never be flooded by four hundred requests.
                gateway.app.state.sluice.guard._o = GuardOptions(per_s=5, burst=40)
                flooding = asyncio.create_task(flood())
                for _ in range(7):
                    assert (
                        await client.get("/gates/z-flap/iclock/cdata", params={"SN": "Z3", "options": "all"})
                    ).status_code == 200
                for n in range(CALM):
                    began = time.monotonic()
                    await push("z-calm", "Z2", n)
                    waits.append(time.monotonic() - began)
                    await asyncio.sleep(0.02)
                await flooding
                standing = gateway.app.state.sluice.standing()
                assert standing == {FLOOD: ["Z1"], FLAPPING: ["Z3"]}
                # What it says while it is held back is stored all the same.
                await push("z-flap", "Z3", 1)
                async with asyncio.timeout(15):
                    while (await alarm_subjects(led, FLOOD), await alarm_subjects(led, FLAPPING)) != (["Z1"], ["Z3"]):
                        await asyncio.sleep(0.2)
            stored = await led.rows(
                "SELECT body->>'device' AS d, count(*) AS n FROM records WHERE type = 'checkin' AND version = 1 GROUP BY 1 ORDER BY 1"
            )
            assert [(r["d"], r["n"]) for r in stored] == [("Z1", FLOODED), ("Z2", CALM), ("Z3", 1)]
            assert await led.value("SELECT count(*) FROM alarms") == 2, "one alarm each, however often"
            waits.sort()
            print(
                f"calm gate beside a flood of {FLOODED} requests: median {waits[CALM // 2] * 1000:.0f} ms, worst {waits[-1] * 1000:.0f} ms"
            )
            assert waits[CALM // 2] < 1.0

    asyncio.run(go())


def test_a_gate_held_back_takes_one_place_and_none_while_its_bytes_are_on_their_way(gateway: Any) -> None:
    async def go() -> None:
        async with gateway.ledger() as led, asyncio.timeout(60):
            await gateway.register(led.core, "Z1", "zkteco", "z-greedy", "standard")
            await gateway.register(led.core, "Z2", "zkteco", "z-modest", "standard")
            async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
                path = "/gates/{}/iclock/cdata?SN={}&table=ATTLOG&Stamp=1"
                assert (await client.post(path.format("z-greedy", "Z1"), content=line(0))).status_code == 200
                gateway.app.state.sluice.guard._o = GuardOptions(per_s=0.001, burst=0.001)
                address = httpx.URL(gateway.url)
                open_ends: list[asyncio.StreamWriter] = []
                answers: list[bytes] = []
                for _ in range(6):
                    reader, writer = await asyncio.open_connection(address.host, address.port)
                    head = f"POST {path.format('z-greedy', 'Z1')} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(line(1))}\r\n\r\n"
                    writer.write(head.encode() + line(1)[:5])
                    await writer.drain()
                    if open_ends:  # the first one's body is waited for; all that come beside it are put off at once
                        answers.append(await asyncio.wait_for(reader.readline(), 3))
                    else:
                        first = reader
                        while not gateway.app.state.sluice._in_turn:
                            await asyncio.sleep(0.01)
                    open_ends.append(writer)
                assert len(answers) == 5 and all(b" 503 " in a for a in answers)
                # Another gate that is held back finds its place all the same.
                began = time.monotonic()
                assert (await client.post(path.format("z-modest", "Z2"), content=line(1))).status_code == 200
                assert time.monotonic() - began < 3
                open_ends[0].write(line(1)[5:])
                assert b" 200 " in await first.readline()
                for writer in open_ends:
                    writer.close()
            assert gateway.app.state.sluice.standing()[FLOOD] == ["Z1", "Z2"]
            assert not gateway.app.state.sluice._in_turn
            assert await led.value("SELECT count(*) FROM records WHERE type = 'checkin' AND version = 1") == 3

    asyncio.run(go())


def test_what_several_processes_hold_back_is_one_alarm_until_none_does(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            none: dict[str, list[str]] = {FLOOD: [], FLAPPING: []}
            await gate_held.tell(led.core, "gateway 1", {**none, FLOOD: ["G1"]}, 60, alarms_of)
            await gate_held.tell(led.core, "gateway 2", {**none, FLOOD: ["G1", "G2"]}, 60, alarms_of)
            await gate_held.tell(led.core, "bridge", none, 60, alarms_of)
            assert await alarm_subjects(led, FLOOD) == ["G1", "G2"]
            await gate_held.tell(led.core, "gateway 1", none, 60, alarms_of)
            assert await alarm_subjects(led, FLOOD) == ["G1", "G2"], "another still says so"
            await gate_held.tell(led.core, "gateway 2", {**none, FLOOD: ["G2"]}, 60, alarms_of)
            assert await alarm_subjects(led, FLOOD) == ["G2"]
            # A process that was killed says nothing more: its word runs out.
            await led.owner.execute("UPDATE gate_held SET until = clock_timestamp() - interval '1 second'")
            await gate_held.tell(led.core, "bridge", none, 60, alarms_of)
            assert await alarm_subjects(led, FLOOD) == [] and await led.value("SELECT count(*) FROM gate_held") == 0
            assert await led.value("SELECT count(*) FROM alarms WHERE subject = 'G1'") == 1

    asyncio.run(go())


def test_a_gate_of_two_addresses_and_an_account_of_many_cameras() -> None:
    guard = Guard(GuardOptions(per_s=1, burst=2, flaps=4))
    sluice = Sluice(frozenset({"hanet"}), guard)
    for n in range(6):
        sluice.came_from("zkteco", "twins", f"10.0.0.{n % 2}")
        sluice.came_from("zkteco", "steady", "10.0.0.9")
        sluice.came_from("hanet", "account", f"10.0.1.{n}")
    assert sluice.standing() == {FLOOD: [], FLAPPING: ["twins"]}
    # One behind two lines looks the same: an alarm, and it is held back no more than before.
    sluice.began("twins")
    assert not guard.sent("twins", True)

    async def go() -> None:
        for _ in range(100):
            async with sluice.turn("hanet", "account", 1):
                pass
        for _ in range(4):
            async with sluice.turn("zkteco", "steady", 1):
                pass

    asyncio.run(go())
    assert sluice.standing() == {FLOOD: ["steady"], FLAPPING: ["twins"]}
    sluice.forget(lambda device: device == "account")
    assert sluice.standing() == {FLOOD: [], FLAPPING: []}


def test_what_a_killed_process_held_back_ends_though_nobody_else_holds_anything(
    ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saying, "_SAY_S", 0.1)

    async def go() -> None:
        async with ledger() as led:
            await gate_held.tell(led.core, "killed", {FLOOD: ["G1"], FLAPPING: []}, 0.6, alarms_of)
            assert await alarm_subjects(led, FLOOD) == ["G1"]
            task = asyncio.create_task(saying.say(led.core, lambda: {FLOOD: [], FLAPPING: []}, 0.05))
            async with asyncio.timeout(20):
                while await alarm_subjects(led, FLOOD):
                    await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())


def test_a_process_that_ends_takes_its_word_back(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            task = asyncio.create_task(saying.say(led.core, lambda: {FLOOD: ["G1"], FLAPPING: []}, 0.05))
            async with asyncio.timeout(20):
                while await alarm_subjects(led, FLOOD) != ["G1"]:
                    await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await alarm_subjects(led, FLOOD) == []

    asyncio.run(go())
