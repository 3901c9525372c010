"""The firewall's stricter judgement of devices: addresses of pictures by their shape, vectors in every shape, documents;
and what a device may honestly say stays."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.kernel.firewall import MARK, clean
from hub.kernel.firewall_devices import clean_device

ADDRESSES = [
    "http://10.0.0.1/face/x.jpg", "https://h.example/a/b.JPEG?sig=1#2", "http://10.0.0.1/LOCALS/pic/acsLinkCap/2026_00/20_07_0.jpeg@WEB01",
    "http://h.example/getPicture?id=7", "http://h.example/api/v1/faceSnap/12", "rtsp://admin:x@10.0.0.3/video/1.mp4", "/mnt/appdata1/userpic/SnapShot/7",
    "/face/000123", "./captured/7", "../img/7", "C:\\snap\\7", "\\\\nas\\anh-chan-dung\\HS7", "photos/2026/11/7", "snap/7", "a/b.png", "000123.jpg",
    "7.gif", "http%3A%2F%2Fh%2Fface%2F7", "file:///mnt/x.bmp", "http://h.example/face/Nguyễn Văn Mẫu_1.jpg", "khuon_mat/lop6a/7", "http://img.example.com/a1",
]  # fmt: skip


def hasher(data: bytes) -> str:
    return hmac.digest(b"test key", data, "sha256").hex()


def gone(body: bytes, *secrets: str) -> Any:
    cleaned = clean_device(body, hasher)
    for secret in secrets:
        assert secret.encode() not in cleaned.body and secret not in repr(cleaned.removed), (body, cleaned.body)
    assert cleaned.removed
    assert not cleaned.is_json or orjson.loads(cleaned.body) == cleaned.tree
    again = clean_device(cleaned.body, hasher)
    assert again.body == cleaned.body and not again.removed, "cleaning twice changes something"
    return cleaned


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_of_a_picture_goes_wherever_it_stands(address: str) -> None:
    for tree in ({"link": address}, {"id": "E1", "list": [{"fileLink": address}], "after": 1}, [address]):
        cleaned = gone(orjson.dumps(tree), address)
        assert cleaned.tree == json.loads(json.dumps(tree).replace(json.dumps(address), json.dumps(MARK)))
        assert [r.reason for r in cleaned.removed] == ["address"]
    gone(json.dumps({"link": address}).replace("/", "\\/").encode(), address.replace("/", "\\/"))
    gone(json.dumps({"link": address}).replace("/", "\\u002f").encode(), address.replace("/", "\\u002f"))
    gone(json.dumps({"link": address}).encode("utf-16"), address)
    for sign in (b"\xfe\xff", b"\xff\xfe", b"\xff\xfe\0\0"):  # says that it is wide, and is not
        for more in ("", " "):
            gone(sign + f"found=1\r\nPath={address}{more}\r\n".encode(), address)
    gone(json.dumps({"told": json.dumps({"link": address})}).encode())
    assert (
        gone(f"<a><link>{address}</link><n>1</n></a>".encode(), address).body
        == f"<a><link>{MARK}</link><n>1</n></a>".encode()
    )
    lines = f"found=1\r\nrecords[0].Path={address}\r\nrecords[0].UserID=HS7\r\n"
    assert gone(lines.encode(), address).body == lines.replace(address, MARK).encode()
    gone(f'{{"id":"1","link":"{address}"'.encode(), address)
    gone(orjson.dumps({address: 1}), address)
    gone(f'{{"a":{json.dumps(address)},"a":"no"}}'.encode(), address)
    if " " not in address:
        said = orjson.dumps({"note": f"Xem {address} nhé"})
        assert gone(said, address).tree == {"note": f"Xem {MARK} nhé"}
        form = f"ID=1&url={address.replace('?', '%3F').replace('&', '%26')}&Return=0".encode()
        assert gone(form).body == f"ID=1&url={MARK}&Return=0".encode()
    pushed = orjson.dumps({"data": {"attachments": address}})
    assert clean(pushed, hasher).body == pushed, "a school's honest link"


def noise(count: int, kind: str) -> list[Any]:
    draw = random.Random(kind)
    if kind == "decimals":
        return [draw.gauss(0, 1) for _ in range(count)]
    return [draw.randrange(256) if kind == "bytes" else draw.randrange(-128, 128) for _ in range(count)]


@pytest.mark.parametrize(
    ("kind", "count"),
    [("decimals", 48), ("decimals", 60), ("decimals", 128), ("bytes", 128), ("signed", 64), ("bytes", 512)],
)
def test_a_vector_goes_in_every_shape(kind: str, count: int) -> None:
    values = noise(count, kind)
    shapes: list[Any] = [
        {str(n): v for n, v in enumerate(values)},
        {f"f{n}": v for n, v in enumerate(values)},
        [str(v) for v in values],
    ]
    shapes += [joint.join(map(str, values)) for joint in (",", ", ", " ", ";", "|", "\n")]
    for shape in [*shapes, values] if kind == "decimals" else shapes:
        cleaned = gone(
            orjson.dumps({"id": "E1", "v": shape, "after": [1]}), *([str(values[-1])] if kind == "decimals" else [])
        )
        assert cleaned.tree == {"id": "E1", "v": MARK, "after": [1]}, shape
        assert [r.reason for r in cleaned.removed] in (["embedding"], ["blob"])
    text = ",".join(map(str, values))
    assert gone(f"<a><v>{text}</v></a>".encode()).body == f"<a><v>{MARK}</v></a>".encode()
    assert gone(f"id=1\r\nv={text}\r\nend=1\r\n".encode()).body == f"id=1\r\nv={MARK}\r\nend=1\r\n".encode()
    for shape in (values, {str(n): v for n, v in enumerate(values)}) if kind == "decimals" else ():
        inner = json.dumps({"v": shape})
        gone(orjson.dumps({"told": inner}), str(values[5]))
        gone(orjson.dumps({"told": json.dumps({"x": inner})}), str(values[5]))
        gone(inner[:-2].encode(), str(values[5]))
    few = {str(n): v for n, v in enumerate(values[:16])}
    assert gone(orjson.dumps({"faceFeature": few})).tree == {"faceFeature": MARK}


HONEST = {
    "serials": ",".join(str(n) for n in range(1000, 1200)),
    "moments": " ".join(str(1795132802 + n * 7) for n in range(90)),
    "quarters": ",".join("01"[n % 3 == 0] for n in range(96)),
    "bell": ",".join(f"{h:02d}{m:02d}" for _ in range(7) for h in range(6, 16) for m in (0, 45)),
    "halves": [n % 2 for n in range(48)],
    "counters": {f"door{n}": n for n in range(60)},
    "marks": [8.5, 9, 10, 7.25] * 8,
    "currentVerifyMode": "face/card", "mode": "faceOrFpOrCardOrPw", "method": "face", "kind": "image/jpeg", "ending": ".jpg", "dateTime": "07:00+07:00",
    "link": "http://192.0.2.31/doc", "pickup": "http://school.example/pickup/3", "person": "K6/A1/00123", "room": "Lớp 12/3", "surface": "/interface/typeface",
    "firmware": "V1.2.3_build 20.11.2026", "ip": "192.0.2.31", "address": "Số 12/45, đường Lạch Tray", "picturesNumber": 1, "similarity1": "94.000000",
}  # fmt: skip


def test_what_a_device_honestly_says_is_the_very_same_bytes() -> None:
    for body in (
        json.dumps(HONEST, ensure_ascii=False).encode(), json.dumps(HONEST).encode(), json.dumps(HONEST, ensure_ascii=False)[:-1].encode(),
        b"HS000123\t2026-11-20 07:00:02\t0\t15\t0\t0\t0\n" * 100, b"17\t2026-11-20 07:00:02\t0\t15\n" * 60, b"ID=1&Return=0&CMD=DATA\n",
        b'<E xmlns="http://www.isapi.org/ver20/XMLSchema"><face/><picture></picture><ns:img/><link>http://h/doc</link></E>',
        b"found=2\r\n" + b"".join(b"records[%d].RecNo=%d\r\nrecords[%d].Status=1\r\n" % (n, n, n) for n in range(80)),
    ):  # fmt: skip
        cleaned = clean_device(body, hasher)
        assert cleaned.removed == [] and cleaned.body is body, cleaned.removed


PIECES = st.sampled_from(
    ["http://", "/face", "/", "\\", ".jpg", "%2F", "=", "&", "?", " ", ",", ";", '"', "<", ">", "</", "pic", "Snap", "7", "a", "{", "}", ":", "\\u002f",
     "\n", MARK]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=14).map("".join), st.sampled_from(["text", "json", "member"]))
def test_whatever_is_pieced_together_is_clean_after_once(text: str, how: str) -> None:
    body = text.encode() if how == "text" else orjson.dumps({"a": text, "b": 1} if how == "json" else {text: 1, "b": 1})
    cleaned = clean_device(body, hasher)
    assert how == "text" or cleaned.tree["b"] == 1, "nothing else is lost for it"
    again = clean_device(cleaned.body, hasher)
    assert again.body == cleaned.body and not again.removed


@pytest.mark.parametrize(
    "hostile",
    [
        b"a.jpg," * 80_000, b"/a" * 250_000 + b"/face", b"://" * 150_000 + b"face", b"\\u002f" * 80_000 + b"face", b"\\" * 500_000 + b"face",
        b"</face" * 80_000, (b"1 " * 46 + b"x") * 5_000, b"1 " * 250_000, b"." * 500_000 + b"a.jpg", b"=" * 500_000 + b"pic/", (b"0.1 " * 46 + b"x ") * 3_000,
        b'["' + b'","'.join(b"/face/%d" % n for n in range(30_000)) + b'"]', b'{"a":"' + b"%2F" * 150_000 + b'face"}', b" " * 500_000 + b"face/",
    ],
    ids=lambda b: repr(b[:8]),
)  # fmt: skip
def test_hostile_bodies_take_linear_time(hostile: bytes) -> None:
    started = time.process_time()
    clean_device(hostile, hasher)
    assert time.process_time() - started < 4


@pytest.mark.parametrize("before", [b"", b"\xff\xfe\x41\xd8", b"\xfe\xff\xd8\x41", b"\0", b"x"])
@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_wide_text_that_nothing_says_so_of_holds_no_picture(before: bytes, order: str) -> None:
    picture = base64.b64encode(b"\xff\xd8\xff\xe0\0\x10JFIF" + hashlib.shake_128(b"x").digest(6_000)).decode()
    letters = "".join(chr(0x4E21 + 256 * (n % 60) + n % 90) for n in range(60_000))
    for body in (letters + " " + picture, picture, picture + letters):
        cleaned = gone(before + body.encode(order))
        assert picture[500:600].encode(order) not in cleaned.body and picture[500:600].encode() not in cleaned.body


def test_what_a_cut_leaves_of_broken_json_is_looked_at_as_json() -> None:
    vector = ",".join(f"0.{n:03d}" for n in range(20))
    gone(b'{"photo":"\xff\xd8\xff\xe0' + b"\x01" * 40 + f'"v":[{vector}]"}}'.encode())
