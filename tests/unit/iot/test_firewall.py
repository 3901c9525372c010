"""The biometric firewall: no mark of an image survives anywhere, and ordinary content is never touched."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import struct
import time
import zlib

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.kernel.firewall import MARK, clean
from hub.kernel.firewall_devices import clean_device
from hub.kernel.firewall_names import holds_image, shown


def hasher(data: bytes) -> str:
    return hmac.digest(b"test key", data, "sha256").hex()


def jpeg(mark: str, size: int = 1500) -> bytes:
    """Image-like bytes whose mark appears in the clear throughout, so that a surviving part is seen."""
    noise = random.Random(mark).randbytes(size)
    body = b"".join(mark.encode() + noise[i : i + 40] for i in range(0, size, 40))
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + body + b"\xff\xd9"


def true_jpeg(mark: str) -> bytes:
    """Segments that add up, so that the end of the image can be found."""
    comment = mark.encode() * 8
    scan = (mark.encode() * 20).replace(b"\xff", b"")
    return (
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
        + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
        + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + scan + b"\xff\x00\xff\xd0" + scan + b"\xff\xd9"
    )  # fmt: skip


def png(mark: str) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"\0" * 13) + chunk(b"tEXt", mark.encode() * 30) + chunk(b"IEND", b"")


def traces(mark: str, image: bytes) -> list[bytes]:
    """Fragments of every encoding of the image; none may be found in a cleaned body."""
    middle = len(image) // 2
    found = [mark.encode()]
    for offset in range(3):
        part = image[middle + offset : middle + offset + 36]
        for code in (base64.b64encode, base64.urlsafe_b64encode):
            found.append(code(part)[4:40])
    found.append(image[middle : middle + 20].hex().encode())
    return found


MARKS = [f"<MARK-{i:03d}>" for i in range(40)]


def b64(mark: str) -> str:
    return base64.b64encode(jpeg(mark)).decode()


def wrap(text: str, width: int, newline: str) -> str:
    return newline.join(text[i : i + width] for i in range(0, len(text), width))


def json_bodies() -> dict[str, tuple[str, bytes]]:
    """Name → (mark, body): images in many places and encodings."""
    m = iter(MARKS)
    cases: dict[str, tuple[str, bytes]] = {}

    def add(name: str, make) -> None:
        mark = next(m)
        body = make(mark)
        cases[name] = (mark, body if isinstance(body, bytes) else orjson.dumps(body))

    add("data uri in pic", lambda k: {"info": {"pic": "data:image/jpeg;base64," + b64(k), "RecordID": 7}})
    add("plain base64 in an unknown field", lambda k: {"blob": b64(k)})
    add("misspelt SanpPic", lambda k: {"SanpPic": b64(k)})
    add("url-safe base64", lambda k: {"x": base64.urlsafe_b64encode(jpeg(k)).decode()})
    add("base64 in lines", lambda k: {"x": wrap(b64(k), 76, "\r\n")})
    add("escaped slashes", lambda k: orjson.dumps({"x": b64(k)}).replace(b"/", b"\\/"))
    add("unicode escapes", lambda k: ('{"x":"' + "".join(f"\\u{ord(c):04x}" for c in b64(k)) + '"}').encode())
    add("escaped field name", lambda k: ('{"\\u0070ic":"http://10.0.0.9/' + k.strip("<>") + '.jpg"}').encode())
    add("json in a string", lambda k: {"payload": json.dumps({"a": [{"face": {"data": b64(k)}}]})})
    add(
        "json in json in a string",
        lambda k: {"p": json.dumps({"q": json.dumps({"scene": "data:image/png;base64," + b64(k)})})},
    )
    add("list of lines", lambda k: {"x": [b64(k)[i : i + 64] for i in range(0, 1600, 64)]})
    add("list in a photo field", lambda k: {"photos": [b64(k)[:300], b64(k)[300:600], b64(k)[600:620]]})
    add("inside a sentence", lambda k: {"note": "Ảnh của em: data:image/jpeg;base64," + b64(k) + " hết"})
    add("hex", lambda k: {"x": jpeg(k).hex()})
    add("hex dump", lambda k: {"x": jpeg(k).hex(" ")})
    add("key of an object", lambda k: {b64(k): 1})
    add("percent encoded", lambda k: {"x": b64(k).replace("/", "%2F").replace("+", "%2B")})
    add("ascii85", lambda k: {"x": base64.b85encode(jpeg(k)).decode()})
    add("image link with password", lambda k: {"pictureURL": f"http://admin:{k}@10.0.0.2/p.jpg"})
    add("first of two equal keys", lambda k: b'{"pic":"data:image/jpeg;base64,' + b64(k).encode() + b'","pic":""}')
    add("first of two equal keys, a link", lambda k: f'{{"pic" : "http://x/{k}","pic":"no"}}'.encode())
    add("cut short", lambda k: b'{"info":{"pic":"data:image/jpeg;base64,' + b64(k).encode())
    add(
        "cut short, escaped",
        lambda k: b'{"info":"{\\"pic\\":\\"data:image\\/jpeg;base64,' + b64(k).replace("/", "\\/").encode(),
    )
    add("single quotes", lambda k: ("{'pic': '" + b64(k) + "'}").encode())
    add("broken json with a link", lambda k: f'{{"picURI": "http://10.1.1.1/{k}.jpg", oops'.encode())
    add("ndjson", lambda k: b'{"a":1}\n{"faceImage":"' + b64(k).encode() + b'"}\n{"b":2}\n')
    add("xml", lambda k: f"<?xml version='1.0'?><a><ns:picture kind='x'>{b64(k)}</ns:picture></a>".encode())
    add("xml link", lambda k: f"<E><pictureURL>http://u:p@h/{k.strip('<>')}</pictureURL></E>".encode())
    add("form", lambda k: f"id=7&pic=http://10.0.0.1/{k.strip('<>')}.jpg&x=1".encode())
    add("utf-16", lambda k: json.dumps({"pic": b64(k)}).encode("utf-16"))
    add("utf-16 without a mark of order", lambda k: json.dumps({"pic": b64(k)}).encode("utf-16-le"))
    add("csv", lambda k: f"id;ten;anh\n1;Nguyễn Văn An;{b64(k)}\n".encode())
    add("multipart", lambda k: b'--B\r\nContent-Disposition: form-data; name="event_log"\r\n\r\n{"a":1}\r\n--B\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + jpeg(k) + b"\r\n--B--\r\n")  # fmt: skip
    add("jpeg after json", lambda k: b'{"a":1}' + true_jpeg(k) + b"tail")
    add("png", lambda k: b"head" + png(k) + b"tail")
    add("nothing but bytes", lambda k: zlib.compress(b"x") + bytes(range(32)) * 4 + jpeg(k)[3:])
    add("deeply nested", lambda k: b'{"a":' * 200 + b'{"pic":"' + b64(k).encode() + b'"}' + b"}" * 200)
    return cases


CASES = json_bodies()


@pytest.mark.parametrize("name", CASES)
def test_no_mark_survives(name: str) -> None:
    mark, body = CASES[name]
    cleaned = clean(body, hasher)
    assert cleaned.removed, "nothing was reported as removed"
    image = png(mark) if name == "png" else jpeg(mark)
    for trace in [*traces(mark, image), *traces(mark.strip("<>"), image)]:
        assert trace not in cleaned.body
        assert trace not in repr(cleaned.removed).encode()
    if cleaned.is_json:
        assert orjson.loads(cleaned.body) == cleaned.tree
    again = clean(cleaned.body, hasher)
    assert again.body == cleaned.body and not again.removed, "cleaning twice changes something"


def test_what_surrounds_an_image_stays() -> None:
    assert clean(CASES["data uri in pic"][1], hasher).tree == {"info": {"pic": MARK, "RecordID": 7}}
    assert clean(CASES["ndjson"][1], hasher).body.splitlines()[::2] == [b'{"a":1}', b'{"b":2}']
    multipart = clean(CASES["multipart"][1], hasher).body
    assert b'{"a":1}' in multipart and multipart.endswith(b"\r\n--B--\r\n")
    assert clean(CASES["jpeg after json"][1], hasher).body == b'{"a":1}' + MARK.encode() + b"tail"
    assert clean(CASES["png"][1], hasher).body == b"head" + MARK.encode() + b"tail"
    assert clean(CASES["csv"][1], hasher).body.startswith("id;ten;anh\n1;Nguyễn Văn An;".encode())
    note = clean(CASES["inside a sentence"][1], hasher).tree["note"]
    assert note.startswith("Ảnh của em: ") and note.endswith(" hết")


def test_removed_says_where_how_much_and_a_keyed_hash() -> None:
    value = "data:image/jpeg;base64," + b64("M")
    (removed,) = clean(orjson.dumps({"info": {"pic": value}}), hasher).removed
    assert (removed.pointer, removed.bytes, removed.reason) == ("/info/pic", len(value), "field")
    assert removed.digest == hasher(value.encode()) != hashlib.sha256(value.encode()).hexdigest()


@pytest.mark.parametrize(
    "embedding",
    [
        {"x": [0.125 * i for i in range(128)]},
        {"x": [[0.5] * 16] * 16},
        {"faceFeature": [i % 256 for i in range(20)]},
        {"x": ",".join(f"{i / 7:.6f}" for i in range(128))},
        {"feature": "A" * 80},
    ],
)
def test_embeddings_go(embedding: dict) -> None:
    cleaned = clean(orjson.dumps(embedding), hasher)
    assert len(cleaned.removed) == 1 and cleaned.tree == dict.fromkeys(embedding, MARK)


LEGITIMATE = {
    "note": "Em Nguyễn Thị Ánh Nguyệt nghỉ học có phép; phụ huynh đã gọi điện lúc 6 giờ 45 phút. " * 200,
    "full_name": "Nguyễn Hoàng Bảo Trâm Anh",
    "method": "face",
    "face": "yes",
    "template": "mau-so-12-don-xin-chuyen-truong",
    "attachments": [
        {
            "name": "anh-the.jpg",
            "url": "https://dichvucong.example/files/2026/11/" + "a1B2c3D4e5/" * 40 + "anh.jpg?sig=" + "f" * 64,
        },
        {
            "name": "đơn.pdf",
            "content": "JVBERi0xLjcK" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVld4eXphYmNkZWZnaGlqa2xtbm9w" * 20,
        },
    ],
    "sha512": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" * 2,
    "ids": ["550e8400-e29b-41d4-a716-446655440000"] * 30,
    "codes": [f"{i:05d}" for i in range(500)],
    "scores": [8.5, 9, 10, 7.25] * 8,
    "line": "-" * 400 + "=" * 300,
    "address": "Số 12, đường Lạch Tray, phường Gia Viên, thành phố Hải Phòng",
    "picturesNumber": 2,
    "phones": "0912345678, " * 80,
    "big": 12345678901234567890,
    "signature": base64.b64encode(random.Random(4).randbytes(256)).decode(),
    "certificate": "MIIDdzCCAl+gAwIBAgIE" + base64.b64encode(random.Random(5).randbytes(900)).decode(),
}


def test_ordinary_content_is_the_very_same_bytes() -> None:
    body = json.dumps(LEGITIMATE, ensure_ascii=False, indent=1).encode()
    cleaned = clean(body, hasher)
    assert cleaned.removed == [] and cleaned.body is body and cleaned.tree == LEGITIMATE
    broken = body[:-1]
    assert clean(broken, hasher).body == broken, "broken JSON is stored as it came"


def test_a_document_is_no_message() -> None:
    for document in (b"PK\x03\x04" + jpeg("doc"), b"%PDF-1.7\n" + jpeg("doc")):
        cleaned = clean(document, hasher)
        assert cleaned.body == MARK.encode() and [r.reason for r in cleaned.removed] == ["document"]


@pytest.mark.parametrize("escape", [b"/", b"\\/", b"\\u002f"])
def test_a_device_has_no_document_to_send(escape: bytes) -> None:
    inside = base64.b64encode(b"%PDF-1.7\n" + jpeg("doc")).replace(b"/", escape)
    body = b'{"id":"E1","order":"' + inside + b'","after":1}'
    assert inside in clean(body, hasher).body, "it may be signed"
    cleaned = clean_device(body, hasher)
    assert cleaned.tree == {"id": "E1", "order": MARK, "after": 1} and orjson.loads(cleaned.body) == cleaned.tree
    assert [r.reason for r in cleaned.removed] == ["document"]


def test_names_and_sentences() -> None:
    assert shown("campus/v1/31HP0000001/G1/evt") == "campus/v1/31HP0000001/G1/evt"
    assert len(shown(b64("<MARK-X>"))) < 40
    assert holds_image(b64("<MARK-X>")[:250]) and not holds_image("Kiểm tra danh sách đầu năm học của trường")


def test_xml_and_csv_without_images_stay() -> None:
    signature = base64.b64encode(random.Random(4).randbytes(256)).decode()
    for body in (
        f"<ds:Signature><ds:SignatureValue>\n{signature}\n</ds:SignatureValue></ds:Signature>".encode(),
        "<Envelope><Body><HoVaTen>Nguyễn Văn An</HoVaTen><GhiChu>Xin chào</GhiChu></Body></Envelope>".encode(),
        ("ma;ten;ngaysinh\n" + "HS0001;Trần Thị Bé;2015-02-03\n" * 500).encode(),
        "HS0001;Trần Thị Bé\n".encode("utf-16"),
    ):
        assert clean(body, hasher).body == body


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    cleaned = clean(data, hasher)
    assert clean(cleaned.body, hasher).body == cleaned.body


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=60),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["pic", "a", "face", "note"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(TREES, st.sampled_from(["pic", "scene", "photo", "image", "x", "data"]))
def test_an_image_anywhere_in_any_tree(tree: object, field: str) -> None:
    image = base64.b64encode(jpeg("<TREE>", 400)).decode()
    cleaned = clean(json.dumps({"before": tree, "in": [{field: image}], "after": tree}).encode(), hasher)
    assert image[100:140].encode() not in cleaned.body and cleaned.is_json


@pytest.mark.parametrize(
    "hostile",
    [
        b"[" * 1_000_000,
        b"\\" * 1_000_000,
        b'{"a":"' + b"\\" * 500_000,
        b"1" * 900_000 + b" .1234" * 70,
        (b"A" * 150 + b"\\x") * 6000,
        b"a=" * 400_000,
        (b"x" * 511 + b" ") * 1900,
        b"<a" * 400_000,
        b"data:" * 200_000,
        b"\xff\xd8\xff" * 300_000,
        b"[1," * 300_000,
        b"{" + b"\n{" * 300_000,
    ],
    ids=lambda b: repr(b[:8]),
)
def test_hostile_bodies_take_linear_time(hostile: bytes) -> None:
    started = time.process_time()
    clean(hostile, hasher)
    assert time.process_time() - started < 4


def test_cost() -> None:
    """Bounds several times the measured cost (4 µs and 0.9–2.6 ms), so that only a change of kind fails."""
    small = orjson.dumps(
        {"person": "HS0001", "time": 1763771532000, "method": "face", "direction": "in", "pad": ["x" * 20] * 8}
    )
    large = orjson.dumps(
        {"info": {"pic": "data:image/jpeg;base64," + base64.b64encode(random.Random(1).randbytes(750_000)).decode()}}
    )
    for body, rounds, limit in ((small, 2000, 40e-6), (large, 5, 20e-3)):
        best = float("inf")
        for _ in range(rounds):
            started = time.perf_counter()
            clean(body, hasher)
            best = min(best, time.perf_counter() - started)
        assert best < limit
