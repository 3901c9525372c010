"""Files dropped, on SFTP and in a folder: whole or not at all, once, and the truth about doubt."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import orjson
import pytest

from connectors.connector import LiveConnector
from hub.kernel.ports import MaybeSent, NotSent
from tests.contract.connectors import file_places as places

Place = places.Place
drop = places.drop
place = places.place
run = places.run
sftp = places.sftp
sha = places.sha


def test_a_drop_appears_whole_with_its_checksum_and_is_recognised_when_repeated(place: Place) -> None:
    async def use(c: LiveConnector) -> None:
        body = b"noi dung " * 200_000
        first = await c.send(drop("b.xml", body), 10)
        assert first.status == 201 and orjson.loads(first.body) == {
            "name": "b.xml",
            "bytes": len(body),
            "sha256": sha(body),
        }
        assert place.files("out") == {"b.xml": body, "b.xml.sha256": f"{sha(body)}  b.xml\n".encode()}
        assert (await c.send(drop("b.xml", body), 10)).status == 200
        assert (await c.send(drop("b.xml", body[:-1] + b"!"), 10)).status == 409
        assert (await c.send(drop("b.xml", b"ngan"), 10)).status == 409
        assert place.files("out")["b.xml"] == body and len(place.files("out")) == 2

    run(use, place.connector())
    if place.book:
        assert place.book.faults.flushed == 2 and place.book.connections == 1


def test_what_a_kill_between_file_and_checksum_left_is_completed(place: Place) -> None:
    (place.root / "out").mkdir()
    (place.root / "out" / "a.xml").write_bytes(b"<a/>")
    assert run(lambda c: c.send(drop(), 5), place.connector()).status == 200
    assert set(place.files("out")) == {"a.xml", "a.xml.sha256"}


def test_what_killed_drops_left_is_swept_a_day_later(place: Place) -> None:
    (place.root / "out").mkdir()
    for name, age in ((".a.xml.1.part", 2 * 86400), (".a.xml.2.part", 60), (".keep", 2 * 86400), ("b.part", 2 * 86400)):
        (place.root / "out" / name).write_bytes(b"x")
        os.utime(place.root / "out" / name, (place.clock.now - age,) * 2)
    run(lambda c: c.send(drop(), 5), place.connector(checksum="none"))
    assert set(place.files("out")) == {".a.xml.2.part", ".keep", "b.part", "a.xml"}


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".an", "a\nb", "a\\b", "x.part", "x.sha256", "/etc/passwd"])
def test_names_that_are_none_never_reach_the_place(place: Place, name: str) -> None:
    with pytest.raises(NotSent):
        run(lambda c: c.send(drop(name), 5), place.connector())
    assert place.files("out") == {}


@pytest.mark.parametrize("at", ["open", "write", "rename"])
@pytest.mark.parametrize("how", ["drop", "stall", "fail"])
def test_before_the_name_is_given_nothing_was_sent(sftp: Place, at: str, how: str) -> None:
    """A rename that was not carried out: asked for, it is in doubt; before that, certain."""

    async def use(c: LiveConnector) -> None:
        await c.send(drop("truoc.xml"), 5)
        sftp.book.faults.at, sftp.book.faults.how, sftp.book.faults.times = at, how, 1
        expected = MaybeSent if at == "rename" else NotSent
        with pytest.raises(expected) as error:
            await c.send(drop("sau.xml"), 4)
        assert type(error.value) is expected
        assert "sau.xml" not in sftp.files("out")
        sftp.book.faults.at = None
        assert (await c.send(drop("sau.xml"), 5)).status == 201
        assert sftp.files("out")["sau.xml"] == b"<a/>"

    run(use, sftp.connector())


@pytest.mark.parametrize("how", ["drop", "stall"])
def test_a_rename_whose_answer_is_lost_is_in_doubt_and_recognised_at_the_next_try(sftp: Place, how: str) -> None:
    async def use(c: LiveConnector) -> None:
        sftp.book.faults.at, sftp.book.faults.how = "renamed", how
        with pytest.raises(MaybeSent):
            await c.send(drop(), 4)
        assert "a.xml" in sftp.files("out")
        assert (await c.send(drop(), 5)).status == 200
        assert set(sftp.files("out")) == {"a.xml", "a.xml.sha256"}

    run(use, sftp.connector())


def test_a_deadline_that_passes_before_the_rename_stops_it_for_good(place: Place) -> None:
    """The thread may be anywhere when its caller stops waiting: what was called not sent must never appear."""
    from connectors.transports import file_store
    from connectors.transports import sftp as sftp_module

    store: Any = sftp_module.SftpStore if place.kind == "sftp" else file_store.FolderStore
    held, real = threading.Event(), store.write_new

    def slow(self: Any, path: str, data: bytes) -> None:
        real(self, path, data)
        held.wait(5)

    async def use(c: LiveConnector) -> None:
        await c.send(drop("truoc.xml"), 5)
        store.write_new = slow
        try:
            with pytest.raises(NotSent):
                await c.send(drop("sau.xml"), 0.3)
        finally:
            store.write_new = real
            held.set()
        await asyncio.sleep(0.3)
        assert "sau.xml" not in place.files("out")
        assert (await c.send(drop("sau.xml"), 5)).status == 201

    run(use, place.connector())


def test_an_unknown_flush_is_not_asked_for_again(sftp: Place) -> None:
    sftp.book.faults.no_fsync = True

    async def use(c: LiveConnector) -> None:
        assert (await c.send(drop(), 5)).status == 201 and (await c.send(drop("b"), 5)).status == 201

    run(use, sftp.connector())


def test_many_drops_at_a_time_share_one_session(place: Place) -> None:
    async def use(c: LiveConnector) -> None:
        replies = await asyncio.gather(*(c.send(drop(f"{n}.xml", b"%d" % n), 10) for n in range(20)))
        assert {r.status for r in replies} == {201} and len(place.files("out")) == 40

    run(use, place.connector())
