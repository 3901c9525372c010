"""Keeping the broker's users: names of the hub's own, and that no fault ends the keeping."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from hub import broker_keeper
from hub.broker_keeper import BrokerKeeper, commands_user, probe_user, users_of
from hub.embedded.broker import BrokerError
from hub.kernel.ledger import gates
from hub.kernel.ledger.gates import Gate
from hub.keys import Keys

KEYS = Keys(bytes(range(32)))


def row(device: str) -> dict[str, Any]:
    return {
        "id": device, "family": "native", "school": "31HP0000001", "places": [], "generation": 1, "old_secret": None,
        "secret": KEYS.encrypt(b"a secret of a gate", device.encode()),
    }  # fmt: skip


def test_a_gate_with_a_name_of_the_hubs_own_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    found = users_of([row("hub-bridge"), row("G1"), row("lt-commands")], KEYS, ("lt-commands", "hub-bridge"))
    assert [u.name for u in found] == ["G1"]
    assert caplog.text.count("the name is the hub's own") == 2


@pytest.mark.parametrize("name", ["hub-bridge", "lt-bridge", "lt-keeper", "lt-commands", "lt-commands-probe"])
def test_nobody_registers_a_gate_under_such_a_name(name: str) -> None:
    core: Any = SimpleNamespace(directory=SimpleNamespace(all=lambda: [SimpleNamespace(code="S1")]))
    given = {"family": "native", "profile": "native", "title": "t", "school": "S1", "entrance": "e", "direction": "in"}
    assert gates.faults(core, [Gate(id="G1", **given)]) == []
    assert len(gates.faults(core, [Gate(id=name, **given)])) == 1
    with pytest.raises(gates.GateRefused):
        asyncio.run(gates.replace(core, "test", "G1", name, None, "", lambda *_: b"", b"", "why"))


def test_who_tries_the_commands_account_has_its_secret_and_no_topics() -> None:
    told: list[Any] = []

    async def devices(_: Any) -> list[Any]:
        return [row("lt-commands-probe"), row("G1")]

    async def go(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(broker_keeper.parties, "devices", devices)
        house: Any = SimpleNamespace(core=None, keys=KEYS)
        broker: Any = SimpleNamespace(
            spec=lambda: SimpleNamespace(name="mqtt"), set_devices=lambda users, pid: told.extend(users)
        )
        settings: Any = SimpleNamespace(username="hub-bridge")
        keeper = BrokerKeeper(broker, house, SimpleNamespace(pid=lambda _: None), settings, None)  # type: ignore[arg-type]
        monkeypatch.setattr(keeper, "_note", lambda: None)
        await keeper.renew()

    with pytest.MonkeyPatch.context() as patch:
        asyncio.run(go(patch))
    assert [u.name for u in told] == ["lt-commands", "lt-commands-probe", "G1", "lt-keeper"]
    assert not told[3].reads and not told[3].writes
    assert told[1] == probe_user(KEYS) and told[1].secret == commands_user(KEYS).secret
    assert not told[1].reads and not told[1].writes


class Bell:
    async def heard(self) -> Any:
        for word in ("devices", "ready", "devices", "devices"):
            yield word


def test_no_fault_ends_the_keeping(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """By bell and by clock, whatever is raised: the next time the users are written again."""
    monkeypatch.setattr(broker_keeper, "LOOK_S", 0.0)
    monkeypatch.setattr(broker_keeper, "_CERT_LOOK_S", 0.0)
    raised = [BrokerError("two users of one name"), ProcessLookupError(3, "gone"), ValueError("unforeseen")]
    seen: list[str] = []

    class Authority:
        def ensure(self, names: Any) -> bool:
            seen.append("certificate")
            raise OSError("no room")

    async def renew() -> None:
        seen.append("renewed")
        if raised:
            raise raised.pop()

    async def go() -> None:
        house: Any = SimpleNamespace(bell=Bell(), core=None, keys=KEYS)
        settings: Any = SimpleNamespace(username="hub-bridge", tls_names=[], tls_port=0)
        broker: Any = SimpleNamespace(spec=lambda: SimpleNamespace(name="mqtt"))
        supervisor: Any = SimpleNamespace(pid=lambda _: None)
        authority: Any = Authority()
        keeper = BrokerKeeper(broker, house, supervisor, settings, authority)
        keeper._certificate_at = float("-inf")
        monkeypatch.setattr(keeper, "renew", renew)
        running = asyncio.create_task(keeper.run())
        while seen.count("renewed") < 6 or seen.count("certificate") < 2:
            await asyncio.sleep(0.01)
            assert not running.done()
        running.cancel()

    with caplog.at_level(logging.ERROR):
        asyncio.run(asyncio.wait_for(go(), 10))
    assert "two users of one name" in caplog.text and "no room" in caplog.text
