"""The mapping engine's front door: everything the kernel, the console and the adapters' tests need of it.

One concern: naming the public parts. It holds no code of its own.
"""

from mappings.canonical.parse import parse_item
from mappings.canonical.registry import TYPES, TypeSpec
from mappings.catalogue import Approval, Catalogue, Gap, Resolution, Suggestion, base
from mappings.fieldmap import FieldMap, FieldMapError, Unmapped, load_field_maps, today_of
from mappings.tables import CodeRow, CodeSystem, Crosswalk, MapEntry, TableError

__all__ = [
    "TYPES",
    "Approval",
    "Catalogue",
    "CodeRow",
    "CodeSystem",
    "Crosswalk",
    "FieldMap",
    "FieldMapError",
    "Gap",
    "MapEntry",
    "Resolution",
    "Suggestion",
    "TableError",
    "TypeSpec",
    "Unmapped",
    "base",
    "load_field_maps",
    "parse_item",
    "today_of",
]
