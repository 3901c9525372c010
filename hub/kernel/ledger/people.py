"""The people who use the console: users, their passwords and their sessions. What they did is in the journal.

One concern: who somebody is and whether they may come in. It must never store a password or a session's token, only
what proves them (argon2id, SHA-256), and never tell a wrong name from a wrong password.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from functools import cache
from typing import Any, Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import Struct

from hub.kernel.access import EVERYWHERE, Scope
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import because, note
from hub.kernel.store.db import sql

Role = Literal["admin", "operator", "auditor"]
ROLES: tuple[Role, ...] = ("admin", "operator", "auditor")

FIRST_ADMIN = "admin"
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 128
_FREE_TRIES = 5
"""Wrong passwords in a row before a user has to wait: 30 s, doubled each time, at most 15 minutes."""
_TOUCH_S = 60.0
"""A session's last use is written at most this often."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,31}")
_READABLE = "abcdefghjkmnpqrstuvwxyz23456789"

_hasher = PasswordHasher()
_at_once = asyncio.Semaphore(2)
"""Argon2 takes 64 MB and a core: a crowd at the door must not take the machine."""


class SignInRefused(Exception):
    """Tên hoặc mật khẩu không đúng. / The name or the password is wrong."""


class SignInBlocked(Exception):
    """Sai mật khẩu nhiều lần: hãy chờ rồi thử lại. / Too many wrong passwords: wait, then try again."""

    def __init__(self, after_s: float) -> None:
        super().__init__(after_s)
        self.after_s = after_s


class PasswordUnfit(Exception):
    """Mật khẩu mới không đạt yêu cầu. / The new password does not meet the rules; `reason` names which one."""

    def __init__(self, reason: Literal["short", "long", "same", "name", "simple"]) -> None:
        super().__init__(reason)
        self.reason = reason


class UserUnfit(Exception):
    """Thông tin người dùng không hợp lệ. / The user's data is not valid; `reason` names what: name, title, role, scope or taken."""

    def __init__(self, reason: Literal["name", "title", "role", "scope", "taken"]) -> None:
        super().__init__(reason)
        self.reason = reason


class Person(Struct, frozen=True, kw_only=True):
    """A user who has proved who they are."""

    name: str
    title: str
    role: Role
    scope: Scope
    must_change: bool


class Session(Struct, frozen=True, kw_only=True):
    """A running session. `csrf` must come back with every form; `digest` names the session without giving it away."""

    person: Person
    csrf: str
    digest: bytes


def _person(row: Any) -> Person:
    return Person(
        name=row["name"],
        title=row["title"],
        role=row["role"],
        scope=Scope(row["scope_kind"], row["scope_code"]),
        must_change=row["must_change"],
    )


def token_digest(token: str) -> bytes:
    """What a session is stored under."""
    return hashlib.sha256(token.encode()).digest()


def one_time_password() -> str:
    """A password to read aloud: four groups of four, 79 bits."""
    letters = "".join(secrets.choice(_READABLE) for _ in range(16))
    return "-".join(letters[i : i + 4] for i in range(0, 16, 4))


async def _hash(password: str) -> str:
    async with _at_once:
        return await asyncio.to_thread(_hasher.hash, password)


@cache
def _spare() -> str:
    """What is verified against when there is no such user, so that the answer takes as long. Made by whoever signs in first."""
    return _hasher.hash(secrets.token_hex(16))


async def _matches(stored: str | None, password: str) -> bool:
    def verify() -> bool:
        try:
            spare = _spare()  # asked for whoever it is
            return _hasher.verify(stored or spare, password)
        except (VerificationError, InvalidHashError):
            return False

    async with _at_once:
        return await asyncio.to_thread(verify)


async def sign_in(core: Core, name: str, password: str, session_s: float) -> tuple[str, Person]:
    """A new session's token and who it is for. Raises `SignInRefused` or `SignInBlocked`.

    `session_s`: how long the session may last at most, whatever happens in it.
    """
    password = password[: LONGEST_PASSWORD + 1]
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.user_try, name, _FREE_TRIES)
        waiting = None if row else await connection.fetchval(sql.user_blocked_s, name)
    if waiting:
        raise SignInBlocked(float(waiting))
    if not await _matches(row["password_hash"] if row else None, password) or row is None:
        if row is not None and row["failed"] >= _FREE_TRIES:
            async with core.pool.acquire() as connection, connection.transaction():
                await note(core, connection, name, "sign_in_blocked", failed=row["failed"])
        raise SignInRefused
    stored = row["password_hash"]
    if _hasher.check_needs_rehash(stored):
        stored = await _hash(password)
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.execute(sql.user_signed_in, name, stored)
        await connection.execute(sql.sessions_sweep)
        await connection.execute(sql.session_add, token_digest(token), name, csrf, session_s)
        await note(core, connection, name, "sign_in")
    return token, _person(row)


async def find_session(core: Core, token: str, idle_s: float, *, touch: bool = True) -> Session | None:
    """The session of a token; None when it ended, idled longer than `idle_s` or its user was blocked.

    `touch` False for requests no person made (a page refreshing itself): they keep no session alive.
    """
    digest = token_digest(token)
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.session_find, digest, idle_s)
        if row is None:
            return None
        if touch and row["idle_s"] > _TOUCH_S:
            await connection.execute(sql.session_touch, digest)
    return Session(person=_person(row), csrf=row["csrf"], digest=digest)


async def sign_out(core: Core, session: Session) -> None:
    """End a session."""
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.execute(sql.session_end, session.digest)
        await note(core, connection, session.person.name, "sign_out")


def check_password(name: str, password: str) -> None:
    """Raise `PasswordUnfit` for a password that is too short, too long, or easily guessed from the name."""
    if len(password) < SHORTEST_PASSWORD:
        raise PasswordUnfit("short")
    if len(password) > LONGEST_PASSWORD:
        raise PasswordUnfit("long")
    if name.lower() in password.lower():
        raise PasswordUnfit("name")
    if len(set(password)) < 5:
        raise PasswordUnfit("simple")


async def change_password(core: Core, session: Session, old: str, new: str) -> None:
    """Change one's own password; every other session of the user ends. Raises `SignInRefused`, `PasswordUnfit`."""
    name = session.person.name
    async with core.pool.acquire() as connection:
        stored = await connection.fetchval(sql.user_password_hash, name)
    if stored is None or not await _matches(stored, old[: LONGEST_PASSWORD + 1]):
        raise SignInRefused
    if new == old:
        raise PasswordUnfit("same")
    check_password(name, new)
    made = await _hash(new)
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.execute(sql.user_password, name, made, False)
        await connection.execute(sql.sessions_end_of, name, session.digest)
        await note(core, connection, name, "change_password")


async def ensure_first_admin(core: Core) -> str | None:
    """Make the first administrator `admin` and return the one-time password; None when somebody can sign in already.

    While nobody has ever used it, each call gives a new one: the last one shown is the one that works.
    """
    password = one_time_password()
    made = await _hash(password)
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.fetchval(sql.users_lock)
        fresh = await connection.fetchval(sql.user_first, FIRST_ADMIN, "Quản trị hệ thống", made)
        if fresh is not None:
            await note(core, connection, "hub", "first_admin", user=FIRST_ADMIN)
    return password if fresh is not None else None


async def list_users(core: Core) -> list[Any]:
    """All users with their state and last use, active ones first."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.users_all))


def _check_user(core: Core, name: str, title: str, role: str, scope: Scope) -> None:
    if not _NAME.fullmatch(name):
        raise UserUnfit("name")
    if not 1 <= len(title.strip()) <= 120:
        raise UserUnfit("title")
    if role not in ROLES:
        raise UserUnfit("role")
    wards = {s.ward for s in core.directory.all()}
    fits = {
        "department": scope.code is None,
        "ward": scope.code in wards,
        "school": core.directory.get(scope.code) is not None,
    }
    # An administrator's rights reach every school: a narrower scope would promise what it cannot keep.
    if not fits.get(scope.kind, False) or (role == "admin" and not scope.whole):
        raise UserUnfit("scope")


async def add_user(
    core: Core, actor: str, name: str, title: str, role: str, scope: Scope = EVERYWHERE, why: str = ""
) -> str:
    """Add a user, `why` for the journal, and return the one-time password. Raises `UserUnfit`."""
    _check_user(core, name, title, role, scope)
    password = one_time_password()
    made = await _hash(password)
    async with core.pool.acquire() as connection, connection.transaction():
        if await connection.fetchval(sql.user_add, name, title.strip(), role, made, scope.kind, scope.code) is None:
            raise UserUnfit("taken")
        await note(
            core, connection, actor, "add_user", user=name, role=role, scope_kind=scope.kind, scope_code=scope.code,
            **because(why),
        )  # fmt: skip
    return password


async def reset_password(core: Core, actor: str, name: str, why: str = "") -> str | None:
    """Give a user a new one-time password and end their sessions. None when there is no such user."""
    password = one_time_password()
    made = await _hash(password)
    async with core.pool.acquire() as connection, connection.transaction():
        if await connection.fetchval(sql.user_password, name, made, True) is None:
            return None
        await connection.execute(sql.sessions_end_of, name, None)
        await note(core, connection, actor, "reset_password", user=name, **because(why))
    return password


async def set_blocked(core: Core, actor: str, name: str, blocked: bool, why: str = "") -> bool:
    """Block or unblock a user; blocking ends their sessions. False when nothing changed: unknown, already so, the actor
    themselves, or the last administrator."""
    if name == actor:
        return False
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.fetchval(sql.users_lock)
        if await connection.fetchval(sql.user_state, name, "blocked" if blocked else "active") is None:
            return False
        if blocked:
            await connection.execute(sql.sessions_end_of, name, None)
        await note(core, connection, actor, "block_user" if blocked else "unblock_user", user=name, **because(why))
    return True
