"""How much one call holds: one number for the dispatcher, recovery and the forecast, whatever was stored."""

from __future__ import annotations

from typing import Any

import pytest

from adapters import manifest as manifests
from connectors.settings import PolicySettings, validate
from hub.batches import per_call, within
from hub.worker.targets import policy_of


@pytest.mark.parametrize(
    ("system", "stored", "holds"),
    [
        ("ministry", 100, 100),
        ("ministry", 10_000, 500),
        ("population", 500, 1),
        ("public_service", 50, 10),
        ("no_adapter", 50, 50),
        ("ministry", None, PolicySettings().batch_max),
        ("subscriber", None, 1),
    ],
)
def test_an_adapters_own_maximum_holds_for_rows_that_say_more(system: str, stored: int | None, holds: int) -> None:
    settings: dict[str, Any] = {} if stored is None else {"policy": {"batch_max": stored}}
    assert per_call(system, settings) == holds


def test_every_adapter_is_counted_with_as_it_is_dispatched_to() -> None:
    for system, manifest in manifests.load_all().items():
        for stored in (1, 7, 100, 10_000):
            given: dict[str, Any] = {
                "name": "x", "system": system, "policy": {"batch_max": stored},
                "transport": {"kind": "rest", "base_url": "https://example.org/x"},
            }  # fmt: skip
            assert policy_of(validate(given), manifest, 30.0).batch_max == per_call(system, given), system


def test_a_call_holds_one_at_least() -> None:
    assert within(0, 5) == within(5, 0) == 1
