"""Whom the page of rehearsals asks: what stands on this machine, and nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.console.pages import twins


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({"transport": {"base_url": "http://127.0.0.1:9000/a"}}, ["http://127.0.0.1:9000/_sim/fault"]),
        ({"transport": {"base_url": "http://10.0.0.9:8080"}}, []),
        ({"transport": {"base_url": "http://bo.example.vn"}}, []),
        ({"transport": {"base_url": "https://127.0.0.1:9000"}}, []),
        ({"transport": {"base_url": "http://[::1"}}, []),
        ({"transport": {"kind": "mqtt", "host": "127.0.0.1"}}, []),
        ({}, []),
    ],
)
def test_a_counterparty_is_never_asked(
    settings: dict[str, Any], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def ask(request: Any, method: str, url: str, body: bytes = b"") -> Any:
        seen.append(url)
        return {"kinds": {"slow": "x"}, "on": []}

    monkeypatch.setattr(twins, "_ask", ask)
    found = asyncio.run(twins._twin(None, {"name": "ministry", "settings": settings}))  # type: ignore[arg-type]
    assert seen == asked and (found is not None) == bool(asked)
