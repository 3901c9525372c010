"""The books of a load of gates, and their comparison with what the hub holds.

One concern: every acknowledged event is stored exactly once, every listed one too, every stored one was sent. The books
are the gates' own: what came back over the wire, and what was put into the lists that the hub reads. They go to a file,
since memory is what is being measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from hub.kernel.ledger import accounting, fleet
from hub.kernel.ledger.core import Core
from hub.simulate.gates_words import Event, Spec

_LINES = 2_000
_SHOWN = 5


class Proof(Struct, kw_only=True):
    """The comparison. `lost`, `doubled` and `strange` must be zero, `differences` empty; the rest says of how much."""

    acknowledged: int
    unacknowledged: int
    """Sent and never acknowledged: stored or not, both are right."""
    stored: int
    lost: int
    """Acknowledged, or in the list of a gate that is asked, and not stored."""
    doubled: int
    """Stored more than once."""
    strange: int
    """Stored and never sent."""
    silent: int = 0
    """Sent by gates that hear of nothing, at QoS 1 and once."""
    unheard: int = 0
    """Of these, not stored: at most what was under way as a connection ended. Their lists make up for it."""
    listed: int = 0
    """Put into the lists of gates that are asked."""
    listed_p50_s: float = 0.0
    """How old these were when they were stored: the middle one."""
    listed_oldest_s: float = 0.0
    differences: dict[str, int]
    """What does not add up in the hub's own accounting."""
    examples: list[str]

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, doubled or invented."""
        return not (self.lost or self.doubled or self.strange or self.differences)


def line_of(gate: Spec, event: Event) -> str:
    """An event as the books have it."""
    return _line(gate.device, event.person, event.raw)


def _line(device: str, person: str, raw: str) -> str:
    return f"{device}\t{person}\t{raw}"


class Reading(Struct, kw_only=True):
    """How far the hub came with the lists."""

    gates: int
    waited_s: float
    """After the last passage, until the hub said that it had read them all; or until patience ended."""
    behind: list[str] = field(default_factory=list)
    """Gates it had not."""
    faults: dict[str, str] = field(default_factory=dict)
    """What it says ails some."""


class Books:
    """Events by device, person and the device's time as sent: one line each, in a file. What stands in a list has the
    moment it was put there as a fourth column."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = path.open("w", encoding="ascii")
        self._lines: list[str] = []
        self._silent: list[str] = []  # one a second and gate: few
        self.acknowledged = 0
        self.listed = 0

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
        self._note(line_of(gate, event))

    def noted(self, gate: Spec, person: str, raw: str, at: float) -> None:
        """It stands in the list of a gate that is asked, since `at` (seconds since 1970)."""
        self.listed += 1
        self._note(f"{_line(gate.device, person, raw)}\t{at:.3f}")

    def read(self) -> tuple[set[str], dict[str, float]]:
        """What the closed books say: the acknowledged lines; and the listed ones, with their moments."""
        acked, listed = set(), {}
        for line in self.path.read_text(encoding="ascii").splitlines():
            if line.count("\t") == 3:
                name, _, at = line.rpartition("\t")
                listed[name] = float(at)
            else:
                acked.add(line)
        return acked, listed

    def close(self) -> None:
        """Write what is left."""
        self._write()
        self._file.close()

    def _note(self, line: str) -> None:
        self._lines.append(line + "\n")
        if len(self._lines) >= _LINES:
            self._write()

    def _write(self) -> None:
        self._file.writelines(self._lines)
        self._lines.clear()


async def prove(
    core: Core, books: Books, waiting: Sequence[tuple[Spec, Event]], schools: Sequence[str], since: datetime
) -> Proof:
    """Compare the closed books, and what is still waiting, with the check-ins stored since the start."""
    acked, listed = books.read()
    open_ends = {line_of(gate, event) for gate, event in waiting}
    silent = books.of_silent_gates
    missing, unheard, unread = set(acked), set(silent), set(listed)
    ages: list[float] = []
    stored = doubled = strange = 0
    examples: list[str] = []
    async for device, person, raw, times, stored_at in fleet.checkins(core, schools, since):
        line = _line(device, person, raw)
        stored += times
        if times > 1:
            doubled += 1
            examples.append(f"{times}x {line}")
        missing.discard(line)
        unheard.discard(line)
        unread.discard(line)
        if line in listed:
            ages.append(stored_at.timestamp() - listed[line])
        elif line not in acked and line not in open_ends and line not in silent:
            strange += 1
            examples.append(f"? {line}")
    account = await accounting.account(core)
    ages = sorted(ages) or [0.0]
    return Proof(
        acknowledged=books.acknowledged,
        unacknowledged=len(open_ends),
        stored=stored,
        lost=len(missing) + books.acknowledged - len(acked) + len(unread) + books.listed - len(listed),
        doubled=doubled,
        strange=strange,
        silent=len(silent),
        unheard=len(unheard),
        listed=books.listed,
        listed_p50_s=round(ages[len(ages) // 2], 1),
        listed_oldest_s=round(ages[-1], 1),
        differences=account.differences,
        examples=[*examples[:_SHOWN], *sorted(missing)[:_SHOWN], *sorted(unread)[:_SHOWN]],
    )
