"""`hub`: everything the console does, from a shell, and the processes of the hub themselves.

Speaks to the same ledger as the console. It must never print a secret, but for a one-time password it has just made.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hub import docs as documents
from hub.embedded.area import open_area
from hub.embedded.lock import AlreadyRunning
from hub.embedded.postgres import EmbeddedPostgres
from hub.embedded.redis import EmbeddedRedis
from hub.embedded.supervisor import ChildFailed, read_status
from hub.kernel.ledger import accounting, operations, people
from hub.kernel.lifecycle import FINAL, State
from hub.kernel.ports import Text
from hub.kernel.store.db import sql
from hub.settings import Settings, SettingsError, load
from hub.wiring import House, open_house

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


def _with_house(work: Callable[[House], Awaitable[T]]) -> T:
    """Run `work` against the hub's database: the one settings name, or the embedded one of this data folder."""
    from pydantic import SecretStr

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


@click.group(help="Liên Thông: trục liên thông dữ liệu giáo dục / the education integration hub")
def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("zeep").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)


# ------------------------------------------------------------------------------------------------ processes


@main.command()
@click.option("--morning", is_flag=True, help="Diễn một buổi sáng / play the city morning")
@click.option("--once", is_flag=True, help="Dừng sau buổi sáng / end after the morning")
def run(morning: bool, once: bool) -> None:
    """Chạy toàn bộ trên máy này / run everything on this machine."""
    from hub import run as running

    settings = _settings()
    if morning:
        # The counterparties of the morning are simulators on this machine.
        outward = settings.outward.model_copy(
            update={"allow_private": (*settings.outward.allow_private, "127.0.0.0/8")}
        )
        settings = settings.model_copy(update={"outward": outward})

    async def work(up: running.Running) -> int:
        ok = True
        if morning:
            from hub.simulate import morning as play

            run_dir = settings.data_dir / "morning"
            ok = await play(up.house, up.settings, up.supervisor, up.url, up.mqtt, run_dir, up.renew_devices)
        if once:
            return 0 if ok else 1
        return await running.serve_forever(up)

    try:
        code = asyncio.run(running.run(settings, work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        screen.print("Đã dừng. / Stopped.")
        code = 0
    except (AlreadyRunning, ChildFailed) as error:
        raise click.ClickException(str(error)) from None
    sys.exit(code)


@main.command()
def gateway() -> None:
    """Tiến trình cổng HTTP / the HTTP process."""
    import uvicorn

    from hub.app import create

    settings = _settings()
    config = uvicorn.Config(
        create(settings), host=settings.http.host, port=settings.http.port, loop="uvloop", http="httptools", access_log=False,
        log_level="warning", timeout_graceful_shutdown=8, server_header=False,
    )  # fmt: skip
    uvicorn.Server(config).run()


@main.command()
def bridge() -> None:
    """Tiến trình cầu nối cổng điểm danh / the devices' bridge process."""
    import uvloop

    from hub.worker.gates import main as serve

    uvloop.run(serve(_settings()))


@main.command()
def worker() -> None:
    """Tiến trình gửi / a dispatching process."""
    import uvloop

    from hub.embedded.airflow_client import AirflowClient
    from hub.wiring import airflow_link
    from hub.worker.main import main as work

    async def go() -> None:
        settings = _settings()
        link = airflow_link(settings)
        await work(settings, AirflowClient(link) if link else None)

    uvloop.run(go())


# ------------------------------------------------------------------------------------------------ looking


@main.command()
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

    found = _with_house(work)

    def table() -> Table:
        shown = _table("Kết nối / Connectors", "tên / name", "trạng thái / state", "tồn / backlog")
        for c in found["connectors"]:
            parts = [f"{state} {x['count']} (≤ {x['oldest_s']:.0f}s)" for state, x in c["backlog"].items()]
            shown.add_row(c["name"], c["state"], ", ".join(parts) or "–")
        mark = "✔" if found["account"]["balanced"] else f"✘ {found['account']['differences']}"
        shown.caption = f"Đối soát / accounting identity: {mark}"
        return shown

    _show(found, as_json, table)


@main.command()
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

    found = _with_house(work)

    def table() -> Table:
        shown = _table(
            "Bản ghi / Records", "id", "loại / type", "khóa / key", "phiên bản / version", "lượt gửi / deliveries"
        )
        for r in found:
            shown.add_row(str(r["id"]), r["type"], r["key"], f"{r['event']} {r['version']}", "\n".join(r["deliveries"]))
        return shown

    _show(found, as_json, table)


@main.command()
def check() -> None:
    """Đối soát sổ cái; khác 0 khi lệch / check the ledger's accounts; non-zero when they are off."""
    account = _with_house(lambda house: accounting.account(house.core))
    table = _table("Đối soát / Accounts", "", "")
    for name, value in msgspec.to_builtins(account).items():
        table.add_row(name, json.dumps(value, ensure_ascii=False))
    screen.print(table)
    if not account.balanced:
        raise click.ClickException(f"Lệch / off by: {account.differences}")
    screen.print("✔ Khớp / balanced")


# ------------------------------------------------------------------------------------------------ acting


@main.command()
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
@click.option("--remap/--as-sent", default=False, help="Ánh xạ lại / gửi nguyên văn")
@click.option("--why", default="cli")
@click.option("--yes", is_flag=True, help="Không hỏi lại / do not ask")
def replay(
    deliveries: tuple[int, ...],
    message: int | None,
    connector: str | None,
    states: tuple[str, ...],
    since: datetime | None,
    remap: bool,
    why: str,
    yes: bool,
) -> None:
    """Gửi lại: xem kế hoạch rồi mới làm / send again: the plan first."""
    from datetime import UTC

    wanted = operations.ReplayFilter(
        deliveries=list(deliveries) or None, message=message, connector=connector, states=[State[s.upper()] for s in states],
        since=since.replace(tzinfo=UTC) if since else None,
    )  # fmt: skip

    async def plan(house: House) -> operations.ReplayPlan:
        return await operations.plan_replay(house.core, wanted)

    async def go(house: House) -> operations.ReplayResult:
        return await operations.replay(house.core, _ACTOR, wanted, "remap" if remap else "as_sent", why)

    try:
        planned = _with_house(plan)
    except (ValueError, KeyError) as error:
        raise click.ClickException(str(error)) from None
    screen.print(f"Sẽ gửi lại / would send again: {planned.count}  {planned.by_connector}")
    if planned.count and (yes or click.confirm("Tiếp tục? / Go on?")):
        done = _with_house(go)
        screen.print(f"Yêu cầu / asked: {done.asked}   đã xếp hàng / queued: {done.queued}")


@main.group()
def connectors() -> None:
    """Các kết nối / connectors."""


@connectors.command("list")
@click.option("--json", "as_json", is_flag=True)
def connectors_list(as_json: bool) -> None:
    """Liệt kê / list."""

    async def work(house: House) -> list[dict[str, Any]]:
        async with house.core.pool.acquire() as connection:
            rows = await connection.fetch(sql.connectors_all)
        return [{k: r[k] for k in ("name", "system", "state", "revision", "pause_cause", "settings")} for r in rows]

    found = _with_house(work)

    def table() -> Table:
        shown = _table(
            "Kết nối / Connectors", "tên / name", "hệ thống / system", "trạng thái / state", "địa chỉ / address"
        )
        for c in found:
            shown.add_row(c["name"], c["system"], c["state"], str(c["settings"].get("transport", {}).get("url", "")))
        return shown

    _show(found, as_json, table)


@connectors.command("pause")
@click.argument("name")
@click.option("--why", required=True)
def connectors_pause(name: str, why: str) -> None:
    """Tạm dừng / pause."""
    done = _with_house(lambda house: operations.pause(house.core, _ACTOR, name, Text(why, why)))
    screen.print("Đã tạm dừng / paused" if done else "Không đổi / unchanged")


@connectors.command("resume")
@click.argument("name")
def connectors_resume(name: str) -> None:
    """Mở lại / resume."""
    done = _with_house(lambda house: operations.resume(house.core, _ACTOR, name))
    screen.print("Đã mở lại / resumed" if done else "Không đổi / unchanged")


@main.group()
def codes() -> None:
    """Bảng mã / code tables."""


@codes.command("unmapped")
@click.option("--json", "as_json", is_flag=True)
def codes_unmapped(as_json: bool) -> None:
    """Mã chưa có nghĩa / codes waiting for a meaning."""

    async def work(house: House) -> list[dict[str, Any]]:
        async with house.core.pool.acquire() as connection:
            return [dict(r) for r in await connection.fetch(sql.tasks_unmapped_open)]

    found = _with_house(work)

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
@click.option("--why", required=True)
def codes_approve(source_system: str, code: str, target_system: str, canonical: str, why: str) -> None:
    """Duyệt nghĩa một mã và thả đúng những gì chờ nó / approve a code, release what waited for it."""
    moved = _with_house(
        lambda house: operations.approve_code(house.core, _ACTOR, source_system, code, target_system, canonical, why)
    )
    screen.print(f"Đã thả / released: {moved}")


@main.group()
def users() -> None:
    """Người dùng bảng điều khiển / console users."""


@users.command("reset")
@click.argument("name")
def users_reset(name: str) -> None:
    """Mật khẩu một lần mới / a new one-time password."""
    password = _with_house(lambda house: people.reset_password(house.core, _ACTOR, name))
    if password is None:
        raise click.ClickException("Không có người dùng này. / No such user.")
    click.echo(password)


# ------------------------------------------------------------------------------------------------ papers


@main.command()
@click.option("--check", "only_check", is_flag=True, help="Chỉ kiểm tra / only check")
def docs(only_check: bool) -> None:
    """Vẽ lại tài liệu sinh từ mã / write the documents that are drawn from code."""
    stale = documents.refresh(write=not only_check)
    if only_check and stale:
        raise click.ClickException("Cần chạy `hub docs` / run `hub docs`: " + ", ".join(stale))
    screen.print(
        "Tài liệu khớp với mã. / The documents match the code."
        if not stale
        else "Đã ghi / written: " + ", ".join(stale)
    )


def _simulate() -> click.Command:
    from hub.simulate.single import simulate

    return simulate


class _Late(click.Group):
    """Loads the simulators' commands only when asked for them."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        group = _simulate()
        return group.get_command(ctx, name) if isinstance(group, click.Group) else None

    def list_commands(self, ctx: click.Context) -> list[str]:
        group = _simulate()
        return group.list_commands(ctx) if isinstance(group, click.Group) else []


main.add_command(_Late("simulate", help="Giả lập đối tác / simulate counterparties"))


if __name__ == "__main__":
    main()
