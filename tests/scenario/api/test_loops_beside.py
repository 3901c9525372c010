"""What goes on beside the gateway's requests is begun anew when it breaks off, and ends with the gateway."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from functools import partial
from typing import Any

import pytest

import hub.app
from hub.wiring import House
from hub.worker import gate_held
from hub.worker.gate_album import Album
from hub.worker.lasting import lasting


def test_a_loop_that_breaks_off_begins_anew(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    begun: Counter[str] = Counter()

    def faulty(name: str) -> Any:
        async def loop(*_: Any) -> None:
            begun[name] += 1
            if begun[name] == 1:
                raise RuntimeError("a bug")
            await asyncio.Event().wait()

        return loop

    monkeypatch.setenv("LT_PICTURES__LEGAL_BASIS", "an example for this test alone")
    for owner, name in ((House, "follow"), (hub.app, "follow"), (gate_held, "say"), (Album, "run")):
        monkeypatch.setattr(owner, name, faulty(f"{owner.__name__}.{name}"))
    monkeypatch.setattr(hub.app, "lasting", partial(lasting, rest_s=0.01), raising=False)
    request.getfixturevalue("gateway")
    until = time.monotonic() + 5
    while len(begun) < 4 or min(begun.values()) < 2:
        assert time.monotonic() < until, begun
        time.sleep(0.02)
    assert set(begun.values()) == {2}
