"""How the simulated database reads a question: SOAP or JSON as one element that one contract judges, then plain values.

One concern: a question's bytes to values. It must never be used by the adapter.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson
import yaml
from lxml import etree

from adapters.population import envelope

_Q = f"{{{envelope.REQUEST_NS}}}"
_NESTED = {"NgayThangNam": "NgayThangNamSinh", "Nam": "NgayThangNamSinh"}

Values = dict[str, Any]


def plain(element: etree._Element) -> Any:
    """An element's content: text, or its children by name, repeated ones of relatives as a list."""
    if not len(element):
        return (element.text or "").strip()
    told: Values = {}
    for child in element:
        name = str(child.tag).removeprefix(_Q)
        if name == "NguoiThan":
            told.setdefault(name, []).append(plain(child))
        else:
            told[name] = plain(child)
    return told


def rebuilt(path: str, body: bytes) -> etree._Element:
    """A JSON question as the element it stands for, so that one contract judges both. Raises `envelope.Unreadable`."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise envelope.Unreadable("not JSON") from None
    operation = operation_at(path)
    if not isinstance(told, dict) or operation is None:
        raise envelope.Unreadable("not a JSON object, or no such path")
    return _element(operation, told)


def _element(name: str, told: Any) -> etree._Element:
    try:
        made = etree.Element(f"{_Q}{name}")
        for key, value in told.items() if isinstance(told, dict) else ():
            child = str(key)[:1].upper() + str(key)[1:]
            holder = made
            if (outer := _NESTED.get(child)) is not None:
                holder = etree.SubElement(made, f"{_Q}{outer}")
            for one in value if isinstance(value, list) else [value]:
                holder.append(_element(child, one))
        if not isinstance(told, dict):
            made.text = str(told)
    except (ValueError, RecursionError) as error:
        raise envelope.Unreadable(str(error)) from None
    return made


@lru_cache(maxsize=64)
def operation_at(path: str) -> str | None:
    """The operation a REST path stands for, as the REST profile has them."""
    profile = yaml.safe_load((envelope.CONTRACT.parent / "profile-c06-rest.yaml").read_text("utf-8"))
    return next((operation for operation, ending in profile["paths"].items() if path.endswith(ending)), None)
