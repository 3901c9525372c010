"""The simulators' own controls: faults by time, count and match; books over HTTP and after a torn line."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import ClassVar

import aiohttp
import orjson
import pytest

from adapters.books import Books
from adapters.twin import Ask, Fault, Say, Twin


class Echo(Twin):
    """Writes every request down and says so."""

    system: ClassVar[str] = "echo"

    def answer(self, ask: Ask) -> Say:
        self.books.put(key=ask.body.decode() or ask.path, event="NEW", type="echo")
        return Say.of({"ok": True})


def test_faults_end_by_count_by_time_and_strike_only_what_matches() -> None:
    async def work() -> None:
        twin = Echo()
        url = await twin.start()
        async with aiohttp.ClientSession() as http:

            async def status(body: bytes) -> int:
                async with http.post(url + "/x", data=body) as got:
                    return got.status

            twin.set_fault(Fault(kind="down_503", count=2, match="abc"))
            assert [await status(b) for b in (b"abc1", b"other", b"abc2", b"abc3")] == [503, 200, 503, 200]
            async with http.post(url + "/_sim/fault", data=orjson.dumps({"kind": "quota_429", "for_s": 0.2})) as got:
                assert got.status == 200
            began = time.monotonic()
            assert await status(b"now") == 429
            await asyncio.sleep(max(0.0, 0.25 - (time.monotonic() - began)))
            assert await status(b"later") == 200
            for wrong in (b'{"kind":"meteor"}', b'{"kind":"slow","x":1}', b"", b"[]"):
                async with http.post(url + "/_sim/fault", data=wrong) as got:
                    assert got.status == 400
            twin.set_fault(Fault(kind="down_503"))
            async with http.delete(url + "/_sim/fault") as got:
                assert await got.json() == {"on": []}
            assert await status(b"end") == 200
            async with http.get(url + "/_sim/books/effects") as got:
                keys = [orjson.loads(line)["key"] for line in (await got.read()).splitlines()]
            assert keys == ["other", "abc3", "later", "end"]
        await twin.stop()

    asyncio.run(asyncio.wait_for(work(), 20))


def test_books_tell_doubles_and_order(tmp_path: Path) -> None:
    books = Books(tmp_path / "b.jsonl")
    for version in (1, 3, 2, 3):
        books.put(key="k", version=version, event="UPDATE", type="t")
    told = books.summary()
    assert told["doubles"] == [{"type": "t", "key": "k", "version": 3, "event": "UPDATE", "times": 2}]
    assert told["order_violations"] == [{"key": "k", "held": 3, "version": 2}]
    books.close()
    assert Books(tmp_path / "b.jsonl").summary()["effects"] == 4


def test_a_torn_line_is_cut_off_and_the_next_effect_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    books = Books(path)
    books.put(key="a", event="NEW", type="t")
    books.close()
    with path.open("ab") as torn:
        torn.write(b'{"seq":2,"key":"to')
    again = Books(path)
    again.put(key="b", event="NEW", type="t")
    again.close()
    assert [e.key for e in Books(path).effects] == ["a", "b"]


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="meteor"):
        Echo().set_fault(Fault(kind="meteor"))
