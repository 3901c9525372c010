"""What the console does, from a shell: looking and acting. Speaks to the same ledger as the console.

It must never print a secret, but for a one-time password it has just made.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec
from msgspec.structs import replace
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from hub import (
    assumptions,
    commands_connectors,
    commands_evidence,
    commands_gates,
    commands_given,
    commands_queries,
    commands_sampling,
)
from hub.commands_reasons import needed, why_option
from hub.embedded.area import open_area
from hub.embedded.postgres import EmbeddedPostgres
from hub.embedded.redis import EmbeddedRedis
from hub.embedded.supervisor import read_status
from hub.kernel.access import EVERYWHERE
from hub.kernel.ledger import accounting, corrections, operations, people, replays, upkeep
from hub.kernel.lifecycle import FINAL, State
from hub.kernel.store.db import sql
from hub.settings import Settings, SettingsError, load
from hub.wiring import ROOT, House, open_house

T = TypeVar("T")
screen = Console(highlight=False)
_ACTOR = "cli"


def _plain(value: Any) -> Any:
    return json.loads(
        msgspec.json.encode(asdict(value) if is_dataclass(value) and not isinstance(value, type) else value)
    )


def _show(value: Any, as_json: bool, table: Callable[[], Table]) -> None:
    if as_json:
        click.echo(json.dumps(_plain(value), ensure_ascii=False, indent=1))
    else:
        screen.print(table())


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", expand=False)
    for column in columns:
        table.add_column(column)
    return table


def _settings() -> Settings:
    try:
        return load()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def with_house(work: Callable[[House], Awaitable[T]]) -> T:
    """Run `work` against the hub's database: the one settings name, or the embedded one of this data folder."""
    settings = _settings()
    found: dict[str, Any] = {}
    if settings.database_url is None:
        area = open_area(settings.data_dir)
        server = EmbeddedPostgres(area)
        if not server.is_ready():
            raise click.ClickException(
                "Trục chưa chạy: hãy chạy `make run` hoặc `hub run`. / The hub is not running: `make run` or `hub run`."
            )
        found["database_url"] = SecretStr(server.dsn().url)
        if settings.redis_url is None:
            found["redis_url"] = SecretStr(EmbeddedRedis(area).url)

    async def go() -> T:
        async with open_house(settings.model_copy(update=found), "cli", pool_max=4) as house:
            return await work(house)

    return asyncio.run(go())


# ------------------------------------------------------------------------------------------------ looking


@click.command()
@click.option("--json", "as_json", is_flag=True)
def status(as_json: bool) -> None:
    """Tình trạng: tiến trình, kết nối, đối soát / processes, connectors, accounting."""

    async def work(house: House) -> dict[str, Any]:
        async with house.core.pool.acquire() as connection:
            rows = await connection.fetch(sql.oldest_by_state)
            connectors = await connection.fetch(sql.connectors_all)
        account = await accounting.account(house.core)
        backlog: dict[int, dict[str, Any]] = {}
        for r in rows:
            backlog.setdefault(r["connector"], {})[State(r["state"]).word] = {
                "count": r["n"],
                "oldest_s": round(r["oldest_s"], 1),
            }
        return {
            "processes": read_status(house.settings.data_dir),
            "connectors": [
                {"name": c["name"], "state": c["state"], "cause": c["pause_cause"], "backlog": backlog.get(c["id"], {})}
                for c in connectors
            ],
            "account": msgspec.to_builtins(account)
            | {"balanced": account.balanced, "differences": account.differences},
        }

    found = with_house(work)

    def table() -> Table:
        shown = _table("Kết nối / Connectors", "tên / name", "trạng thái / state", "tồn / backlog")
        for c in found["connectors"]:
            parts = [f"{state} {x['count']} (≤ {x['oldest_s']:.0f}s)" for state, x in c["backlog"].items()]
            shown.add_row(c["name"], c["state"], ", ".join(parts) or "–")
        mark = "✔" if found["account"]["balanced"] else f"✘ {found['account']['differences']}"
        shown.caption = f"Đối soát / accounting identity: {mark}"
        return shown

    _show(found, as_json, table)


@click.command()
@click.option("--key", help="Khóa nghiệp vụ / business key")
@click.option("--limit", default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def messages(key: str | None, limit: int, as_json: bool) -> None:
    """Bản ghi và lượt gửi theo khóa / records and deliveries by business key."""

    async def work(house: House) -> list[dict[str, Any]]:
        async with house.core.pool.acquire() as connection:
            rows = await connection.fetch(sql.cli_records, key, limit)
            deliveries = await connection.fetch(sql.receipt_deliveries, [r["id"] for r in rows])
        names = {n: name for name, n in house.core.connectors.items()}
        by_record: dict[int, list[str]] = {}
        for d in deliveries:
            by_record.setdefault(d["record"], []).append(f"{names.get(d['connector'])}: {State(d['state']).word}")
        return [dict(r) | {"deliveries": by_record.get(r["id"], [])} for r in rows]

    found = with_house(work)

    def table() -> Table:
        shown = _table(
            "Bản ghi / Records", "id", "loại / type", "khóa / key", "phiên bản / version", "lượt gửi / deliveries"
        )
        for r in found:
            shown.add_row(str(r["id"]), r["type"], r["key"], f"{r['event']} {r['version']}", "\n".join(r["deliveries"]))
        return shown

    _show(found, as_json, table)


@click.command()
@click.option("--assumptions", "catalogue", is_flag=True, help="Chỉ in các giả định / only print what is assumed")
@click.option("--seals", is_flag=True, help="Tính lại cả chuỗi niêm phong / compute the journal's whole chain anew")
def check(catalogue: bool, seals: bool) -> None:
    """Đối soát sổ cái; khác 0 khi lệch / check the ledger's accounts; non-zero when they are off."""
    if catalogue:
        for line in assumptions.lines(assumptions.gather(ROOT)):
            click.echo(line)
        return
    account = with_house(lambda house: accounting.account(house.core))
    table = _table("Đối soát / Accounts", "", "")
    for name, value in msgspec.to_builtins(account).items():
        table.add_row(name, json.dumps(value, ensure_ascii=False))
    screen.print(table)
    with_house(commands_gates.doors)
    if not account.balanced:
        raise click.ClickException(f"Lệch / off by: {account.differences}")
    screen.print("✔ Khớp / balanced")
    if seals:
        broken = with_house(lambda house: upkeep.verify_seals(house.core))
        if broken:
            raise click.ClickException(f"Niêm phong bị hỏng / broken seals: {', '.join(map(str, broken))}")
        screen.print("✔ Nhật ký nguyên vẹn / the journal is whole")


# ------------------------------------------------------------------------------------------------ acting


@click.command()
@click.option("--delivery", "deliveries", multiple=True, type=int)
@click.option("--message", type=int)
@click.option("--connector")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([s.word for s in FINAL]),
    default=("dead", "cancelled"),
    show_default=True,
)
@click.option("--since", type=click.DateTime(), help="UTC")
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S"]),
    help="UTC; để làm tiếp một lệnh bị ngắt / to go on with an order that was cut off",
)
@click.option("--remap/--as-sent", default=False, help="Ánh xạ lại / gửi nguyên văn")
@why_option()
@click.option("--yes", is_flag=True, help="Không hỏi lại / do not ask")
def replay(
    deliveries: tuple[int, ...],
    message: int | None,
    connector: str | None,
    states: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    remap: bool,
    why: str,
    yes: bool,
) -> None:
    """Gửi lại: xem kế hoạch rồi mới làm / send again: the plan first."""
    wanted = replays.ReplayFilter(
        deliveries=list(deliveries) or None, message=message, connector=connector, states=[State[s.upper()] for s in states],
        since=since.replace(tzinfo=UTC) if since else None, until=until.replace(tzinfo=UTC) if until else None,
    )  # fmt: skip

    async def plan(house: House) -> replays.ReplayPlan:
        return await replays.plan_replay(house.core, wanted)

    async def go(house: House) -> replays.ReplayResult:
        pinned = replace(wanted, until=wanted.until or planned.as_of)
        return await replays.replay(house.core, _ACTOR, pinned, "remap" if remap else "as_sent", why)

    try:
        planned = with_house(plan)
    except (ValueError, KeyError) as error:
        raise click.ClickException(str(error)) from None
    screen.print(f"Sẽ gửi lại / would send again: {planned.count}  {planned.by_connector}")
    # A moment names an order: given again it queues what is missing, and says how far what was replayed before has come.
    if (planned.count or until) and (yes or click.confirm("Tiếp tục? / Go on?")):
        screen.print(
            f"Nếu bị ngắt, chạy lại với / if cut off, run again with: --until {planned.as_of:%Y-%m-%dT%H:%M:%S.%f}"
        )
        done = with_house(go)
        screen.print(f"Yêu cầu / asked: {done.asked}   đã xếp hàng / queued: {done.queued}")
        screen.print(
            f"Đã gửi lại từ trước / replayed before: {done.before}   trong đó đã xong / of which done: {done.done}"
        )


@click.group()
def codes() -> None:
    """Bảng mã / code tables."""


@codes.command("unmapped")
@click.option("--json", "as_json", is_flag=True)
def codes_unmapped(as_json: bool) -> None:
    """Mã chưa có nghĩa / codes waiting for a meaning."""

    async def work(house: House) -> list[dict[str, Any]]:
        async with house.core.pool.acquire() as connection:
            return [dict(r) for r in await connection.fetch(sql.tasks_unmapped_open)]

    found = with_house(work)

    def table() -> Table:
        shown = _table("Mã chờ / Waiting codes", "mã / code", "ứng viên / candidates")
        for t in found:
            shown.add_row(t["subject"], ", ".join(map(str, (t["data"] or {}).get("candidates", []))))
        return shown

    _show(found, as_json, table)


@codes.command("approve")
@click.argument("source_system")
@click.argument("code")
@click.argument("target_system")
@click.argument("canonical")
@why_option()
def codes_approve(source_system: str, code: str, target_system: str, canonical: str, why: str) -> None:
    """Duyệt nghĩa một mã và thả đúng những gì chờ nó / approve a code, release what waited for it."""
    moved = with_house(
        lambda house: operations.approve_code(house.core, _ACTOR, source_system, code, target_system, canonical, why)
    )
    screen.print(f"Đã thả / released: {moved}")


@click.command()
@click.argument("record", type=int)
@click.argument("data", type=click.File("rb"), required=False)
@why_option(required=False, when="khi có tệp / with a file")
def correct(record: int, data: Any, why: str | None) -> None:
    """Sửa rồi gửi lại một bản ghi; không có tệp: in nội dung hiện có / correct and resend; without a file: show the content."""

    said = needed(why) if data is not None else ""

    async def work(house: House) -> Any:
        if data is None:
            return corrections.as_pushed((await corrections.original(house.core, record))["body"])
        return await corrections.edit_and_resend(house.core, _ACTOR, record, json.loads(data.read()), said, EVERYWHERE)

    try:
        found = with_house(work)
    except (corrections.NoSuchRecord, json.JSONDecodeError) as error:
        raise click.ClickException(str(error) or str(error.__doc__)) from None
    if data is None:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
    elif isinstance(found, list):
        raise click.ClickException("; ".join(f"{r.pointer}: {r.message.vi} / {r.message.en}" for r in found))
    else:
        screen.print(f"Đã gửi lại thành bản tin / sent again as message {found.message}")


@click.group()
def users() -> None:
    """Người dùng bảng điều khiển / console users."""


@users.command("reset")
@click.argument("name")
@why_option()
def users_reset(name: str, why: str) -> None:
    """Mật khẩu một lần mới / a new one-time password."""
    password = with_house(lambda house: people.reset_password(house.core, _ACTOR, name, why))
    if password is None:
        raise click.ClickException("Không có người dùng này. / No such user.")
    click.echo(password)


ALL: tuple[click.Command, ...] = (
    status,
    messages,
    check,
    replay,
    correct,
    codes,
    users,
    *commands_connectors.ALL,
    *commands_given.ALL,
    *commands_evidence.ALL,
    *commands_sampling.ALL,
    *commands_queries.ALL,
    *commands_gates.ALL,
)
