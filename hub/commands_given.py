"""Commands about what counterparties were given: the comparison, and what waits for something to be delivered first.

One concern: showing and ordering from a shell. It must never decide what differs.
"""

from __future__ import annotations

import time

import click
import msgspec

from hub.commands_reasons import needed, why_option
from hub.kernel.ledger import delta, waits
from hub.wiring import House


@click.command()
@click.argument("connector")
@click.option("--json", "as_json", is_flag=True)
def compare(connector: str, as_json: bool) -> None:
    """So với bản đối tác nhận gần nhất, xếp hàng phần khác / compare with what was last given, queue the difference."""
    from hub.commands import screen, with_house
    from mappings.fieldmap import load_field_maps

    async def work(house: House) -> delta.Compared:
        number = house.core.connectors.get(connector)
        if number is None:
            raise click.ClickException(f"Không có kết nối / no connector {connector!r}")
        maps, found, began = load_field_maps(), delta.Compared(), time.monotonic()
        while True:
            found.add(await delta.compare(house.core, "cli", number, maps, after=found.next))
            if not as_json:
                rate = found.compared / max(time.monotonic() - began, 0.001)
                screen.print(
                    f"{found.compared:,} đã so / compared ({rate:,.0f}/s) · {found.queued:,} xếp hàng / queued · "
                    f"{found.on_their_way:,} đang gửi / on their way · {found.unmapped:,} thiếu mã / unmapped"
                )
            if found.next is None:
                return found

    found = with_house(work)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())


@click.command("waiting")
@click.option("--send", "name", help="Gửi luôn những gì chờ mục này / send what waits for this without it")
@click.option("--connector", help="Kết nối / connector (with --send)")
@why_option(required=False, when="với / with --send")
def waiting(name: str | None, connector: str | None, why: str | None) -> None:
    """Lượt gửi đang chờ dữ liệu phải có trước / deliveries waiting for something to be delivered first."""
    from hub.commands import screen, with_house

    if name and not connector:
        raise click.ClickException("Cần --connector / --connector is needed")
    said = needed(why) if name else ""

    async def work(house: House) -> list[str]:
        if name:
            number = house.core.connectors.get(str(connector))
            if number is None:
                raise click.ClickException(f"Không có kết nối / no connector {connector!r}")
            moved = await waits.send_anyway(house.core, "cli", number, name, said, None)
            return [f"{moved} lượt gửi được thả / deliveries let go"]
        names = {n: c for c, n in house.core.connectors.items()}
        return [
            f"{names.get(r['connector'])}: {r['n']} ⟶ {r['waits_for']}" for r in await waits.waiting(house.core, None)
        ] or ["Không có / none"]

    for line in with_house(work):
        screen.print(line)


ALL: tuple[click.Command, ...] = (compare, waiting)
