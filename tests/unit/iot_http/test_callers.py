"""The list of addresses a family's door may be called from, and the settings it comes from."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from hub import commands_gates
from hub.api.gate_callers import REFUSED, Callers, note
from hub.kernel.ledger import parties
from hub.settings import SettingsError, load


def test_an_address_on_the_list_is_let_in_and_what_is_no_address_is_not() -> None:
    callers = Callers({"hanet": ["203.0.113.0/24", "2001:db8::/32"]})
    found = {
        a: callers.admits("hanet", a)
        for a in ("203.0.113.9", "::ffff:203.0.113.9", "2001:db8::1", "203.0.114.9", "::ffff:198.51.100.1", "2001:db9::1", "", "gần đây", "203.0.113.9, x")
    }  # fmt: skip
    assert [a for a, let_in in found.items() if let_in] == ["203.0.113.9", "::ffff:203.0.113.9", "2001:db8::1"]
    assert callers.admits("hikvision", "198.51.100.1"), "another family's door has no list"
    assert Callers({"hanet": []}).admits("hanet", "")


def test_calls_refused_are_counted_and_a_right_secret_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    callers = Callers({"hanet": ["203.0.113.0/24"]})

    def counted(secret: str) -> float:
        return REFUSED.labels("hanet", secret)._value.get()

    before = counted("right"), counted("wrong")
    for _ in range(5):
        callers.refused("hanet", "198.51.100.1", "A1")
        callers.refused("hanet", "198.51.100.2", None)
    assert (counted("right"), counted("wrong")) == (before[0] + 5, before[1] + 5)
    assert caplog.text.count("198.51.100.1") == 1 and "A1" in caplog.text and "198.51.100.2" not in caplog.text


def test_the_networks_are_settings_with_a_clear_word_on_what_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LT_GATES__HANET_NETWORKS", '["203.0.113.0/24", "2001:db8::7"]')
    assert load().gates.hanet_networks == ("203.0.113.0/24", "2001:db8::7/128")
    for wrong in ("203.0.113.9/24", "hanet.example"):
        monkeypatch.setenv("LT_GATES__HANET_NETWORKS", f'["{wrong}"]')
        with pytest.raises(SettingsError, match=r"gates\.hanet_networks") as told:
            load()
        assert wrong in str(told.value) and "mạng" in str(told.value)


def test_it_is_said_while_hanets_gates_may_be_called_from_anywhere() -> None:
    assert note((), ["zkteco", "hanet"]) is not None
    assert note((), ["zkteco"]) is None and note(("203.0.113.0/24",), ["hanet"]) is None


@pytest.mark.parametrize(
    ("family", "networks", "said"), [("hanet", (), 1), ("hanet", ("203.0.113.0/24",), 0), ("native", (), 0)]
)
def test_the_shells_check_says_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    family: str,
    networks: tuple[str, ...],
    said: int,
) -> None:
    async def devices(core: Any) -> list[dict[str, str]]:
        return [{"id": "G1", "family": family}]

    monkeypatch.setattr(parties, "devices", devices)
    house: Any = SimpleNamespace(core=None, settings=SimpleNamespace(gates=SimpleNamespace(hanet_networks=networks)))
    asyncio.run(commands_gates.doors(house))
    assert capsys.readouterr().out.count("gates.hanet_networks") == said * 2, "in both languages"
