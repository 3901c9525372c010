"""Contracts as code: compiles a plain JSON Schema into a msgspec type, so that a simulator checks strictly and fast.

One concern: objects, arrays and scalars of a counterparty's record contract. It must never be used to relax one: a
keyword it does not know is an error, not a permission.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

_SCALARS: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}
_LIMITS = {
    "pattern": "pattern",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minimum": "ge",
    "maximum": "le",
    "minItems": "min_length",
    "maxItems": "max_length",
}
_SILENT = {"$schema", "$comment", "title", "description", "examples", "$defs"}
_STRUCTURE = {"type", "enum", "properties", "required", "additionalProperties", "items"}


def compiled(schema: Mapping[str, Any], name: str = "Record") -> Any:
    """A type for `msgspec.convert`; property names must be identifiers. Raises ValueError for unknown keywords."""
    unknown = set(schema) - _SILENT - _STRUCTURE - set(_LIMITS)
    if unknown:
        raise ValueError(f"{name}: keywords not understood: {', '.join(sorted(unknown))}")
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    solid = [kind for kind in kinds if kind != "null"]
    if len(solid) != 1:
        raise ValueError(f"{name}: exactly one type besides null is understood")
    made: Any
    if solid[0] == "object":
        required = set(schema.get("required", ()))
        fields = [
            (key, compiled(sub, f"{name}_{key}"), *(() if key in required else (msgspec.UNSET,)))
            for key, sub in schema.get("properties", {}).items()
        ]
        fields = [f if len(f) == 2 else (f[0], f[1] | msgspec.UnsetType, f[2]) for f in fields]
        strict = schema.get("additionalProperties", True) is False
        made = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=strict)
    elif solid[0] == "array":
        made = list[compiled(schema["items"], f"{name}_item")]  # type: ignore[misc]
    else:
        made = _SCALARS[solid[0]]
    limits = {_LIMITS[key]: value for key, value in schema.items() if key in _LIMITS}
    if limits:
        made = Annotated[made, msgspec.Meta(**limits)]
    return made | None if "null" in kinds else made


def types_of(path: Path) -> dict[str, Any]:
    """A type for each definition (`$defs`) of a contract file, by its name. Raises OSError, ValueError."""
    return {name: compiled(schema, name) for name, schema in msgspec.json.decode(path.read_bytes())["$defs"].items()}
