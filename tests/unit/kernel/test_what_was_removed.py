"""What the firewall notes of what it took out: hash, size, reason and what it was sent for; of old entries too."""

from __future__ import annotations

import msgspec
import pytest

from hub.kernel.firewall import clean
from hub.kernel.ports import Removed

IMAGE = "data:image/jpeg;base64," + "/9j/4AAQSkZJRgABAQ" * 40


@pytest.mark.parametrize(
    ("pointer", "purpose"),
    [
        ("/info/pic", "snapshot"), ("/info/SanpPic", "snapshot"), ("/list/3/scene", "snapshot"), ("/faces/0/2", "unknown"),
        ("/registerPic", "enrolment"), ("/data/avatar", "enrolment"), ("/user/anh_the", "enrolment"),
        ("/face/feature/0", "template"), ("/BIODATA", "template"), ("/image", "unknown"), ("", "unknown"), ("@512", "unknown"),
    ],
)  # fmt: skip
def test_the_purpose_is_told_by_the_field(pointer: str, purpose: str) -> None:
    assert Removed(pointer, "ab", 10, "image").purpose == purpose


def test_what_is_taken_out_is_noted_with_its_purpose() -> None:
    body = msgspec.json.encode({"info": {"pic": IMAGE, "customId": "HS1"}, "registerPic": IMAGE})
    removed = clean(body, lambda _: "ab").removed
    assert {(r.pointer, r.purpose) for r in removed} == {("/info/pic", "snapshot"), ("/registerPic", "enrolment")}
    assert {"pointer", "digest", "bytes", "reason", "purpose"} == set(msgspec.to_builtins(removed[0]))


def test_entries_of_before_are_read_as_ever() -> None:
    old = b'{"pointer": "/info/pic", "digest": "ab", "bytes": 10, "reason": "image"}'
    assert msgspec.json.decode(old, type=Removed) == Removed("/info/pic", "ab", 10, "image", "snapshot")
