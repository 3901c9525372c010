"""What a resident process of the hub keeps out of its memory, and what it does with what stays.

One concern: memory of the gateway, the bridge and the workers. Optional parts of libraries that happen to be installed
for somebody else (Airflow brings OpenTelemetry) would load by themselves, 15 MB for nothing. It must never leave out
anything a process can call for: a module named here is one whose absence its importers provide for.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

NEVER_USED = (
    "opentelemetry.sdk",  # redis: metrics of its own, off unless asked for
    "dns",  # paho: SRV records; email_validator
    "email_validator",  # fastapi: an OpenAPI model nobody here uses
    "isoduration",  # jsonschema: the format `duration`
    "rfc3987_syntax",  # jsonschema: the format `iri`, with a parser generator behind it
)
"""Each is imported in a `try` by the library named beside it."""

BY_PART = ("holidays.countries",)
"""Packages whose first module brings all the others in, 250 countries for one: their modules are found, and come when named."""

ENVIRONMENT: Mapping[str, str] = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""For a process of the hub: threads share two heaps of the C library, and what is freed at a heap's end goes back."""

LARGE_BODIES: Mapping[str, str] = {"MALLOC_MMAP_THRESHOLD_": "8388608", "MALLOC_TRIM_THRESHOLD_": "33554432"}
"""For the bridge, instead: a gate's picture of a megabyte is copied a few times on its way out, and fetching each copy's
pages from the system anew costs more than all the work on it (4 ms instead of 0.7). 32 MB at most are kept for it."""


def leave_out() -> None:
    """Make `NEVER_USED` look as if it were not installed, and `BY_PART` come by part. Call it before anything else is imported."""
    for name in NEVER_USED:
        # None means to the import machinery: this module is known not to be there.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    for name in BY_PART:
        above, _, last = name.rpartition(".")
        found = importlib.util.find_spec(above) if name not in sys.modules else None
        if found is not None and found.submodule_search_locations:
            package = ModuleType(name)
            package.__path__ = [str(Path(where) / last) for where in found.submodule_search_locations]
            sys.modules[name] = package


def settle() -> None:
    """Once a process has started: what is there now stays, so the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


def seldom() -> None:
    """For a process whose objects live as long as one call and are then gone: looking for rings among them a hundred times
    a second finds none, and costs a fifth of its time."""
    gc.set_threshold(20_000, 20, 50)
