"""The stage of deliveries, for files that are picked up."""

from __future__ import annotations

from tests.scenario.dispatch.conftest import items, stage

__all__ = ["items", "stage"]
