"""Who may speak of a gate: people are told only to one in use that takes lists of people, by the school it stands in; and the
numbers a gate gives people are spoken of by itself, by its school and by the department.

One concern: those checks, inside the caller's transaction. It must never tell a sender anything about another school's
gates: a gate elsewhere and no gate at all are the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hub.kernel.access import Scope
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.punches import UNREGISTERED
from hub.kernel.ports import Draft, Reject, Text
from hub.kernel.presence import PERSON
from hub.kernel.router import Prior
from hub.kernel.store.db import Connection, sql

TYPE, PASSAGE = "gate_person", "checkin"
_OF_A_GATE = ("namespace", "local_id", "merged_into", "follows")
"""What the hub or a gate says of a passage's person, and no school's software."""


class Doors:
    """The gates a batch of records names, as the registry has them."""

    def __init__(self, gates: Mapping[str, Any], takers: frozenset[str]) -> None:
        """`gates`: registry rows by name; `takers`: families whose gates take lists of people."""
        self._gates = gates
        self._takers = takers

    @classmethod
    async def load(cls, core: Core, connection: Connection, told: Sequence[tuple[Scope, Draft]]) -> Doors | None:
        """Read the gates that these drafts name, where there is something to check of them: one query, or none."""
        asked = [(s, d) for s, d in told if d.type == TYPE or (d.type == PASSAGE and not s.whole)]
        if not asked:
            return None
        names = sorted({d.body["device"] for _, d in asked})
        found = cls({r["id"]: r for r in await connection.fetch(sql.gates_known, names)}, core.people_takers)
        for scope, draft in asked:
            if draft.type == PASSAGE:
                found._own_words(core, scope, draft)
        return found

    def _own_words(self, core: Core, scope: Scope, draft: Draft) -> None:
        """Of a passage told by a school's software, not by the gate: what only the gate may say of its person is taken out. At a
        gate of its own it may use that gate's numbers; at any other device the person's code is the department's."""
        body, gate = draft.body, self._gates.get(draft.body["device"])
        own = gate is not None and core.directory.permits(scope, gate["school"])
        for name in _OF_A_GATE:
            if not (own and name == "local_id"):
                body.pop(name, None)
        if body.get("quarantine") in (PERSON, UNREGISTERED):
            del body["quarantine"]

    def refuse(self, core: Core, scope: Scope, draft: Draft, prior: Prior | None) -> Reject | None:
        """Why this person cannot be told to this gate, or this passage not told of it; None when nothing speaks against it.
        `prior`: what stands for both.

        Whoever told a person to a gate may take that person away again, wherever the gate stands by now.
        """
        if draft.type == PASSAGE and not scope.whole:
            gate = self._gates.get(draft.body["device"])
            if gate is not None and not core.directory.permits(scope, gate["school"]):
                name, there = draft.body["device"], draft.school or "?"
                return _reject(
                    draft, "no_such_gate", f"Không có cổng {name} ở trường {there}.", f"There is no gate {name} at school {there}."
                )  # fmt: skip
            return None
        if draft.type != TYPE:
            return None
        gate, name = self._gates.get(draft.body["device"]), draft.body["device"]
        # A cancellation may leave the school out where its sender may write for all.
        own = draft.event == "CANCEL" and prior is not None and prior.event != "CANCEL" and draft.school in (None, prior.school)  # fmt: skip
        if gate is None or gate["state"] != "active" or (gate["school"] != draft.school and not own):
            return _reject(
                draft,
                "no_such_gate",
                f"Không có cổng {name} đang dùng ở trường {draft.school or '?'}.",
                f"There is no gate {name} in use at school {draft.school or '?'}.",
            )
        if gate["family"] not in self._takers:
            return _reject(
                draft,
                "gate_takes_no_people",
                f"Cổng {name} không nhận danh sách người từ trục.",
                f"Gate {name} takes no list of people from the hub.",
            )
        return None


def _reject(draft: Draft, code: str, vi: str, en: str) -> Reject:
    return Reject(pointer=f"{draft.pointer}/data/device", code=code, key=draft.key, message=Text(vi, en))
