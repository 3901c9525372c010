"""JSON Schema of the items schools send, generated from the models.

One concern: generation. The models are the source; the files under `schemas/` are made from them and never edited.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import msgspec

from hub.kernel.ports import Text
from mappings.canonical.messages import TITLES
from mappings.canonical.models import Moment
from mappings.canonical.registry import TYPES

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@cache
def envelope(type_: str, *, cancel: bool = False) -> type[msgspec.Struct]:
    """The item structure of a type: `{event?, updated_at?, data}`. With `cancel`, `data` needs only the key fields."""
    spec = TYPES[type_]
    data = relaxed(type_) if cancel else spec.struct
    return msgspec.defstruct(
        f"{spec.struct.__name__}{'Cancel' if cancel else ''}Item",
        [
            ("data", data),
            ("event", Literal["CANCEL"]) if cancel else ("event", Literal["NEW", "UPDATE", "CANCEL"] | None, None),
            ("updated_at", Moment | None, None),
        ],
        kw_only=True,
        forbid_unknown_fields=True,
        module=__name__,
    )


@cache
def relaxed(type_: str) -> type[msgspec.Struct]:
    """The model of a type with every field but the key fields left free to be absent."""
    spec = TYPES[type_]
    fields: list[Any] = []
    hints = msgspec.structs.fields(spec.struct)
    for info in hints:
        if info.name in spec.key_fields:
            fields.append((info.name, info.type))
        else:
            fields.append((info.name, info.type | msgspec.UnsetType | None, msgspec.UNSET))
    return msgspec.defstruct(
        f"{spec.struct.__name__}Cancel", fields, kw_only=True, forbid_unknown_fields=True, module=__name__
    )


@cache
def item_schema(type_: str, *, cancel: bool = False) -> dict[str, Any]:
    """JSON Schema (2020-12) of one item of a type, with titles in both languages."""
    (root,), components = msgspec.json.schema_components(
        (envelope(type_, cancel=cancel),), ref_template="#/$defs/{name}"
    )
    for definition in components.values():
        for name, member in definition.get("properties", {}).items():
            text = TITLES.get(name)
            if text and "$ref" not in member:
                member["title"] = _both(text)
    return {
        "$schema": DIALECT,
        "$id": f"urn:lien-thong:item:{type_}",
        **root,
        "$defs": dict(sorted(components.items())),
    }


def _both(text: Text) -> str:
    return f"{text.vi} / {text.en}"
