"""`hub`: everything the console does, from a shell, and the processes of the hub themselves.

Speaks to the same ledger as the console. It must never print a secret, but for a one-time password it has just made,
nor load for a resident process what only the other commands need.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import click

from hub import lean
from hub.kernel import firewall_log
from hub.settings import Settings, SettingsError, load


def _settings() -> Settings:
    try:
        return load()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


class _Commands(click.Group):
    """The processes and papers below; everything else is loaded only when it is asked for, by name or in a list."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return super().get_command(ctx, name) or self._others().get(name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._others()})

    def _others(self) -> dict[str, click.Command]:
        from hub import commands

        return {command.name: command for command in commands.ALL if command.name}


@click.group(cls=_Commands, help="Liên Thông: trục liên thông dữ liệu giáo dục / the education integration hub")
def main() -> None:
    """Entry point."""
    firewall_log.guard()
    sys.excepthook = firewall_log.uncaught
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("zeep").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # While the database is away each pool says so again and again.
    logging.getLogger("asyncpg.pool").addFilter(firewall_log.in_a_line)


# ------------------------------------------------------------------------------------------------ processes


@main.command()
@click.option("--morning", is_flag=True, help="Diễn một buổi sáng / play the city morning")
@click.option("--once", is_flag=True, help="Dừng sau buổi sáng / end after the morning")
def run(morning: bool, once: bool) -> None:
    """Chạy toàn bộ trên máy này / run everything on this machine."""
    from hub import run as running
    from hub.embedded.lock import AlreadyRunning
    from hub.embedded.supervisor import ChildFailed

    settings = _settings()
    if morning:
        # The counterparties of the morning are simulators on this machine, and so are gates that are asked for their lists.
        here, kept = "127.0.0.0/8", settings.outward
        outward = kept.model_copy(
            update={"allow_private": (*kept.allow_private, here), "gate_networks": (*kept.gate_networks, here)}
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
        click.echo("Đã dừng. / Stopped.")
        code = 0
    except (AlreadyRunning, ChildFailed) as error:
        raise click.ClickException(str(error)) from None
    sys.exit(code)


@main.command()
def gateway() -> None:
    """Tiến trình cổng HTTP / the HTTP process."""
    lean.leave_out()
    import uvicorn

    from hub.app import create
    from hub.wiring import database_ready

    settings = _settings()
    # Here, where a signal ends it at once: the server hears none before its application has started.
    asyncio.run(database_ready(settings))
    config = uvicorn.Config(
        create(settings), host=settings.http.host, port=settings.http.port, loop="uvloop", http="httptools", access_log=False,
        log_level="warning", timeout_graceful_shutdown=7, server_header=False,
    )  # fmt: skip
    # uvicorn ends in good order, then gives itself the signal again: that is no reason to look as if killed by it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.Server(config).run()


@main.command()
def bridge() -> None:
    """Tiến trình cầu nối cổng điểm danh / the devices' bridge process."""
    lean.leave_out()
    import uvloop

    from hub.worker.gates import main as serve

    uvloop.run(serve(_settings()))


@main.command()
def worker() -> None:
    """Tiến trình gửi / a dispatching process."""
    lean.leave_out()
    import uvloop

    from hub.embedded.airflow_client import AirflowClient
    from hub.wiring import airflow_link
    from hub.worker.main import main as work

    async def go() -> None:
        settings = _settings()
        link = airflow_link(settings)
        if link is None:
            await work(settings)
            return
        async with AirflowClient(link) as airflow:
            await work(settings, airflow)

    uvloop.run(go())


# ------------------------------------------------------------------------------------------------ papers


@main.command()
@click.option("--check", "only_check", is_flag=True, help="Chỉ kiểm tra / only check")
def docs(only_check: bool) -> None:
    """Vẽ lại tài liệu sinh từ mã / write the documents that are drawn from code."""
    from hub import docs as documents

    stale = documents.refresh(write=not only_check)
    if only_check and stale:
        raise click.ClickException("Cần chạy `hub docs` / run `hub docs`: " + ", ".join(stale))
    click.echo(
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
