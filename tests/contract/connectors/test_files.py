"""Files dropped and picked up, on SFTP and in a folder: whole or not at all, once, and the truth about doubt."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import io
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import paramiko
import pytest

from connectors.address import AddressPolicy
from connectors.connector import LiveConnector, build
from connectors.errors import AddressRefused, CredentialsRefused, HostKeyRefused, SettingsInvalid
from connectors.settings import validate
from connectors.transports.pickup import Inbox, Lost, Picked
from hub.kernel.ports import Call, MaybeSent, NotSent, Text

_spec = importlib.util.spec_from_file_location("sftp_server", Path(__file__).with_name("sftp_server.py"))
assert _spec is not None and _spec.loader is not None
kit = importlib.util.module_from_spec(_spec)
sys.modules["sftp_server"] = kit
_spec.loader.exec_module(kit)

KINDS = ["sftp", "folder"]
LOCAL = AddressPolicy(["127.0.0.0/8"])


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Place:
    """One folder behind a connector of one kind, and the server before it if there is one."""

    def __init__(self, kind: str, root: Path, book: Any) -> None:
        self.kind, self.root, self.book, self.clock = kind, root, book, Clock()

    def connector(self, policy: AddressPolicy | None = None, secrets: Any = None, **more: Any) -> LiveConnector:
        if self.kind == "sftp":
            transport = {
                "kind": "sftp", "host": "127.0.0.1", "port": self.book.port, "username": "so-gddt", "login": "password",
                "host_keys": [self.book.line], "root": "/",
            }  # fmt: skip
        else:
            transport = {"kind": "folder", "path": str(self.root)}
        settings = {
            "name": "tep",
            "system": "ministry",
            "transport": {**transport, **more},
            "policy": {"timeouts": {"connect_s": 2, "read_s": 0.6}, "quick_tries": {"attempts": 1}},
        }
        known = {"sftp_password": "mat-khau-dung"} if secrets is None else secrets
        allowed = policy or AddressPolicy(["127.0.0.0/8"], [self.root])
        return build(validate(settings), known, allowed, self.clock)

    def files(self, folder: str) -> dict[str, bytes]:
        place = self.root / folder
        return {f.name: f.read_bytes() for f in place.iterdir() if f.is_file()} if place.is_dir() else {}


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    root = tmp_path / "goc"
    root.mkdir()
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    if request.param == "folder":
        yield Place("folder", root, None)
        return
    with kit.serving(root) as book:
        yield Place("sftp", root, book)


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[Place]:
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    root = tmp_path / "goc"
    root.mkdir()
    with kit.serving(root) as book:
        yield Place("sftp", root, book)


def drop(name: str = "a.xml", body: bytes = b"<a/>") -> Call:
    return Call(operation="o", deliveries=(1,), body=body, content_type="", idempotent=True, method="PUT", path=name)


def run(use: Callable[[LiveConnector], Awaitable[Any]], connector: LiveConnector) -> Any:
    async def go() -> Any:
        try:
            return await use(connector)
        finally:
            await connector.close()

    return asyncio.run(go())


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


# --------------------------------------------------------------------------------------------------- drop


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


# ------------------------------------------------------------------------------------------ who is who


def test_the_pinned_host_key_is_demanded_before_any_log_in(sftp: Place) -> None:
    other = paramiko.ECDSAKey.generate()
    for line in (f"{other.get_name()} {other.get_base64()}", _ed25519_line()):
        with pytest.raises(HostKeyRefused):
            run(lambda c: c.send(drop(), 5), sftp.connector(host_keys=[line]))
    assert sftp.book.logins == []
    two = [f"{other.get_name()} {other.get_base64()}", f"may-chu {sftp.book.line}"]
    assert run(lambda c: c.send(drop(), 5), sftp.connector(host_keys=two)).status == 201


def _ed25519_line() -> str:
    import base64

    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes(32)
    return "ssh-ed25519 " + base64.b64encode(blob).decode()


def test_refused_credentials_pause_and_show_nothing(sftp: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    connector = sftp.connector(secrets={"sftp_password": "mat-khau-lo-ra"})
    with pytest.raises(CredentialsRefused) as refused:
        run(lambda c: c.send(drop(), 5), connector)
    shown = str(refused.value) + repr(refused.value) + repr(connector) + repr(vars(connector._transport)) + caplog.text
    assert "mat-khau-lo-ra" not in shown and len(sftp.book.logins) == 1


def test_a_key_logs_in_and_a_broken_one_is_told_at_once(sftp: Place) -> None:
    key = paramiko.RSAKey.generate(2048)
    text = io.StringIO()
    key.write_private_key(text, password="kin")
    secrets = {"sftp_key": text.getvalue(), "sftp_key_passphrase": "kin"}
    with pytest.raises(CredentialsRefused):
        run(lambda c: c.send(drop(), 5), sftp.connector(login="key", secrets=secrets))
    sftp.book.keys.append(key.asbytes())
    assert run(lambda c: c.send(drop(), 5), sftp.connector(login="key", secrets=secrets)).status == 201
    for wrong in ({**secrets, "sftp_key_passphrase": "sai"}, {"sftp_key": "khong-phai"}, {}):
        with pytest.raises(SettingsInvalid) as invalid:
            sftp.connector(login="key", secrets=wrong)
        assert invalid.value.errors[0].pointer == "/secrets/sftp_key" and "khong-phai" not in str(invalid.value)


def test_inward_addresses_and_folders_outside_the_roots_are_refused(sftp: Place, tmp_path: Path) -> None:
    with pytest.raises(AddressRefused):
        run(lambda c: c.send(drop(), 5), sftp.connector(policy=AddressPolicy()))
    assert sftp.book.connections == 0
    outside, inside = tmp_path / "ngoai", tmp_path / "trong"
    outside.mkdir()
    inside.mkdir()
    (inside / "loi").symlink_to(outside)
    (inside / "out").symlink_to(outside)
    policy = AddressPolicy(folders=[inside])
    for path in (outside, inside / "loi", inside / ".." / "ngoai", Path("/etc")):
        with pytest.raises(AddressRefused):
            run(lambda c: c.send(drop(), 5), Place("folder", path, None).connector(policy=policy))
    with pytest.raises(NotSent):  # the folder for drops is itself a way out
        run(lambda c: c.send(drop(), 5), Place("folder", inside, None).connector(policy=policy))
    assert list(outside.iterdir()) == []


def test_the_live_test_says_how_far_it_came(place: Place) -> None:
    found = run(lambda c: c.probe(5), place.connector())
    assert found.ok and found.detail.vi
    refused = run(lambda c: c.probe(5), place.connector(policy=AddressPolicy()))
    assert not refused.ok and refused.step == "address"


# ------------------------------------------------------------------------------------------------ pick-up


def offer(place: Place, name: str, body: bytes, checksum: str | None = "right", changed: float = 1_789_999_000) -> None:
    folder = place.root / "in"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(body)
    os.utime(folder / name, (changed, changed))
    if checksum is not None:
        line = sha(body) if checksum == "right" else checksum
        (folder / f"{name}.sha256").write_text(f"{line}  {name}\n")


def inbox_of(connector: LiveConnector) -> Inbox:
    inbox = connector.inbox()
    assert inbox is not None
    return inbox


async def take(inbox: Inbox) -> list[Picked]:
    picked = [await inbox.claim(o) for o in await inbox.ready()]
    return [p for p in picked if p is not None]


def test_a_file_is_taken_once_and_put_away_after_confirming(place: Place) -> None:
    offer(place, "b.csv", b"hai", changed=1_789_999_900)
    offer(place, "a.csv", b"mot")
    offer(place, "chua-xong.csv", b"...", checksum=None)
    offer(place, "dang-tai.part", b"...")
    offer(place, ".an", b"...")

    async def use(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        assert [o.name for o in await inbox.ready()] == ["a.csv", "b.csv"]
        got = await take(inbox)
        assert [(p.name, p.body, p.sha256) for p in got] == [
            ("a.csv", b"mot", sha(b"mot")),
            ("b.csv", b"hai", sha(b"hai")),
        ]
        assert await inbox.ready() == []
        assert set(place.files("claimed")) == {p.path.rpartition("/")[2] for p in got}
        for picked in got:
            await inbox.confirm(picked)
        assert sorted(place.files("done").values()) == [b"hai", b"mot"] and place.files("claimed") == {}
        assert set(place.files("in")) == {"chua-xong.csv", "dang-tai.part", "dang-tai.part.sha256", ".an", ".an.sha256"}
        await inbox.confirm(got[0])  # a confirmation whose answer was lost is made again

    run(use, place.connector())


def test_two_takers_get_each_file_once(place: Place) -> None:
    for n in range(10):
        offer(place, f"{n}.csv", b"%d" % n)

    async def go() -> list[bytes]:
        connectors = [place.connector() for _ in range(2)]
        try:
            taken = await asyncio.gather(*(take(inbox_of(c)) for c in connectors))
            return sorted(p.body for some in taken for p in some)
        finally:
            for c in connectors:
                await c.close()

    assert asyncio.run(go()) == [b"%d" % n for n in range(10)]


def test_what_a_killed_taker_left_comes_again_under_the_same_key(place: Place) -> None:
    offer(place, "a.csv", b"mot")

    async def killed(c: LiveConnector) -> Picked:
        return (await take(inbox_of(c)))[0]

    first = run(killed, place.connector())
    place.clock.now += 100

    async def too_early(c: LiveConnector) -> None:
        assert await inbox_of(c).ready() == []

    run(too_early, place.connector())
    place.clock.now += 1000

    async def again(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        (second,) = await take(inbox)
        assert second.key == first.key and second.body == b"mot" and second.again and second.path != first.path
        with pytest.raises(Lost):
            await inbox.confirm(first)  # the first taker wakes up: its claim is gone
        await inbox.confirm(second)
        assert place.files("in") == {} and len(place.files("done")) == 1

    run(again, place.connector())


def test_the_same_content_coming_back_later_is_another_fact(place: Place) -> None:
    async def use(c: LiveConnector) -> None:
        inbox, keys = inbox_of(c), []
        for changed in (1_789_000_000, 1_789_500_000):
            offer(place, "a.csv", b"mot", changed=changed)
            (picked,) = await take(inbox)
            keys.append(picked.key)
            await inbox.confirm(picked)
        assert len(set(keys)) == 2 and len(place.files("done")) == 2

    run(use, place.connector())


def test_damaged_files_are_put_aside_with_a_reason_and_others_go_on(place: Place) -> None:
    offer(place, "sai.csv", b"mot", checksum="0" * 64)
    offer(place, "rong.csv", b"hai", checksum="")
    offer(place, "to.csv", b"x" * 5000)
    offer(place, "t" * 230 + ".csv", b"dai")
    offer(place, "dung.csv", b"ba")

    async def use(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        assert [p.name for p in await take(inbox)] == ["dung.csv"]
        assert {d.code for d in inbox.damaged} == {"checksum", "too_large", "name_too_long"} and len(inbox.damaged) == 4
        reasons = [b for n, b in place.files("failed").items() if n.endswith(".txt")]
        assert len(reasons) == 4 and all(len(r.decode().splitlines()) == 2 for r in reasons)
        assert {n for n in place.files("in") if not n.startswith("t" * 9)} == {"dung.csv.sha256"}

    run(use, place.connector(max_file_bytes=2000))


def test_without_checksums_a_file_is_whole_when_it_stops_growing(place: Place) -> None:
    async def use(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        offer(place, "a.csv", b"mo", checksum=None)
        assert await inbox.ready() == []
        await asyncio.sleep(0.25)
        offer(place, "a.csv", b"mot", checksum=None)
        assert await inbox.ready() == []  # it has grown: the time starts anew
        await asyncio.sleep(0.35)
        (picked,) = await take(inbox)
        assert picked.body == b"mot"
        await inbox.release(picked)
        assert place.files("in") == {"a.csv": b"mot"}
        (picked,) = await take(inbox)
        await inbox.refuse(picked, Text("Sai mẫu", "Wrong form"))
        assert any(b"Wrong form" in b for b in place.files("failed").values())

    run(use, place.connector(checksum="none", stable_s=0.3))


def test_files_are_deleted_only_once_confirmed_and_only_the_asked_for_names(place: Place) -> None:
    offer(place, "ds-1.csv", b"mot")
    offer(place, "khac.csv", b"hai")

    async def use(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        (picked,) = await take(inbox)
        assert place.files("claimed")
        await inbox.confirm(picked)
        assert place.files("claimed") == {} and place.files("done") == {}
        assert set(place.files("in")) == {"khac.csv", "khac.csv.sha256"}

    run(use, place.connector(after="delete", pick="ds-*.csv"))


def test_links_and_folders_are_no_files(tmp_path: Path) -> None:
    root, secret = tmp_path / "goc", tmp_path / "bi-mat"
    (root / "in").mkdir(parents=True)
    secret.write_bytes(b"bi mat")
    (root / "in" / "a.csv").symlink_to(secret)
    (root / "in" / "b.csv").mkdir()
    os.mkfifo(root / "in" / "c.csv")

    async def use(c: LiveConnector) -> None:
        await asyncio.sleep(0.01)
        inbox = inbox_of(c)
        await inbox.ready()
        assert await inbox.ready() == []

    run(use, Place("folder", root, None).connector(checksum="none", stable_s=0))


def test_a_place_away_is_not_sent_and_comes_back(sftp: Place) -> None:
    offer(sftp, "a.csv", b"mot")

    async def use(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        sftp.book.faults.at, sftp.book.faults.how = "list", "drop"
        with pytest.raises(NotSent):
            await inbox.ready()
        assert [p.body for p in await take(inbox)] == [b"mot"]

    run(use, sftp.connector())


def test_other_connectors_have_no_inbox() -> None:
    settings = {"name": "a", "system": "b", "transport": {"kind": "rest", "base_url": "http://x.vn"}}
    assert build(validate(settings), {}, LOCAL).inbox() is None
