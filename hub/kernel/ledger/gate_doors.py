"""People told to gates: only to a gate in use that takes lists of people, and only by the school it stands in.

One concern: that check, inside the caller's transaction. It must never tell a sender anything about another school's
gates: a gate elsewhere and no gate at all are the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.kernel.ledger.core import Core
from hub.kernel.ports import Draft, Reject, Text
from hub.kernel.router import Prior
from hub.kernel.store.db import Connection, sql

TYPE = "gate_person"


class Doors:
    """The gates a batch of records names, as the registry has them."""

    def __init__(self, gates: Mapping[str, Any], takers: frozenset[str]) -> None:
        """`gates`: registry rows by name; `takers`: families whose gates take lists of people."""
        self._gates = gates
        self._takers = takers

    @classmethod
    async def load(cls, core: Core, connection: Connection, drafts: list[Draft]) -> Doors:
        """Read the gates of these drafts: one query."""
        names = sorted({d.body["device"] for d in drafts if d.type == TYPE})
        return cls({r["id"]: r for r in await connection.fetch(sql.gates_known, names)}, core.people_takers)

    def refuse(self, draft: Draft, prior: Prior | None) -> Reject | None:
        """Why this person cannot be told to this gate; None when nothing speaks against it. `prior`: what stands for both.

        Whoever told a person to a gate may take that person away again, wherever the gate stands by now.
        """
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
