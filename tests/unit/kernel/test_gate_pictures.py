"""What counts as a picture that may be kept, and that the onlooker changes nothing."""

from __future__ import annotations

import base64
import hmac
import json

import pytest

from hub.kernel.firewall_devices import clean_device
from hub.kernel.gate_pictures import LARGEST, Onlooker, Picture, picture_of

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 4 + b"\xff\xd9"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 2


def hasher(data: bytes) -> str:
    return hmac.digest(b"test key", data, "sha256").hex()


@pytest.mark.parametrize(
    "piece",
    [
        JPEG,
        base64.b64encode(JPEG),
        base64.urlsafe_b64encode(JPEG),
        base64.b64encode(JPEG).rstrip(b"="),
        base64.encodebytes(JPEG),
        base64.b64encode(JPEG).replace(b"/", b"\\/"),
        b"data:image/jpeg;base64," + base64.b64encode(JPEG),
        b"data:;name=x;charset=utf-8;base64," + base64.b64encode(JPEG),
    ],
)
def test_a_picture_is_known_in_every_dress(piece: bytes) -> None:
    assert picture_of(piece) == Picture("image/jpeg", JPEG)


@pytest.mark.parametrize(
    "piece",
    [
        b"", b"x" * 500, b"\xff\xd8\xff" + b"x" * 20, b"\xff\xd8\xff" + b"x" * LARGEST, b"http://10.0.0.9/pic.jpg?" + b"a" * 300,
        json.dumps([0.25] * 128).encode(), base64.b64encode(bytes(range(256)) * 3), b"%PDF-1.7\n" + JPEG, b"=" * 400, b"A" * 401,
        b"<svg onload=alert(1)>" + b" " * 300, b"GIF89a" + b"x" * 400,
    ],
)  # fmt: skip
def test_nothing_else_is(piece: bytes) -> None:
    assert picture_of(piece) is None


def test_the_onlooker_sees_the_smallest_and_changes_nothing() -> None:
    scene = JPEG + b"s" * 5000
    body = json.dumps(
        {"info": {"pic": base64.b64encode(JPEG).decode(), "scene": "data:image/jpeg;base64," + base64.b64encode(scene).decode(),
                  "embedding": [0.5] * 128, "RecordID": 7}}
    ).encode()  # fmt: skip
    onlooker = Onlooker(hasher)
    seen, plain = clean_device(body, onlooker), clean_device(body, hasher)
    assert (seen.body, seen.removed) == (plain.body, plain.removed)
    assert onlooker.picture == Picture("image/jpeg", JPEG)
    assert "JFIF" not in repr(onlooker.picture)
    onlooker = Onlooker(hasher)
    clean_device(PNG, onlooker)
    assert onlooker.picture is not None and onlooker.picture.kind == "image/png"
