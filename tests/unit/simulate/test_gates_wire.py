"""A load's gates over HTTP: refused, cut off or unanswered, an event is sent again until there is a yes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hub.simulate.gates import TooFewFiles, allow_files
from hub.simulate.gates_wire import WebGate
from hub.simulate.gates_words import Event, Spec

ANSWERS = {
    "yes": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
    "away": b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
}


async def serve(plan: list[str]) -> tuple[asyncio.Server, list[bytes]]:
    """Answer one request after the other as planned; `cut` hangs up without an answer, `then-cut` after it."""
    asked: list[bytes] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                asked.append(await reader.readexactly(size))
                step = plan.pop(0) if plan else "yes"
                if step == "cut":
                    return
                answer = ANSWERS["yes" if step == "then-cut" else step]
                writer.write(answer[:9])  # in two pieces
                await asyncio.sleep(0.01)
                writer.write(answer[9:])
                if step == "then-cut":
                    return
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    return await asyncio.start_server(one, "127.0.0.1", 0), asked


def play(
    plan: list[str], events: int, before: Callable[[WebGate], None] = lambda _: None
) -> tuple[list[str], list[bytes], WebGate]:
    acked: list[str] = []

    async def go() -> tuple[list[bytes], WebGate]:
        server, asked = await serve(plan)
        address = server.sockets[0].getsockname()[:2]
        spec = Spec(device="sim-gate-1", family="hikvision", school="31SIM0001", number=1, secret="x" * 32)

        def heard(_gate: Spec, event: Event, _now: float) -> None:
            acked.append(event.name)

        gate = WebGate(spec, 1, address, heard)
        before(gate)
        for _ in range(events):
            gate.send(0.0)
        async with asyncio.timeout(15):
            while gate.waiting:
                await asyncio.sleep(0.05)
                gate.again(asyncio.get_running_loop().time())
        gate.cut()
        server.close()
        await server.wait_closed()
        return asked, gate

    asked, gate = asyncio.run(go())
    return acked, asked, gate


def test_events_go_one_after_the_other_over_one_connection() -> None:
    acked, asked, gate = play([], 5)
    assert acked == [f"{100_000 + n}" for n in range(1, 6)] and len(asked) == 5 and gate.repeats == 0


def test_what_is_refused_or_cut_off_is_sent_again() -> None:
    acked, asked, gate = play(["yes", "cut", "away", "yes"], 3)
    assert len(acked) == 3 and len(asked) == 5 and gate.repeats == 2
    assert asked[1] == asked[2] == asked[3]


def test_a_server_that_closes_between_two_requests_costs_nothing() -> None:
    acked, asked, _ = play(["then-cut", "then-cut", "then-cut"], 3)
    assert len(acked) == 3 and len(set(asked)) == 3


def test_too_few_files_are_said_before_anything_begins() -> None:
    allow_files(10)
    try:
        allow_files(10**9)
    except TooFewFiles as error:
        assert "ulimit -n" in str(error)
    else:
        raise AssertionError("a billion gates were allowed")
