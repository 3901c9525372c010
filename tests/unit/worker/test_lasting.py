"""Loops beside a process's work: a fault is told and the loop begun anew; an end is an end."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from hub.worker import gate_asks
from hub.worker.gate_asks import GateAsks
from hub.worker.lasting import lasting


def test_a_loop_that_breaks_off_is_told_of_and_begun_anew(caplog: pytest.LogCaptureFixture) -> None:
    begun = 0

    async def loop() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise ValueError("a bug")

    with caplog.at_level(logging.ERROR, "hub.loops"):
        asyncio.run(asyncio.wait_for(lasting("asking", loop, 0.001), 5))
    assert begun == 3
    assert [r.getMessage() for r in caplog.records] == ["asking broke off and begins anew"] * 2


def test_a_loop_ends_when_it_is_told_to() -> None:
    async def go() -> None:
        task = asyncio.create_task(lasting("asking", asyncio.Event().wait, 0.001))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())


@pytest.mark.parametrize(("fault", "kept"), [(ConnectionError("away"), 2), (ValueError("a bug"), 1)])
def test_what_cannot_be_asked_now_is_kept_and_what_never_can_is_not(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, kept: int
) -> None:
    async def add(*_: Any) -> None:
        raise fault

    monkeypatch.setattr(gate_asks.gate_commands, "add", add)
    asks = GateAsks(None, lambda _: True)  # type: ignore[arg-type]
    asks._spans.extend([("G1", None, None), ("G2", None, None)])  # type: ignore[list-item]
    with pytest.raises(type(fault)):
        asyncio.run(asks.step())
    assert [d for d, _, _ in asks._spans] == ["G1", "G2"][-kept:]
