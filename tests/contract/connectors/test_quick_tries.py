"""Which failures are tried again at once, what is told of each try, and how far the live test goes."""

from __future__ import annotations

import asyncio

import pytest

from hub.kernel.ports import Call, MaybeSent, NotSent, Reply
from tests.contract.connectors import wire_server

connector, call = wire_server.connector, wire_server.call


def test_quick_tries_follow_the_rule() -> None:
    async def go() -> None:
        async with wire_server.wire("request_close") as (port, book):
            c = connector("rest", port)
            with pytest.raises(MaybeSent) as once:
                await c.send_with_tries(call(idempotent=False), 5.0)
            assert [t.outcome for t in once.value.tries] == ["maybe_sent"] and book.requests == 1
            with pytest.raises(MaybeSent) as thrice:
                await c.send_with_tries(call(idempotent=True), 5.0)
            assert [t.outcome for t in thrice.value.tries] == ["maybe_sent"] * 3 and book.requests == 4
            await c.close()
        async with wire_server.wire("refused") as (port, _):
            c = connector("rest", port)
            with pytest.raises(NotSent) as refused:
                await c.send_with_tries(call(idempotent=False), 5.0)
            assert [t.outcome for t in refused.value.tries] == ["not_sent"] * 3
            assert all(t.ended >= t.started for t in refused.value.tries)
            await c.close()

    asyncio.run(go())


def test_a_doubt_is_not_forgotten_for_a_later_certainty() -> None:
    """Try one may have arrived, try two could not connect: together it may have arrived."""

    async def go() -> None:
        async with wire_server.wire("request_close") as (port, _):
            c = connector("rest", port)
            real = c.send
            count = 0

            async def send(asked: Call, deadline_s: float) -> Reply:
                nonlocal count
                count += 1
                if count > 1:
                    raise NotSent("no way")
                return await real(asked, deadline_s)

            c.send = send  # type: ignore[method-assign]
            with pytest.raises(MaybeSent) as doubt:
                await c.send_with_tries(call(idempotent=True), 5.0)
            assert [t.outcome for t in doubt.value.tries] == ["maybe_sent", "not_sent", "not_sent"]
            await c.close()

    asyncio.run(go())


def test_quick_tries_end_with_the_deadline() -> None:
    async def go() -> float:
        async with wire_server.wire("request_stall") as (port, _):
            c = connector("rest", port)
            started = asyncio.get_running_loop().time()
            with pytest.raises(MaybeSent):
                await c.send_with_tries(call(idempotent=True), 0.3)
            await c.close()
            return asyncio.get_running_loop().time() - started

    assert asyncio.run(go()) < 1.0


def test_probe_reaches_without_sending_a_byte() -> None:
    async def go() -> None:
        async with wire_server.wire("accept_stall") as (port, book):
            c = connector("rest", port)
            result = await c.probe(2.0)
            assert result.ok and result.step == "done" and result.detail.vi and result.detail.en
            await c.close()
            assert book.bytes == 0 and book.connections == 1
        async with wire_server.wire("refused") as (port, _):
            c = connector("rest", port)
            result = await c.probe(2.0)
            assert not result.ok and result.step == "connect"
            await c.close()

    asyncio.run(go())
