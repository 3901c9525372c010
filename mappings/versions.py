"""What a mapping is made of, under one name: a field map, the tables its codes go through, and the entries approved over them.

One concern: the same bytes for the same mapping, so that its name proves them. The form is the evidence verifier's as well
(`hub/evidence/verify.py`). It must never read a file or a clock.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from msgspec import Struct

from mappings.catalogue import Approval, Catalogue
from mappings.fieldmap import FieldMap

DOCUMENT = "mapping.json"


class Version(Struct, frozen=True):
    """`name`: the map's, `@`, and the SHA-256 (hex) of its document. `parts`: the document, and all it names, by SHA-256."""

    name: str
    parts: dict[bytes, bytes]


def version_of(field_map: FieldMap, catalogue: Catalogue) -> Version:
    """The version a record is mapped by with this map and this catalogue. Its document says what the map is called, what was
    allowed to travel, and the SHA-256 of each file: the map's, the table files its codes may be looked up in, and the approved
    entries that may count: of one code from one day there is one, so their order decides nothing."""
    systems, walks = catalogue.ways_into(field_map.turns_into())
    tables = [table.files for name, table in catalogue.systems.items() if name in systems]
    tables += [table.files for name, table in catalogue.crosswalks.items() if name in walks]
    approved = sorted(_entry(a) for a in catalogue.overlay if a.target_system in systems)
    files = {name: catalogue.files.contents[name] for names in tables for name in names}
    files |= {"fields.yaml": field_map.raw, "approvals.json": b"[%b]" % b",".join(approved)}
    hashes = {name: hashlib.sha256(data).digest() for name, data in files.items()}
    told = {
        "map": field_map.name,
        "allowed": sorted(field_map.allowed),
        "files": {n: h.hex() for n, h in hashes.items()},
    }
    document = _written(told)
    digest = hashlib.sha256(document).digest()
    return Version(f"{field_map.name}@{digest.hex()}", {digest: document} | {hashes[n]: files[n] for n in files})


def named_in(document: bytes) -> dict[str, bytes]:
    """The SHA-256 of each file a version consists of, by name."""
    return {name: bytes.fromhex(said) for name, said in json.loads(document)["files"].items()}


def _entry(approval: Approval) -> bytes:
    """What an approved entry says; who approved it the journal says."""
    since = approval.effective_from.isoformat() if approval.effective_from else None
    return _written(
        {
            "system": approval.source_system,
            "code": approval.code,
            "target": approval.target_system,
            "canonical": approval.canonical,
        }
        | {"effective_from": since}
    )


def _written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
