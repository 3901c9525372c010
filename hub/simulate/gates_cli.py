"""`hub simulate gates`: a city of gates against the hub that runs on this machine.

One concern: the command line of the load. It must never run against a hub with a connector to a real system.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hub.simulate.gates import PROFILES, Crowd, Phase, Profile, play
from hub.simulate.gates_books import Proof, Reading, prove
from hub.wiring import House

_SHOWN = 5
_KNOWN_AFTER_S = 6.0
"""By then the gateway has read the registry again, and the broker its users."""


class Result(msgspec.Struct, kw_only=True):
    """A whole run, as `--json` writes it."""

    gates: int
    families: dict[str, int]
    registered_s: float
    connected_s: float
    phases: list[Phase]
    repeats: int
    settled: bool
    """Whether the gates had an acknowledgement for everything they hold, stored events included, and the hub had read
    all lists."""
    reading: Reading
    proof: Proof


@click.command(help="Cả thành phố cổng điểm danh với trục đang chạy / a city of gates against the hub that runs here")
@click.option("--count", type=click.IntRange(5, 20_000), default=1_700, show_default=True, help="Số cổng / gates")
@click.option("--profile", "name", type=click.Choice(sorted(PROFILES)), default="peak", show_default=True)
@click.option("--rate", type=click.FloatRange(1, 100_000), help="Lượt mỗi giây / events per second")
@click.option("--seconds", type=click.FloatRange(1, 86_400), help="Thời gian phần trực tiếp / length of the live part")
@click.option("--stored", type=click.IntRange(0, 10_000_000), help="Lượt lưu sẵn / stored events released at once")
@click.option("--keep", is_flag=True, help="Giữ đăng ký các cổng / leave the gates registered")
@click.option(
    "--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Ghi kết quả / write the result"
)
def gates(
    count: int,
    name: str,
    rate: float | None,
    seconds: float | None,
    stored: int | None,
    keep: bool,
    target: Path | None,
) -> None:
    """Entry point."""
    import uvloop

    from hub import commands
    from hub.simulate.gates import TooFewFiles
    from hub.simulate.prepare import NotOurs

    given = {"rate": rate, "live_s": seconds, "stored": stored}
    profile = msgspec.structs.replace(PROFILES[name], **{k: v for k, v in given.items() if v is not None})
    uvloop.install()
    try:
        result = commands.with_house(lambda house: run(house, count, profile, keep=keep))
    except (NotOurs, TooFewFiles, TimeoutError) as error:
        raise click.ClickException(f"{error.__doc__} {error}") from None
    show(result)
    if target is not None:
        target.write_bytes(msgspec.json.encode(result))
    sys.exit(0 if result.proof.holds and result.settled and not result.proof.unacknowledged else 1)


async def run(house: House, count: int, profile: Profile, *, keep: bool = False) -> Result:
    """Register, connect, play, compare, revoke. Raises `NotOurs`, `TooFewFiles`, `TimeoutError`, `ClickException`."""
    from hub.embedded.supervisor import read_status
    from hub.simulate import gates_fleet as fleet
    from hub.simulate.gates_asked import ask, ask_no_more, left_out, read

    status = read_status(house.settings.data_dir)
    told = status.get("notes", {})
    notes = told.get("addresses")
    if not notes or not status.get("running"):
        raise click.ClickException("Trục chưa chạy trên máy này. / The hub does not run on this machine.")
    await fleet.ours_alone(house.core)
    screen = Console(highlight=False, soft_wrap=True)
    specs = fleet.specs(count)
    if missed := left_out(specs, told.get("gate_networks", ())):
        specs = [spec for spec in specs if spec not in missed]
        screen.print(
            f"{len(missed)} cổng được hỏi danh sách đứng ngoài: outward.gate_networks của trục chưa có 127.0.0.0/8 / gates that "
            "are asked for lists are left out: the hub's outward.gate_networks lacks 127.0.0.0/8"
        )
    began, since = time.perf_counter(), datetime.now(UTC)
    await fleet.register(house.core, house.keys, specs)
    registered = time.perf_counter() - began
    try:
        screen.print(f"Đã đăng ký {len(specs)} cổng trong {registered:.1f} s / {len(specs)} gates registered")
        await asyncio.sleep(_KNOWN_AFTER_S)
        web = urlsplit(notes["gateway"])
        pids = {n: int(c["pid"]) for n, c in status.get("children", {}).items() if c.get("pid")}
        crowd = Crowd(
            specs,
            (notes["mqtt"][0], int(notes["mqtt"][1])),
            (str(web.hostname), int(web.port or 80)),
            house.settings.data_dir / "gates-books.tsv",
            pids,
        )
        # A collection of everything the hub's modules brought would stand in the middle of a measurement.
        gc.collect()
        gc.freeze()
        connected = await crowd.open()
        screen.print(f"{len(crowd.mqtt)} cổng MQTT đã nối trong {connected:.1f} s / MQTT gates connected")
        phases = []
        try:
            await ask(house.core, house.keys, specs, crowd.lists.address)
            async for phase in play(crowd, profile):
                phases.append(phase)
                screen.print(_line(phase), markup=False)
            settled = await crowd.settled(30)
            reading = await read(house.core, crowd.lists.last)
        finally:
            await ask_no_more(house.core, specs)  # whether the gates stay or not: nobody serves their lists any more
        waiting = crowd.waiting()
        await crowd.close()
        proof = await prove(house.core, crowd.books, waiting, [s.code for s in fleet.schools()], since)
        families: dict[str, int] = {}
        for spec in specs:
            families[spec.family] = families.get(spec.family, 0) + 1
        return Result(
            gates=len(specs),
            families=families,
            registered_s=round(registered, 2),
            connected_s=round(connected, 2),
            phases=phases,
            repeats=crowd.repeats,
            settled=settled and not reading.behind,
            reading=reading,
            proof=proof,
        )
    finally:
        if not keep:
            await fleet.revoke(house.core, specs)


def _line(phase: Phase) -> str:
    shares = ", ".join(f"{name} {share:.2f}" for name, share in phase.cpu.items() if share >= 0.01)
    held = f" giữ lại / held back {phase.held_back:,};" if phase.held_back else ""
    return (
        f"{phase.name}:{held} {phase.acknowledged:,}/{phase.sent:,} ({phase.acknowledged / phase.seconds:,.0f}/s), "
        f"p50 {phase.p50_ms} ms, p99 {phase.p99_ms} ms, max {phase.worst_ms} ms; {phase.note} [cpu {shares}]"
    )


def _read(result: Result) -> str:
    """What became of the lists of gates that are asked."""
    reading, proof = result.reading, result.proof
    behind = f"chưa đọc hết / not read through: {', '.join(reading.behind[:_SHOWN])}; " if reading.behind else ""
    faults = "".join(f"\n  {device}: {said}" for device, said in list(reading.faults.items())[:_SHOWN])
    return (
        f"{reading.gates} cổng được hỏi danh sách / gates that are asked: {proof.listed:,} lượt trong danh sách / passages listed; "
        f"{behind}tuổi khi được lưu / age when stored: p50 {proof.listed_p50_s} s, max {proof.listed_oldest_s} s; "
        f"chờ đọc nốt / waited for the rest {reading.waited_s} s{faults}"
    )


def show(result: Result) -> None:
    """The result as two tables."""
    screen = Console(highlight=False, soft_wrap=True)
    table = Table(title=f"{result.gates} cổng / gates", title_justify="left")
    headings = (
        "Phần\nPart",
        "Gửi\nSent",
        "Xác nhận\nAcked",
        "Lưu sẵn\nStored",
        "Ghi sổ\nListed",
        "ms\np50",
        "ms\np99",
        "ms\nmax",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading.startswith("Phần") else "right")
    for p in result.phases:
        figures = (p.sent, p.acknowledged, p.released, p.listed, p.p50_ms, p.p99_ms, p.worst_ms)
        table.add_row(p.name, *(f"{n:,}" for n in figures))
    screen.print(table)
    proof = result.proof
    mark = "[bold green]✔[/bold green]" if proof.holds else "[bold red]✘[/bold red]"
    screen.print(
        f"{mark} {proof.acknowledged:,} lượt được xác nhận, {proof.stored:,} đã lưu / acknowledged and stored; mất / lost {proof.lost}, "
        f"trùng / doubled {proof.doubled}, lạ / strange {proof.strange}, đối soát / accounting {proof.differences or 'ok'}; "
        f"chưa xác nhận / unacknowledged {proof.unacknowledged}, gửi lại / sent again {result.repeats}; "
        f"cổng không nghe phản hồi / gates that hear nothing: {proof.silent - proof.unheard:,}/{proof.silent:,}"
    )
    if result.reading.gates:
        screen.print(_read(result), markup=False)
    for example in proof.examples:
        screen.print(f"  [red]{example}[/red]")
