"""`hub connectors add`: the same settings as the console's form takes, secrets by file, pipe or prompt alone, one journal line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from hub import commands, commands_connectors

WHY = "Nối với hệ thống thử của Bộ"
SETTINGS = {
    "transport": {"kind": "rest", "base_url": "https://bo.example/api"},
    "auth": {"scheme": "bearer"},
    "adapter": {"source": "000.00.12.H24"},
}
Run = Callable[..., Awaitable[str]]


def played(ledger: Any, monkeypatch: pytest.MonkeyPatch, scene: Callable[[Any, Run], Awaitable[None]]) -> None:
    async def go() -> None:
        async with ledger() as led:
            house, loop = SimpleNamespace(core=led.core, keys=led.keys), asyncio.get_running_loop()

            def here(work: Any) -> Any:
                return asyncio.run_coroutine_threadsafe(work(house), loop).result(60)

            async def run(*words: str, fails: bool = False, stdin: str | None = None) -> str:
                got = await asyncio.to_thread(CliRunner().invoke, commands_connectors.group, [*words], input=stdin)
                assert (got.exit_code != 0) is fails, (got.output, got.exception)
                return got.output + got.stderr

            monkeypatch.setattr(commands, "with_house", here)
            await scene(led, run)

    asyncio.run(go())


def test_one_is_made_paused_with_its_secret_sealed_and_its_reason_in_the_journal(
    ledger: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, secrets = tmp_path / "bo.yaml", tmp_path / "secrets.yaml"
    file.write_text(json.dumps({**SETTINGS, "state": "active", "name": "elsewhere"}))
    secrets.write_text('token: "t0p-secret"\n')
    order = ["add", "bo", "--system", "ministry", "--settings", str(file), "--secrets", str(secrets), "--why", WHY]

    async def scene(led: Any, run: Run) -> None:
        told = await run(*order, "--set", "policy.concurrency=3", "--set", "auth.scheme=bearer")
        assert "t0p-secret" not in told and "hub connectors resume bo" in told
        (row,) = await led.rows("SELECT * FROM connectors WHERE name = 'bo'")
        assert (row["state"], row["system"], row["revision"]) == ("paused", "ministry", 1)
        assert row["settings"]["policy"]["concurrency"] == 3 and row["settings"]["name"] == "bo"
        assert b"t0p-secret" not in row["secrets"]
        assert json.loads(led.keys.decrypt(row["secrets"], b"bo")) == {"token": "t0p-secret"}
        (line,) = await led.rows("SELECT actor, data FROM journal WHERE kind = 'configure'")
        assert line["actor"] == "cli" and line["data"]["why"] == WHY
        assert "t0p-secret" not in json.dumps(await led.value("SELECT json_agg(data::text) FROM journal"))
        assert "There is a connector of this name." in await run(*order, fails=True)
        assert await led.value("SELECT count(*) FROM connectors WHERE name = 'bo'") == 1
        assert "bo.example" in await run("list")
        why = ("--why", "Đã thử, trả lời tốt")
        assert "resumed" in await run("resume", "bo", *why) and "unchanged" in await run("resume", "bo", *why)
        (line,) = await led.rows("SELECT data FROM journal WHERE kind = 'resume'")
        assert line["data"] == {"why": why[1]}

    played(ledger, monkeypatch, scene)


def test_secrets_come_by_pipe_or_prompt_and_never_by_the_commands_line(
    ledger: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "bo.json"
    file.write_text(json.dumps(SETTINGS))

    def order(name: str) -> list[str]:
        return ["add", name, "--system", "ministry", "--settings", str(file), "--why", WHY]

    async def scene(led: Any, run: Run) -> None:
        told = await run(*order("a"), "--set", "secrets.token=t0p-secret", fails=True)
        assert "must not stand on the command's line" in told and "t0p-secret" not in told
        assert "/secrets/token" in await run(*order("a"), fails=True), "nobody to ask"
        told = await run(*order("a"), "--secrets", "-", stdin="token: t0p-secret\nother: s2\n", fails=True)
        assert "not needed: other" in told and "s2" not in told.replace("secrets", "")
        await run(*order("a"), "--secrets", "-", stdin="token: t0p-secret\n")
        monkeypatch.setattr(commands_connectors, "attended", lambda: True)
        told = await run(*order("b"), stdin="t0p-secret\n")
        assert "t0p-secret" not in told
        for name in ("a", "b"):
            sealed = await led.value("SELECT secrets FROM connectors WHERE name = $1", name)
            assert json.loads(led.keys.decrypt(sealed, name.encode())) == {"token": "t0p-secret"}

    played(ledger, monkeypatch, scene)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "policy.concurrency=0"], "/policy/concurrency: "),
        (["--set", "policy.concurency=2"], "/policy/concurency: "),
        (["--set", "auth.scheme=nonsense"], "/auth"),
        (["--set", "profile=nonsense"], "has no profile 'nonsense'; there are: profile-assumed-2026"),
        (["--set", "transport.base_url.x=1"], "is no group"),
        (["--set", "adapter.nonsense=1"], "/adapter: "),
        (["--set", "policy"], "KEY=VALUE is needed"),
        (["--settings", "{dir}/list.yaml"], "must be keys with values"),
        (["--settings", "{dir}/torn.yaml"], "--settings 1:6: không phải YAML"),
        (["--settings", "{dir}/binary"], "neither YAML nor JSON"),
        (["--secrets", "{dir}/numbers.yaml"], "values must be text, in quotes: token"),
        (["--system", "nobody"], "--system: "),
    ],
)
def test_what_does_not_fit_is_said_with_its_place_and_nothing_is_made(
    ledger: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], said: str
) -> None:
    for name, content in (
        ("bo.json", json.dumps(SETTINGS).encode()), ("list.yaml", b"- 1\n"), ("torn.yaml", b"{a: ["), ("binary", b"\x00\xff\xfe"),
        ("secrets.yaml", b"token: abc\n"), ("numbers.yaml", b"token: 123\n"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
    order = [
        "add",
        "bo",
        "--system",
        "ministry",
        "--settings",
        "{dir}/bo.json",
        "--secrets",
        "{dir}/secrets.yaml",
        "--why",
        WHY,
        *words,
    ]

    async def scene(led: Any, run: Run) -> None:
        told = await run(*(w.replace("{dir}", str(tmp_path)) for w in order), fails=True)
        assert said in told and "Traceback" not in told, told
        assert await led.value("SELECT count(*) FROM connectors") == 0
        assert await led.value("SELECT count(*) FROM journal") == 0

    played(ledger, monkeypatch, scene)
