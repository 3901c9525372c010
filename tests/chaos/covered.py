"""What the sweep must visit, and for what it does not visit: the test that does.

One concern: that table, against which `tests/unit/kernel/test_failpoints.py` holds the code: a new system, a new way in or a new
point stays neither unvisited nor unmentioned.
"""

from __future__ import annotations

from adapters.manifest import Manifest
from tests.chaos.sweep import CLAIM, INTENT, SEND, SETTLE

KINDS: dict[str, tuple[str, ...]] = {
    "face_gates": ("terminals",),
    "ministry": ("ministry",),
    "population": ("population", "answered_later"),
    "public_service": ("public_service",),
    "subscriber": ("families",),
}
"""System of a manifest → the kinds of destination that are swept for it."""

WAYS_IN: dict[str, tuple[str, ...] | str] = {
    "hub/api/archives.py": ("archive",),
    "hub/api/callbacks.py": ("callback",),
    "hub/api/device_store.py": ("door",),
    "hub/api/devices.py": ("door",),
    "hub/api/intake.py": ("rest", "bulk"),
    "hub/api/workbooks.py": ("workbook",),
    "hub/app.py": ("rest", "door"),
    "hub/kernel/ledger/corrections.py": "tests/scenario/ledger/test_upkeep.py::test_a_correction_is_a_new_message_linked_to_the_record_it_corrects",
    "hub/kernel/ledger/dispatch.py": ("population",),
    "hub/kernel/ledger/gate_lists.py": ("lists",),
    "hub/kernel/ledger/intake.py": ("rest",),
    "hub/kernel/ledger/pulls.py": "tests/scenario/filings/test_pulls.py::test_killed_between_and_within_pages_it_goes_on_where_it_was",
    "hub/kernel/ledger/verifications.py": "tests/scenario/dispatch/test_verification.py::test_kills_between_any_two_steps_ask_nobody_twice",
    "hub/worker/bridge.py": ("gate",),
    "hub/worker/gates.py": ("gate",),
    "hub/worker/pickups.py": "tests/scenario/pickups/test_pickups.py::test_a_kill_between_two_chunks_leaves_the_committed_ones_and_the_repeat_brings_the_rest",
}
"""Module that gives arrivals to the ledger or acknowledges them → the kinds of source that are swept for it, or the test that stands
for them. (Queries over SOAP and REST bring nothing in: they reach no point.)"""

ELSEWHERE: dict[str, str] = {
    "carry.inside": "tests/scenario/ledger/test_retention.py::test_killed_in_the_middle_it_goes_on_where_it_was",
    "pickup.chunk": "tests/scenario/pickups/test_pickups.py::test_a_kill_between_two_chunks_leaves_the_committed_ones_and_the_repeat_brings_the_rest",
    "pickup.committed": "tests/scenario/pickups/test_pickups.py::test_a_kill_between_commit_and_putting_away_leaves_a_repeat_that_is_recognised",
    "verification.after": "tests/scenario/dispatch/test_verification.py::test_a_kill_after_a_steps_commit_loses_nothing_of_it",
    "verification.inside": "tests/scenario/dispatch/test_verification.py::test_kills_between_any_two_steps_ask_nobody_twice",
}
"""Points that stand beside a message's way, each with the test that visits it."""


def points_of(manifest: Manifest) -> set[str]:
    """What a delivery to a system passes: intents and inquiries only where one of its calls may not simply be made again."""
    operations = manifest.operations.values()
    intends = any(op.intent or not op.idempotent for op in operations)
    settles = manifest.inquire and any(not op.idempotent for op in operations)
    return {*CLAIM, *SEND, *(INTENT if intends else ()), *(SETTLE if settles else ())}
