"""The books of a load of gates, and their comparison with what the hub holds.

One concern: every acknowledged event is stored exactly once, every stored one was sent. The books are the gates' own:
what came back over the wire. They go to a file, since memory is what is being measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from hub.kernel.ledger import accounting, fleet
from hub.kernel.ledger.core import Core
from hub.simulate.gates_words import Event, Spec

_LINES = 2_000
_SHOWN = 5


class Proof(Struct, kw_only=True):
    """The comparison. All but `acknowledged`, `stored` and `unacknowledged` must be zero or empty."""

    acknowledged: int
    unacknowledged: int
    """Sent and never acknowledged: stored or not, both are right."""
    stored: int
    lost: int
    """Acknowledged and not stored."""
    doubled: int
    """Stored more than once."""
    strange: int
    """Stored and never sent."""
    silent: int = 0
    """Sent by gates that hear of nothing, at QoS 1 and once."""
    unheard: int = 0
    """Of these, not stored: at most what was under way as a connection ended. Their lists make up for it."""
    differences: dict[str, int]
    """What does not add up in the hub's own accounting."""
    examples: list[str]

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, doubled or invented."""
        return not (self.lost or self.doubled or self.strange or self.differences)


def line_of(gate: Spec, event: Event) -> str:
    """An event as the books have it."""
    return f"{gate.device}\t{event.person}\t{event.raw}"


class Books:
    """Events by device, person and the device's time as sent: one line each, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = path.open("w", encoding="ascii")
        self._lines: list[str] = []
        self._silent: list[str] = []  # one a second and gate: few
        self.acknowledged = 0

    @property
    def of_silent_gates(self) -> frozenset[str]:
        """The lines of gates that hear of nothing."""
        return frozenset(self._silent)

    def silent(self, gate: Spec, event: Event, _now: float) -> None:
        """It was written to a connection, and nobody will ever say what became of it."""
        self._silent.append(line_of(gate, event))

    def acked(self, gate: Spec, event: Event) -> None:
        """The hub has acknowledged it."""
        self.acknowledged += 1
        self._lines.append(line_of(gate, event) + "\n")
        if len(self._lines) >= _LINES:
            self._write()

    def close(self) -> None:
        """Write what is left."""
        self._write()
        self._file.close()

    def _write(self) -> None:
        self._file.writelines(self._lines)
        self._lines.clear()


async def prove(
    core: Core, books: Books, waiting: Sequence[tuple[Spec, Event]], schools: Sequence[str], since: datetime
) -> Proof:
    """Compare the closed books, and what is still waiting, with the check-ins stored since the start."""
    acked = set(books.path.read_text(encoding="ascii").splitlines())
    open_ends = {line_of(gate, event) for gate, event in waiting}
    silent = books.of_silent_gates
    missing, unheard = set(acked), set(silent)
    stored = doubled = strange = 0
    examples: list[str] = []
    async for device, person, raw, times in fleet.checkins(core, schools, since):
        line = f"{device}\t{person}\t{raw}"
        stored += times
        if times > 1:
            doubled += 1
            examples.append(f"{times}x {line}")
        missing.discard(line)
        unheard.discard(line)
        if line not in acked and line not in open_ends and line not in silent:
            strange += 1
            examples.append(f"? {line}")
    account = await accounting.account(core)
    return Proof(
        acknowledged=books.acknowledged,
        unacknowledged=len(open_ends),
        stored=stored,
        lost=len(missing) + books.acknowledged - len(acked),
        doubled=doubled,
        strange=strange,
        silent=len(silent),
        unheard=len(unheard),
        differences=account.differences,
        examples=[*examples[:_SHOWN], *sorted(missing)[:_SHOWN]],
    )
