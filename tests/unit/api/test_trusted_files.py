"""What a gateway says of trusted certificates it cannot read: one alarm each, and its end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from hub.api import files


def test_an_alarm_for_each_file_that_cannot_be_read_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[list[str]] = []

    async def report(core: Any, kind: str, standing: list[Any]) -> None:
        assert kind == "trusted_file" and all(a.text.vi and a.text.en for a in standing)
        said.append([a.subject for a in standing])

    monkeypatch.setattr(files.alarms, "report", report)
    state = SimpleNamespace(hub=SimpleNamespace(core=None))

    async def go() -> None:
        for refused in (None, {}, {"a.crl": "x"}, {"a.crl": "x"}, None, {}, {}):
            await files._say_refused(state, refused)

    asyncio.run(go())
    # The first word of a process may end what an earlier one began; what has not changed is not said again.
    assert said == [[], ["a.crl"], []]
