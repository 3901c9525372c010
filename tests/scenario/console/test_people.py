"""Users, passwords and sessions on a real database."""

from __future__ import annotations

import asyncio

import pytest

from hub.kernel.access import Scope
from hub.kernel.ledger import people


def test_the_first_administrator_is_made_once(ledger) -> None:
    async def run() -> None:
        async with ledger() as one, ledger() as two:
            made = await asyncio.gather(people.ensure_first_admin(one.core), people.ensure_first_admin(two.core))
            assert await one.value("SELECT count(*) FROM users") == 1
            # Nobody has used it yet: each call gives a new one, and the last is the one that works.
            last = await people.ensure_first_admin(one.core)
            assert last and last not in made
            for old in made:
                with pytest.raises(people.SignInRefused):
                    await people.sign_in(one.core, "admin", old or "", 60)
            _, person = await people.sign_in(one.core, "admin", last, 60)
            assert person.must_change and person.role == "admin" and person.scope.whole
            assert await people.ensure_first_admin(two.core) is None, "somebody has signed in"

    asyncio.run(run())


def test_wrong_passwords_tried_at_once_are_all_counted(ledger) -> None:
    async def run() -> None:
        async with ledger() as one:
            password = await people.add_user(one.core, "test", "an", "An", "operator")
            tries = [people.sign_in(one.core, "an", f"sai {n}", 60) for n in range(12)]
            found = [type(e) for e in await asyncio.gather(*tries, return_exceptions=True)]
            assert found.count(people.SignInRefused) == 5 and found.count(people.SignInBlocked) == 7
            with pytest.raises(people.SignInBlocked) as blocked:
                await people.sign_in(one.core, "an", password, 60)
            assert 0 < blocked.value.after_s <= 30
            await one.owner.execute("UPDATE users SET blocked_until = now()")
            with pytest.raises(people.SignInRefused):
                await people.sign_in(one.core, "an", "sai", 60)
            with pytest.raises(people.SignInBlocked) as blocked:
                await people.sign_in(one.core, "an", password, 60)
            assert 30 < blocked.value.after_s <= 60, "longer each time"
            await one.owner.execute("UPDATE users SET blocked_until = now()")
            await people.sign_in(one.core, "an", password, 60)
            assert await one.value("SELECT failed FROM users WHERE name = 'an'") == 0
            assert await one.value("SELECT count(*) FROM journal WHERE kind = 'sign_in_blocked'") >= 1

    asyncio.run(run())


def test_nothing_secret_is_stored(ledger) -> None:
    async def run() -> None:
        async with ledger() as one:
            password = await people.add_user(one.core, "test", "an", "An", "operator")
            token, _ = await people.sign_in(one.core, "an", password, 60)
            stored = (
                str(await one.rows("SELECT * FROM users"))
                + str(await one.rows("SELECT * FROM sessions"))
                + str(await one.rows("SELECT data FROM journal"))
            )
            assert password not in stored and token not in stored and "$argon2id$" in stored

    asyncio.run(run())


def test_changing_a_password_ends_the_other_sessions(ledger) -> None:
    async def run() -> None:
        async with ledger() as one:
            password = await people.add_user(one.core, "test", "an", "An", "operator")
            first, _ = await people.sign_in(one.core, "an", password, 60)
            second, _ = await people.sign_in(one.core, "an", password, 60)
            session = await people.find_session(one.core, second, 60)
            assert session is not None and session.person.must_change
            with pytest.raises(people.SignInRefused):
                await people.change_password(one.core, session, "không phải", "một câu dài dễ nhớ")
            for new, reason in (
                (password, "same"),
                ("ngắn", "short"),
                ("x" * 200, "long"),
                ("aabbaabbaabb", "simple"),
                ("mật khẩu của an là gì", "name"),
            ):
                with pytest.raises(people.PasswordUnfit) as unfit:
                    await people.change_password(one.core, session, password, new)
                assert unfit.value.reason == reason
            await people.change_password(one.core, session, password, "một câu dài dễ nhớ")
            assert await people.find_session(one.core, first, 60) is None
            kept = await people.find_session(one.core, second, 60)
            assert kept is not None and not kept.person.must_change

    asyncio.run(run())


def test_who_may_be_added_and_blocked(ledger) -> None:
    async def run() -> None:
        async with ledger() as one:
            await one.school("31SC0001", ward="11359")
            await people.add_user(one.core, "test", "quan", "Quản", "admin")
            await people.add_user(one.core, "quan", "truong", "Trường", "operator", Scope("school", "31SC0001"))
            await people.add_user(one.core, "quan", "phuong", "Phường", "auditor", Scope("ward", "11359"))
            for name, role, scope, reason in (
                ("Q", "admin", Scope("department"), "name"), ("ba", "king", Scope("department"), "role"), ("bb", "admin", Scope("school", "31SC0001"), "scope"),
                ("bc", "operator", Scope("school", "none"), "scope"), ("bd", "operator", Scope("ward"), "scope"),
                ("be", "operator", Scope("department", "x"), "scope"),
                ("truong", "operator", Scope("department"), "taken"),
            ):  # fmt: skip
                with pytest.raises(people.UserUnfit) as unfit:
                    await people.add_user(one.core, "quan", name, "Tên", role, scope)
                assert unfit.value.reason == reason, name
            assert not await people.set_blocked(one.core, "quan", "quan", True), "not oneself"
            assert not await people.set_blocked(one.core, "truong", "quan", True), "not the last administrator"
            await people.add_user(one.core, "quan", "hai", "Hai", "admin")
            assert await people.set_blocked(one.core, "hai", "quan", True)
            assert not await people.set_blocked(one.core, "hai", "quan", True), "nothing changed"
            assert await people.reset_password(one.core, "hai", "nobody") is None

    asyncio.run(run())
