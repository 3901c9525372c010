"""A load's gates that are asked: their lists on one server, what the hub's own reading makes of them, who may ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.address import AddressPolicy
from connectors.connector import build
from connectors.errors import AddressRefused
from connectors.settings import validate
from hub.kernel.ports import Reply
from hub.simulate import gates_lists
from hub.simulate.gates_asked import left_out, settings_of
from hub.simulate.gates_fleet import specs
from hub.simulate.gates_lists import ListedGate, Lists
from hub.simulate.gates_words import LISTED, Spec
from hub.worker.list_settings import check, policy_of
from iot.dahua.listing import LIST
from iot.listing import Listed, Span

LOOPBACK = ["127.0.0.0/8"]
Books = list[tuple[str, str, str]]


def around_now() -> Span:
    now = datetime.now(UTC)
    return Span(now - timedelta(minutes=5), now + timedelta(minutes=5))


def gate(number: int) -> Spec:
    return Spec(
        device=f"sim-gate-{number:04d}", family="dahua", school="31SIM0001", number=number, secret=f"{number}" * 16
    )


def entry(spec: Spec) -> dict[str, Any]:
    return {"id": spec.device, "family": "dahua", "profile": "standard", "school": spec.school, "direction": "in", "zone": ""}  # fmt: skip


async def ask(spec: Spec, base: str, networks: list[str], password: str) -> Reply:
    """As the worker asks: through a connector of the list's own settings."""
    given = check(settings_of(spec, base), networks)
    settings = validate({"name": "g", "system": "gate", "transport": given.transport, "auth": given.auth})
    connector = build(settings, {"password": password}, policy_of(given, networks))
    try:
        return await connector.send(LIST.ask(entry(spec), around_now(), None), 10)
    finally:
        await connector.close()


def served(numbers: range, use: Callable[[list[ListedGate], str, Books], Awaitable[None]]) -> None:
    async def go() -> None:
        books: Books = []
        gates = [ListedGate(gate(n), 7, lambda g, who, raw, _at: books.append((g.device, who, raw))) for n in numbers]
        lists = Lists(gates)
        await lists.open()
        address = lists.address
        try:
            await use(gates, address, books)
        finally:
            await lists.close()
        assert lists.address == ""
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))

    asyncio.run(go())


def read(spec: Spec, reply: Reply) -> Listed:
    return LIST.read(entry(spec), around_now(), None, reply, None, datetime.now(UTC), {})


def test_each_gate_lists_its_own_passages_and_they_are_read_as_the_books_have_them() -> None:
    async def use(gates: list[ListedGate], address: str, books: Books) -> None:
        for number in range(30):
            gates[number % 3].send(0.0)
        found = []
        for listed in gates:
            spec = listed.spec
            page = read(spec, await ask(spec, address, LOOPBACK, spec.secret))
            assert page.fault is None and len(page.items) == 10
            for device, item in page.items:
                (draft,) = item.decoded.drafts
                assert draft.body["quarantine"] is None
                found.append((device, draft.body["person_code"], draft.body["device_time_raw"]))
        assert sorted(found) == sorted(books) and len(set(found)) == 30

    served(range(1, 4), use)


def test_a_list_is_given_to_nobody_without_its_gates_password() -> None:
    async def use(gates: list[ListedGate], address: str, books: Books) -> None:
        gates[0].send(0.0)
        mine, other = gates[0].spec, gates[1].spec
        page = read(mine, await ask(mine, address, LOOPBACK, other.secret))
        assert page.fault is not None and page.fault.kind == "person" and page.items == []
        assert gates[0].store.refused > 0 and gates[0].store.asked == []

    served(range(1, 3), use)


def test_the_hub_asks_on_this_machine_only_where_its_own_configuration_says_gates_stand() -> None:
    spec = gate(1)
    given = check(settings_of(spec, "http://127.0.0.1:1"), LOOPBACK)
    for address, refused in (("127.0.0.1", False), ("10.0.0.1", True), ("169.254.169.254", True)):
        assert (policy_of(given, LOOPBACK).refusal(address) is not None) == refused
    assert AddressPolicy().refusal("127.0.0.1") is not None and policy_of(given, []).refusal("127.0.0.1") is not None
    fleet = specs(300)
    asked = [s for s in fleet if s.family in LISTED]
    assert len(asked) == 6
    assert left_out(fleet, LOOPBACK) == left_out(fleet, ["127.0.0.0/8", "10.20.0.0/16"]) == []
    assert left_out(fleet, []) == left_out(fleet, ["10.0.0.0/8"]) == asked and left_out(fleet[:1], []) == []


def test_an_address_elsewhere_is_not_reached_even_so() -> None:
    async def go() -> None:
        with pytest.raises(AddressRefused):
            await ask(gate(1), "http://10.255.255.1:9", LOOPBACK, "x")

    asyncio.run(go())


def test_a_gates_memory_ends_somewhere_and_loses_its_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates_lists, "_HELD", 100)
    listed = ListedGate(gate(1), 7, lambda *_: None)
    assert Lists([listed]).last == {}
    began = time.time()
    for _ in range(150):
        listed.send(0.0)
    numbers = [s.number for s in listed.store.stored]
    assert numbers == list(range(numbers[0], 700_151)) and 90 <= len(numbers) <= 100
    assert listed.last is not None and Lists([listed]).last == {"sim-gate-0001": listed.last}
    assert began - 1 < listed.last.timestamp() <= time.time()
