"""Whose person numbers a gate tells: the department's codes, its own, or those of a vendor's account several gates share.

One concern: the words a registration says it with, and the namespace each stands for. It must never take numbers for the
department's codes that nobody said are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hub.kernel.ports import Text
from hub.kernel.store.db import Connection, sql

DEPARTMENT = "department"
"""The numbers are the codes the department gives: no namespace."""
OWN = "device"
"""The numbers are the device's own: its namespace is its name. Any other word names a vendor's account."""
NAMESPACE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:@-]{0,79}")
_KEPT = frozenset({DEPARTMENT, OWN})


def is_account(name: str) -> bool:
    """Whether a namespace can be called so: the two words that say something else are no names, in whatever case."""
    return NAMESPACE.fullmatch(name) is not None and name.casefold() not in _KEPT


def namespace_of(person_ids: str, device: str) -> str | None:
    """The namespace that `department`, `device` or the name of a vendor's account stands for at a gate. Raises `ValueError` for
    what is none of these."""
    word = person_ids.strip()
    if word.casefold() == DEPARTMENT:
        return None
    if word.casefold() == OWN:
        return device
    if not is_account(word):
        raise ValueError(f"neither department nor device nor an account's name: {word[:80]!r}")
    return word


def said(namespace: str | None, device: str) -> str:
    """The word `namespace_of` reads again: what is shown of a gate."""
    return DEPARTMENT if namespace is None else OWN if namespace == device else namespace


def fault(person_ids: str) -> Text | None:
    """What is wrong with the word of a registration."""
    try:
        namespace_of(person_ids, "x")
    except ValueError:
        shown = repr(person_ids[:40])
        return Text(
            f"person_ids phải là department, device hoặc tên tài khoản (chữ không dấu, số, . _ : @ -): {shown}",
            f"person_ids is department, device or an account's name (ASCII letters, digits, . _ : @ -): {shown}",
        )
    return None


async def taken(connection: Connection, said_of: Mapping[str, str]) -> Text | None:
    """Of new gates, by name what each tells: what is wrong where the numbers of one would be read by links that others made
    already, because a vendor's account is called like it."""
    unnamed = [device for device, word in said_of.items() if word.strip().casefold() in _KEPT]
    found = await connection.fetchrow(sql.namespaces_taken, unnamed)
    return found and Text(
        f"{found['name']} đang là tên một không gian mã người: hãy đặt mã cổng khác, hoặc ghi đúng tên ấy vào person_ids.",
        f"{found['name']} names a space of person numbers already: name the gate otherwise, or give that name as person_ids.",
    )


async def handed_on(connection: Connection, namespace: str | None, old: str, new: str) -> str | None:
    """The namespace of the device that takes another's place: an account's goes on, the department's codes too; the numbers a
    device gave itself are other people on another device, so then the new one has its own."""
    if namespace != old or await connection.fetchval(sql.namespace_shared, old):
        return namespace
    return new
