"""Registering what a morning needs: connectors to the simulators, clients of the schools, gates.

One concern: the state of the hub before the first push, brought about through the ledger and repeatable. It must never
point a connector that leads elsewhere to a simulator.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from adapters.ministry import simulator as ministry
from adapters.population import simulator as population
from adapters.public_service import simulator as public_service
from connectors.settings import dump, validate
from hub.api.auth import secret_digest
from hub.kernel.access import EVERYWHERE, Scope
from hub.kernel.ledger import gate_ids, operations, parties
from hub.kernel.ledger.core import Core
from hub.kernel.store.db import sql
from hub.keys import Keys
from hub.simulate.city import City
from hub.simulate.sender import Credentials
from hub.simulated import is_simulated

ACTOR = "simulate"
SYSTEMS = ("ministry", "population", "public_service")
DEPARTMENT = "department"
PER_SECOND = 50
"""The population database's quota: the morning must never be seen above it."""

_OWN_CLIENT = re.compile(r"sim-(\d{3})-.*")
_OWN_DEVICE = re.compile(r"cong-(\d{3})-\d+")


class NotOurs(Exception):
    """Kết nối đang trỏ tới hệ thống thật, không diễn trên đó. / The connector leads to a real system: no play on it."""


def _policy(**given: Any) -> dict[str, Any]:
    return {"retry": {"base_s": 1, "cap_s": 4}, **given}


def connector_settings(system: str, url: str) -> dict[str, Any]:
    """Settings of the connector to the simulator of `system` at `url`."""
    settings: dict[str, dict[str, Any]] = {
        "ministry": {
            "transport": {"kind": "rest", "base_url": url},
            "auth": {"scheme": "bearer"},
            "adapter": {"province_code": "31", "source": "SGDDT-HP"},
            "policy": _policy(batch_max=100, concurrency=4),
        },
        "population": {
            "transport": {"kind": "soap", "base_url": url},
            "auth": {"scheme": "population_signed", "user": population.USER, "xroad_client": population.CLIENT},
            "adapter": {"MaDVC": "H24-GDDT", "MaCanBo": "cb.gddt.01"},
            "policy": _policy(concurrency=4, quota={"per_second": PER_SECOND}),
        },
        "public_service": {
            "transport": {"kind": "rest", "base_url": url},
            "auth": {"scheme": "portal_session", "login_url": f"{url}/mapi/login", "username": public_service.USERNAME},
            "adapter": {"agency": "000.00.12.H24"},
            "policy": _policy(
                concurrency=4,
                timeouts={"connect_s": 2, "read_s": 2},
                settle_after_s=2,
                absent_gap_s=1,
                breaker={"failures": 8, "window_s": 10, "open_s": 1, "open_max_s": 2},
            ),
        },
    }
    return dump(validate({"name": system, "system": system, **settings[system]}))


def secrets_of(system: str) -> dict[str, str]:
    """Credentials the simulators are started with; they open nothing else."""
    given = {
        "ministry": {"token": ministry.TOKEN},
        "population": {"secret": population.SECRET, "api_key": population.API_KEY},
        "public_service": {"password": public_service.PASSWORD},
    }
    return given[system]


async def addresses(core: Core) -> dict[str, str]:
    """Where the connectors of this package lead now: system → base address, of those on this machine."""
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.connectors_all)
    return {
        r["name"]: r["settings"]["transport"]["base_url"]
        for r in rows
        if r["name"] in SYSTEMS and is_simulated(r["settings"])
    }


async def connect(core: Core, keys: Keys, urls: Mapping[str, str]) -> None:
    """Have an active connector for each system at its simulator's address (`urls`: system → base address).

    One that exists keeps what people changed of it, but for the address, which is another at each start. Raises
    `NotOurs`, before anything is changed, when one leads away from this machine.
    """
    async with core.pool.acquire() as connection:
        rows = {r["name"]: r for r in await connection.fetch(sql.connectors_all)}
    for system in urls:
        if system in rows and not is_simulated(rows[system]["settings"]):
            raise NotOurs(system)
    for system, url in urls.items():
        row = rows.get(system)
        if row is None:
            await operations.add_connector(
                core, keys, ACTOR, system, system, connector_settings(system, url), secrets_of(system)
            )
            continue
        at_new = moved(row["settings"], url)
        if at_new != row["settings"]:
            await operations.update_connector(core, keys, ACTOR, system, at_new, None)
        if row["state"] == "paused":
            await operations.resume(core, ACTOR, system)


def moved(settings: Mapping[str, Any], url: str) -> dict[str, Any]:
    """The same settings at another address: the one thing that changes from start to start."""
    transport = {**settings["transport"], "base_url": url}
    auth = dict(settings["auth"])
    if "login_url" in auth:
        auth["login_url"] = url + urlsplit(auth["login_url"]).path
    return dump(validate({**settings, "transport": transport, "auth": auth}))


async def last_run(core: Core) -> int:
    """The highest run whose clients are registered; 0 before the first."""
    names = [r["id"] for r in await parties.clients(core)]
    return max((int(m.group(1)) for name in names if (m := _OWN_CLIENT.fullmatch(name))), default=0)


async def admit(core: Core, keys: Keys, city: City) -> dict[str, Credentials]:
    """Register this run's clients and end the access of earlier runs'. By school code, and `DEPARTMENT`.

    The first school uses OAuth2 client credentials, the others and the department an API key.
    """
    before = [r["id"] for r in await parties.clients(core)]
    admitted: dict[str, Credentials] = {}
    wanted = [(DEPARTMENT, "Sở Giáo dục và Đào tạo (giả lập)", EVERYWHERE)]
    wanted += [(s.code, f"{s.name} (giả lập)", Scope("school", s.code)) for s in city.schools]
    for place, (code, title, scope) in enumerate(wanted):
        name = f"sim-{city.run:03d}-{code}"
        secret, key = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        await parties.add_client(
            core, ACTOR, name, title, secret_digest(keys, secret), secret_digest(keys, key), scope, ["push"]
        )
        oauth = place == 1
        admitted[code] = Credentials(kind="oauth2" if oauth else "key", id=name, secret=secret if oauth else key)
    for name in before:
        if (m := _OWN_CLIENT.fullmatch(name)) and int(m.group(1)) != city.run:
            await parties.block_client(core, ACTOR, name)
    return admitted


async def install_gates(core: Core, keys: Keys, city: City) -> dict[str, str]:
    """Register this run's gates (their schools must be known by now) and revoke earlier runs'. Device → its secret."""
    installed: dict[str, str] = {}
    before = [r["id"] for r in await parties.devices(core)]
    names = {s.code: s.name for s in city.schools}
    for gate in city.gates:
        secret = secrets.token_hex(16)
        await parties.add_device(
            core,
            ACTOR,
            gate.device,
            family=gate.family,
            profile="push-ack" if gate.family == "face_mqtt" else "standard",
            title=f"{gate.entrance}, {names[gate.school]}",
            school=gate.school,
            entrance=gate.entrance,
            direction="unknown",
            zone="Asia/Ho_Chi_Minh",
            person_ids=gate_ids.DEPARTMENT,  # the city's learners, by their codes
            secret=keys.encrypt(secret.encode(), gate.device.encode()),
        )
        installed[gate.device] = secret
    for name in before:
        if (m := _OWN_DEVICE.fullmatch(name)) and int(m.group(1)) != city.run:
            await parties.revoke_device(core, ACTOR, name)
    return installed
