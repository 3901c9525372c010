"""A fleet of simulated gates at a running hub: which gates, of which families, at which schools; registered and revoked.

One concern: the state of the hub before and after a load. It must never touch a hub whose connectors lead to a real
system, nor a device or a school that is not its own.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from hub.kernel.ledger import fleet
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.gate_ids import DEPARTMENT
from hub.kernel.ledger.gates import SIGNING
from hub.kernel.store.db import sql
from hub.keys import Keys
from hub.simulate.gates_words import Spec, signing
from hub.simulate.places import places
from hub.simulate.prepare import NotOurs
from hub.simulated import is_simulated

ACTOR = "simulate"
SCHOOLS = 40
OWN = re.compile(r"sim-gate-\d{4,}")
"""What the gates of a fleet are called; nobody else's are."""
MIX = (
    ("face_mqtt", 51),
    ("native", 25),
    ("zkteco", 10),
    ("hikvision", 6),
    ("face_http", 2),
    ("hanet", 2),
    ("hanet_mqtt", 2),
    ("dahua", 2),
)
"""Gates of a hundred, by what they speak: face terminals are the commonest, gates over HTTP nearly one in five; some are asked."""

_REGISTERED = {"hanet_mqtt": "hanet"}
"""Families by what is spoken, where the two differ."""

_PROFILES = {
    "face_mqtt": "push-ack",
    "native": "standard",
    "zkteco": "secret-path",
    "hikvision": "standard",
    "face_http": "standard",
    "hanet": "",
    "hanet_mqtt": "",
    "dahua": "standard",
}


def schools() -> list[fleet.School]:
    """The schools the fleet stands at; their codes belong to nobody else."""
    wards = places().wards
    return [
        fleet.School(code=f"31SIM{n:04d}", name=f"Trường mô phỏng {n:02d}", ward=wards[n % len(wards)].code, level="03")
        for n in range(1, SCHOOLS + 1)
    ]


def specs(count: int) -> list[Spec]:
    """So many gates, each hundred in the same mix, with new secrets."""
    codes = [s.code for s in schools()]
    of_hundred = [family for family, share in MIX for _ in range(share)]
    # 37 and 100 have no common factor: the families alternate instead of standing in blocks.
    return [
        Spec(device=f"sim-gate-{n:04d}", family=of_hundred[n * 37 % 100], school=codes[n % SCHOOLS], number=n, secret=secrets.token_hex(16))
        for n in range(count)
    ]  # fmt: skip


async def ours_alone(core: Core) -> None:
    """Raises `NotOurs` when an active connector leads away from this machine: its system would get the events."""
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.connectors_all)
    for row in rows:
        if row["state"] == "active" and not is_simulated(row["settings"]):
            raise NotOurs(row["name"])


async def register(core: Core, keys: Keys, gates: Sequence[Spec]) -> None:
    """Register the gates and their schools in two transactions; those of an earlier run get new secrets."""
    await fleet.add_schools(core, schools())
    devices = []
    for gate in gates:
        devices.append(
            fleet.Device(
                id=gate.device,
                family=_REGISTERED.get(gate.family, gate.family),
                profile=_PROFILES[gate.family],
                title=f"Cổng mô phỏng {gate.number}",
                school=gate.school,
                entrance=f"Cổng {gate.number % 3 + 1}",
                direction="in",
                zone="Asia/Ho_Chi_Minh",
                person_ids=DEPARTMENT,  # what they tell is compared, code by code, with their own books
                secret=keys.encrypt(gate.secret.encode(), gate.device.encode()),
                signing=keys.encrypt(signing(gate).encode(), SIGNING) if gate.family == "hanet" else None,
            )
        )
    await fleet.add_devices(core, ACTOR, devices)


async def revoke(core: Core, gates: Sequence[Spec]) -> int:
    """End the gates' access; gives how many had one."""
    return await fleet.revoke_devices(core, ACTOR, [gate.device for gate in gates])
