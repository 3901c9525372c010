"""The alarm for what a reconciliation found: said once when a comparison differs, and ended by the next that does not.

One concern: which of these alarms stand after a comparison. It runs within the transaction that concludes one, so a kill leaves
neither a comparison nobody was told of nor an alarm without one. It must never name a record, nor judge what was not compared.
"""

from __future__ import annotations

from typing import Any

from hub.kernel.ledger import alarms
from hub.kernel.ledger.alarms import Alarm
from hub.kernel.ledger.core import Core
from hub.kernel.ports import Text
from hub.kernel.store.db import Connection, sql

KIND = "reconcile"
_NAMED = 3
"""Schools named in an alarm; the rest stand on the reconciliation's page."""


async def judge(core: Core, connection: Connection, run: Any) -> None:
    """Begin or end the alarm of a run just compared; `run`: its row. What is on its way already differs no more than it should.

    The subject is connector and type, and the school where the run was about one. A run over all schools also ends the alarms of
    single schools it found alike; one about a school says nothing about the others.
    """
    found = await connection.fetch(sql.reconcile_differing, run["id"])
    name = next((n for n, number in core.connectors.items() if number == run["connector"]), str(run["connector"]))
    base = f"{name} {run['type']}"
    subject = base if run["school"] is None else f"{base} {run['school']}"
    looked_at = {subject}
    if run["school"] is None:
        differ = {f"{base} {r['school']}" for r in found}
        standing = [r["subject"] for r in await connection.fetch(sql.alarms_of_kind, KIND)]
        looked_at |= {s for s in standing if s.startswith(f"{base} ") and s not in differ}
    stands = [Alarm(KIND, subject, _text(base, run["id"], found))] if found else []
    await alarms.judge(core, connection, KIND, looked_at, stands)


def _text(what: str, run: int, found: list[Any]) -> Text:
    total, sent, seen, push = (sum(r[c] for r in found) for c in ("total", "queueable", "person", "push"))
    schools = ", ".join(r["school"] or "–" for r in found[:_NAMED]) + (", …" if len(found) > _NAMED else "")
    return Text(
        f"Đối soát {what} (lần {run}): {total} bản ghi khác nhau ở {len(found)} trường ({schools}): {sent} gửi lại được, "
        f"{seen} cần người xem, {push} trường phải gửi.",
        f"Reconciliation of {what} (run {run}): {total} records differ at {len(found)} schools ({schools}): {sent} can be sent "
        f"again, {seen} need a person, {push} the school has to push.",
    )
