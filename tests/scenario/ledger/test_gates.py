"""The registry of gates on a real database: codes once, secrets that overlap, moves with their time, no way back."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.broker_keeper import users_of
from hub.kernel.ledger import gates, parties
from hub.kernel.ledger.gates import Gate, GateRefused

S1, S2 = "31HP0000001", "31HP0000002"
KEY = b"code key"


def gate(name: str, **more: Any) -> Gate:
    given = {
        "id": name, "family": "native", "profile": "native", "title": f"Cổng {name}", "school": S1, "entrance": "Cổng chính", "direction": "in",
    }  # fmt: skip
    return Gate(**{**given, **more})


def played(ledger: Any, scene: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(S1)
            await led.school(S2, ward="11503")
            await scene(led)

    asyncio.run(go())


async def entry(led: Any, name: str) -> Any:
    return next((r for r in await parties.devices(led.core) if r["id"] == name), None)


def test_a_code_opens_once_and_no_trace_of_it_is_kept(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        seal = led.keys.encrypt
        codes = await gates.register(led.core, "test", [gate("g1", serial="SN1"), gate("g2")], seal, KEY)
        assert await gates.enrolled(led.core, "AAAAA-AAAAA", KEY, seal) is None
        assert await gates.enrolled(led.core, codes["g1"], KEY, seal, "ANOTHER") is None  # and it is not used up
        got = await gates.enrolled(led.core, codes["g1"].lower().replace("-", " "), KEY, seal, "SN1")
        assert got is not None and (got.username, len(bytes.fromhex(got.secret))) == ("g1", 16)
        assert await gates.enrolled(led.core, codes["g1"], KEY, seal, "SN1") is None
        assert led.keys.decrypt((await entry(led, "g1"))["secret"], b"g1").decode() == got.secret
        # A second code ends the first; one that is over opens nothing.
        fresh = await gates.new_codes(led.core, "test", ["g2"], KEY)
        assert await gates.enrolled(led.core, codes["g2"], KEY, seal) is None
        late = await gates.new_codes(led.core, "test", ["g2"], KEY, timedelta(seconds=-1))
        assert await gates.enrolled(led.core, fresh["g2"], KEY, seal) is None
        assert await gates.enrolled(led.core, late["g2"], KEY, seal) is None
        dump = str(
            [tuple(r) for t in ("gate_codes", "gate_history", "journal") for r in await led.rows(f"SELECT * FROM {t}")]
        )
        assert not any(secret in dump for secret in [*codes.values(), got.secret])
        kinds = [r["kind"] for r in (await gates.history(led.core, "g1"))[0]]
        assert kinds == ["enrolled", "registered"]

    played(ledger, scene)


def test_two_at_once_with_one_code_get_one_secret(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        codes = await gates.register(led.core, "test", [gate("g1")], led.keys.encrypt, KEY)
        got = await asyncio.gather(*(gates.enrolled(led.core, codes["g1"], KEY, led.keys.encrypt) for _ in range(8)))
        assert sum(g is not None for g in got) == 1

    played(ledger, scene)


def test_registering_is_all_or_nothing_and_quick(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        seal = led.keys.encrypt
        began = time.monotonic()
        codes = await gates.register(led.core, "test", [gate(f"g{n}", serial=f"SN{n}") for n in range(1700)], seal, KEY)
        took = time.monotonic() - began
        assert len(set(codes.values())) == 1700
        assert took < 10, took
        for bad in ([gate("new"), gate("g3")], [gate("new"), gate("new2", serial="SN3")]):
            with pytest.raises(GateRefused):
                await gates.register(led.core, "test", bad, seal, KEY)
        assert await entry(led, "new") is None
        wrong = [gate("a b"), gate("x", school="nowhere"), gate("y"), gate("y"), gate("z", direction="up")]
        assert sorted({place for place, _ in gates.faults(led.core, wrong)}) == [0, 1, 2, 3, 4]

    played(ledger, scene)


def test_a_rotation_overlaps_and_ends(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        seal = led.keys.encrypt
        codes = await gates.register(led.core, "test", [gate("g1")], seal, KEY)
        first = await gates.enrolled(led.core, codes["g1"], KEY, seal)
        second = await gates.rotate(led.core, "test", "g1", seal, timedelta(hours=1))
        assert first and first.secret != second.secret and second.old_until is not None
        users = {u.name: u.secret for u in users_of(await parties.devices(led.core), led.keys)}
        assert (
            users
            == {"g1": first.secret, "g1@2": second.secret}
            == {first.username: first.secret, second.username: second.secret}
        )
        await led.owner.execute("UPDATE devices SET old_until = now() - interval '1 second'")
        users = {u.name for u in users_of(await parties.devices(led.core), led.keys)}
        assert users == {"g1@2"}
        assert await gates.settle(led.core) == 1 and await gates.settle(led.core) == 0
        third = await gates.rotate(led.core, "test", "g1", seal, timedelta(0))
        assert {u.name: u.secret for u in users_of(await parties.devices(led.core), led.keys)} == {"g1@2": third.secret}

    played(ledger, scene)


def test_moves_have_their_time(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        await gates.register(led.core, "test", [gate("g1")], led.keys.encrypt, KEY)
        now = datetime.now(UTC)
        await gates.move(led.core, "test", "g1", S2, "Cổng sau", "out", now - timedelta(hours=2), "chuyển")
        row = await entry(led, "g1")
        assert (row["school"], row["entrance"], row["direction"]) == (S2, "Cổng sau", "out")
        assert [p["school"] for p in row["places"]] == [S1, S2]
        await gates.move(led.core, "test", "g1", S1, "Cổng chính", "in", now + timedelta(seconds=0.4), "về")
        assert (await entry(led, "g1"))["school"] == S2
        await asyncio.sleep(0.5)
        assert await gates.settle(led.core) == 1
        assert (await entry(led, "g1"))["school"] == S1
        with pytest.raises(GateRefused):
            await gates.move(led.core, "test", "g1", "nowhere", "x", "in", now, "")

    played(ledger, scene)


def test_revoked_and_replaced_gates_are_nobody(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        seal = led.keys.encrypt
        codes = await gates.register(led.core, "test", [gate("g1", serial="SN1"), gate("g2")], seal, KEY)
        rung: list[str] = []
        led.core.on_commit = rung.append
        code = await gates.replace(led.core, "test", "g1", "g1b", "SN9", "M2", seal, KEY, "hỏng")
        assert await entry(led, "g1") is None
        new = await entry(led, "g1b")
        assert (new["school"], new["entrance"]) == (S1, "Cổng chính")
        assert await gates.enrolled(led.core, codes["g1"], KEY, seal) is None
        assert await gates.enrolled(led.core, code, KEY, seal, "SN9") is not None
        assert await gates.revoke(led.core, "test", ["g2", "never"], "mất") == ["g2"]
        assert await gates.enrolled(led.core, codes["g2"], KEY, seal) is None
        for order in (
            gates.rotate(led.core, "test", "g2", seal, timedelta(0)), gates.new_codes(led.core, "test", ["g2"], KEY),
            gates.trace(led.core, "test", "g2", "xem thử", timedelta(minutes=5)),
        ):  # fmt: skip
            with pytest.raises(GateRefused):
                await order
        assert rung and set(rung) == {"devices"}
        assert [r["kind"] for r in (await gates.history(led.core, "g1"))[0]] == ["replaced", "registered"]

    played(ledger, scene)


def test_a_trace_is_bounded_and_ends_by_itself(ledger: Any) -> None:
    async def scene(led: Any) -> None:
        await gates.register(led.core, "test", [gate("g1")], led.keys.encrypt, KEY)
        number = await gates.trace(led.core, "test", "g1", "mất sự kiện", timedelta(days=9), most=5)
        row = await entry(led, "g1")
        assert row["trace"] == number
        lines = [(number, datetime.now(UTC), {"n": n}) for n in range(4)]
        await parties.touch_devices(led.core, {"g1": {"trace": lines}})
        await parties.touch_devices(led.core, {"g1": {"trace": lines}})
        found, kept = (await gates.latest_trace(led.core, "g1")) or (None, [])
        assert len(kept) == 5 and found is not None and found["until"] - found["started_at"] <= timedelta(hours=1)
        await gates.stop_trace(led.core, "g1")
        assert (await entry(led, "g1"))["trace"] is None
        await parties.touch_devices(led.core, {"g1": {"trace": lines[:1]}})
        await led.owner.execute("UPDATE gate_traces SET until = now() - interval '2 days'")
        await gates.settle(led.core)
        assert await gates.latest_trace(led.core, "g1") is None

    played(ledger, scene)
