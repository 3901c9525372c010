"""Each adapter against its own simulator, over real HTTP: faults give the declared outcomes, twice has one effect."""

from __future__ import annotations

import asyncio
import importlib
import signal
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from adapters.manifest import Manifest
from adapters.samples import samples
from adapters.twin import Twin
from hub.kernel.ports import Call, Outcome, Receipt, Reply, Unknown

Exchange = tuple[Any, Twin, aiohttp.ClientSession]


def _simulator(manifest: Manifest) -> type[Twin]:
    made: type[Twin] = importlib.import_module(f"adapters.{manifest.system}.simulator").Simulator
    return made


def _calls(manifest: Manifest) -> tuple[Any, list[Call]]:
    by_name = {s.name: s for s in samples(manifest)}
    calls = [call for name in manifest.live for call in by_name[name].adapter().render(by_name[name].outgoing())]
    return by_name[manifest.live[0]].adapter(), calls


async def _send(twin: Twin, http: aiohttp.ClientSession, call: Call) -> Reply | None:
    """The reply, or None when the connection gave none: what a connector calls MaybeSent."""
    url = twin.url + call.path
    headers, body = twin.authorised(url, call.headers | {"Content-Type": call.content_type}, call.body)
    try:
        async with http.request(call.method, url, data=body or None, headers=headers) as got:
            low = {k.lower(): v for k, v in got.headers.items()}
            return Reply(status=got.status, body=await got.read(), headers=low)
    except (aiohttp.ClientError, TimeoutError):
        return None


async def _converse(adapter: Any, twin: Twin, http: aiohttp.ClientSession, call: Call) -> dict[int, Outcome]:
    """Send and follow the conversation to its end."""
    reply = await _send(twin, http, call)
    assert reply is not None
    reading = adapter.read(call, reply)
    outcomes: dict[int, Outcome] = {d: Unknown(reason="left out") for d in call.deliveries} | reading.outcomes
    if reading.next is not None:
        outcomes |= await _converse(adapter, twin, http, reading.next)
    return outcomes


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


async def _with(manifest: Manifest, patience_s: float = 5) -> Exchange:
    twin = _simulator(manifest)()
    await twin.start()
    http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=patience_s))
    return _calls(manifest)[0], twin, http


def test_live_calls_are_taken_and_written_down(manifest: Manifest) -> None:
    async def work() -> None:
        adapter, twin, http = await _with(manifest)
        async with http:
            for call in _calls(manifest)[1]:
                outcomes = await _converse(adapter, twin, http, call)
                assert set(outcomes) == set(call.deliveries)
                assert all(isinstance(o, Receipt) for o in outcomes.values()), outcomes
            deliveries = sum(len(call.deliveries) for call in _calls(manifest)[1])
            async with http.get(twin.url + "/_sim/books") as got:
                told = await got.json()
            assert told["effects"] == deliveries
            assert not told["doubles"]
            assert not told["order_violations"]
            assert not told["refusals"]
        await twin.stop()

    _run(work())


def test_the_same_call_twice_does_what_the_manifest_says(manifest: Manifest) -> None:
    async def work() -> None:
        adapter, twin, http = await _with(manifest)
        async with http:
            for call in _calls(manifest)[1]:
                await _converse(adapter, twin, http, call)
                before = twin.summary()
                outcomes = await _converse(adapter, twin, http, call)
                after = twin.summary()
                repeat = manifest.operations[call.operation].repeat
                grown = after["effects"] - before["effects"]
                if repeat == "doubles":
                    assert grown == len(call.deliveries)
                    assert len(after["doubles"]) == len(before["doubles"]) + grown
                else:
                    assert grown == 0, f"{call.operation} had a second effect"
                    assert len(after["doubles"]) == len(before["doubles"])
                    assert all(isinstance(o, Receipt) for o in outcomes.values()), outcomes
                reply = await _send(twin, http, call)
                assert reply is not None
                again = adapter.read(call, reply)
                if repeat == "refused":
                    assert not any(isinstance(o, Receipt) for o in again.outcomes.values())
        await twin.stop()

    _run(work())


def test_fault_gives_the_declared_outcome_and_effect(manifest: Manifest, fault: str) -> None:
    declared = manifest.faults[fault]
    kinds = {o.name: o.kind for o in manifest.outcomes}

    async def work() -> None:
        adapter, twin, http = await _with(manifest, patience_s=0.6)
        calls = _calls(manifest)[1]
        wanted = declared.shown_on or calls[0].operation
        async with http:
            for call in calls:
                if call.operation == wanted:
                    break
                await _converse(adapter, twin, http, call)
            before = twin.summary()["effects"]
            order = {"kind": fault, "count": 1, "delay_s": 0.2}
            async with http.post(twin.url + "/_sim/fault", data=orjson.dumps(order)) as got:
                assert got.status == 200
            reply = await _send(twin, http, call)
            grown = twin.summary()["effects"] - before
            assert grown == (len(call.deliveries) if declared.effects == "all" else 0)
            if declared.sees == "maybe_sent":
                assert reply is None
            else:
                assert reply is not None
                outcomes = {d: Unknown(reason="left out") for d in call.deliveries} | adapter.read(call, reply).outcomes
                assert kinds[declared.sees] in {type(o).__name__ for o in outcomes.values()}, outcomes
            await _recovers(manifest, adapter, twin, http, call)
        await twin.stop()

    _run(work())


async def _recovers(manifest: Manifest, adapter: Any, twin: Twin, http: aiohttp.ClientSession, call: Call) -> None:
    """After the fault: an inquiry tells the truth, and what is safe to send again ends in one effect each."""
    operation = manifest.operations[call.operation]
    if manifest.inquire:
        held = {e.key for e in twin.books.effects}
        for delivery in call.deliveries:
            inquiry = adapter.inquire(delivery, call)
            answer = await _send(twin, http, inquiry)
            assert answer is not None
            verdict = adapter.settle(inquiry, answer).verdict
            there = any(inquiry.key in key for key in held)
            assert verdict == ("present" if there else "absent")
    if operation.repeat != "doubles":
        outcomes = await _converse(adapter, twin, http, call)
        assert all(isinstance(o, Receipt) for o in outcomes.values()), outcomes
    assert not twin.summary()["doubles"]


def test_unauthenticated_requests_are_refused(manifest: Manifest) -> None:
    async def work() -> None:
        adapter, twin, http = await _with(manifest)
        call = _calls(manifest)[1][0]
        async with http:
            headers = call.headers | {"Content-Type": call.content_type}
            async with http.request(call.method, twin.url + call.path, data=call.body, headers=headers) as got:
                reply = Reply(status=got.status, body=await got.read())
        outcomes = adapter.read(call, reply).outcomes
        assert outcomes
        assert not any(isinstance(o, Receipt | Unknown) for o in outcomes.values()), outcomes
        assert twin.summary()["effects"] == 0
        await twin.stop()

    _run(work())


def test_nonsense_is_refused_and_leaves_no_effect(manifest: Manifest) -> None:
    async def work() -> None:
        _, twin, http = await _with(manifest)
        call = _calls(manifest)[1][0]
        bodies = [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"<a/>", b'{"session":[]}', call.body[:-2], call.body + b"x"]
        async with http:
            for body in bodies:
                async with http.request(call.method, twin.url + call.path, data=body, headers=call.headers) as got:
                    assert got.status < 600
                    assert got.status != 500, body
                try:
                    headers, signed = twin.authorised(twin.url + call.path, dict(call.headers), body)
                except (ValueError, TypeError):
                    continue
                async with http.request(call.method, twin.url + call.path, data=signed, headers=headers) as got:
                    await got.read()
        assert twin.summary()["effects"] == 0
        await twin.stop()

    _run(work())


def test_quota_is_kept_in_the_simulators_own_seconds(manifest: Manifest) -> None:
    async def work() -> None:
        twin = _simulator(manifest)(quota_per_s=5)
        await twin.start()
        adapter, calls = _calls(manifest)
        async with aiohttp.ClientSession() as http:
            replies = await asyncio.gather(*[_send(twin, http, calls[0]) for _ in range(30)])
        seen = [adapter.read(calls[0], r).outcomes for r in replies if r is not None]
        later = [o for o in seen if o and all(type(x).__name__ == "TryLater" for x in o.values())]
        assert len(later) == twin.over_quota_count >= 30 - 2 * 5
        assert twin.peak_per_s <= 5
        await twin.stop()

    _run(work())


def test_books_survive_a_kill(manifest: Manifest, tmp_path: Path) -> None:
    """The process is killed with a torn last line left behind; the next run knows every effect and repeats none."""
    books = tmp_path / "books.jsonl"

    async def send_all(url: str) -> tuple[list[dict[int, Outcome]], dict[str, Any]]:
        adapter, calls = _calls(manifest)
        signer = _simulator(manifest)()
        signer.url = url
        done = []
        async with aiohttp.ClientSession() as http:
            if login := signer.login():
                async with http.post(url + login[0], data=login[1]) as got:
                    signer.logged_in(await got.read())
            for call in calls:
                if manifest.operations[call.operation].repeat == "doubles":
                    continue
                headers = call.headers | {"Content-Type": call.content_type}
                headers, body = signer.authorised(url + call.path, headers, call.body)
                async with http.request(call.method, url + call.path, data=body, headers=headers) as got:
                    reply = Reply(status=got.status, body=await got.read())
                done.append(adapter.read(call, reply).outcomes)
            async with http.get(url + "/_sim/books") as got:
                return done, await got.json()

    first, url = _spawn(manifest, books)
    try:
        outcomes, told = asyncio.run(send_all(url))
        assert told["effects"] == sum(len(o) for o in outcomes) > 0
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    with books.open("ab") as torn:
        torn.write(b'{"seq":99,"key":"half')
    second, url = _spawn(manifest, books)
    try:
        _, again = asyncio.run(send_all(url))
        assert again["effects"] == told["effects"]
        assert not again["doubles"]
    finally:
        second.terminate()
        assert second.wait(10) == 0


def _spawn(manifest: Manifest, books: Path) -> tuple[subprocess.Popen[bytes], str]:
    argv = [sys.executable, "-m", f"adapters.{manifest.system}.simulator", "--books", str(books)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.kill()
        pytest.fail("the simulator did not start")
    return process, orjson.loads(line)["url"]
