"""Reading what devices send although firmware disagrees on types and spelling.

One concern: tolerant access to parsed JSON, and the pieces every family's decoder shares. Pure; nothing here raises
for any value a JSON parser can give."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from hub.kernel.ports import Decoded, Reject, Text

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_IDENTIFIER = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z._/:-]{0,58}[0-9A-Za-z])?")
_DEVICE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._@-]{0,63}")


def lowered(value: Any) -> dict[str, Any]:
    """An object with its names in lower case; empty for anything else. Of names that differ only in case the last
    stays."""
    return {str(k).lower(): v for k, v in value.items()} if isinstance(value, dict) else {}


def pick(info: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The first of `names` (lower case) that is there and not null."""
    for name in names:
        value = info.get(name)
        if value is not None:
            return value
    return None


def text(value: Any, limit: int = 60) -> str:
    """A string, number or boolean as one printable line of at most `limit` characters; empty for anything else."""
    kind = type(value)
    if kind is str:
        if len(value) <= limit and value.isprintable():
            return str(value.strip())
        return _CONTROL.sub(" ", value[: limit + 16]).strip()[:limit]
    if kind is int or kind is float:
        return str(value)[:limit]
    return ""


def number(value: Any) -> float | None:
    """A number, also one sent as a string; None for anything else, NaN and infinities included."""
    if type(value) is str:
        try:
            value = float(value[:40])
        except ValueError:
            return None
    if type(value) is int or type(value) is float:
        return float(value) if -1e15 < value < 1e15 else None
    return None


def is_identifier(value: str) -> bool:
    """Whether a person's code has the shape the canonical model allows."""
    return _IDENTIFIER.fullmatch(value) is not None


def is_device_id(value: str) -> bool:
    """Whether a device id can safely be one level of a topic."""
    return _DEVICE.fullmatch(value) is not None


def digest(*parts: str) -> str:
    """The identity of an event at its device as 32 hex digits."""
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:32]


def refuse(code: str, vi: str, en: str, pointer: str = "", key: str | None = None) -> Decoded:
    """A publication that cannot be understood."""
    return Decoded(invalid=Reject(pointer=pointer, code=code, message=Text(vi, en), key=key))


def unknown_device(device: str) -> Decoded:
    """A publication of a device nobody registered: kept as invalid, never acknowledged to the device."""
    return refuse(
        "unknown_device",
        f"Thiết bị “{device[:64]}” chưa được đăng ký với trục liên thông.",
        f"Device “{device[:64]}” is not registered with the hub.",
        key=device[:64],
    )


def mismatch(pointer: str, claimed: str, actual: str) -> Decoded:
    """A publication that names another device or school than its topic does: kept as invalid, never acknowledged."""
    return refuse(
        "device_mismatch",
        f"Bản tin tự nhận là “{claimed[:64]}” nhưng đến trên chủ đề của “{actual[:64]}”.",
        f"The message claims “{claimed[:64]}” but came on the topic of “{actual[:64]}”.",
        pointer,
        actual[:64],
    )


def homeless(device: str) -> Decoded:
    """A registered gate without a school: its events would belong to nobody."""
    return refuse(
        "no_school",
        f"Thiết bị “{device[:64]}” chưa được gán cho trường nào.",
        f"Device “{device[:64]}” is not assigned to a school.",
        key=device[:64],
    )
