"""Commands about evidence: the pack of a record, and the anchors packs lead to.

One concern: asking and writing a file. It must never write one before the purpose is in the journal.
"""

from __future__ import annotations

from pathlib import Path

import click

from hub.evidence.pack import pack
from hub.evidence.verify import EXIT, Altered, check, told
from hub.kernel.access import EVERYWHERE
from hub.kernel.firewall_names import NO_PURPOSE, stated
from hub.kernel.ledger import evidence as ledger
from hub.kernel.ledger import operations
from hub.kernel.ledger.given_codes import TEMPORARY
from hub.wiring import House


@click.command()
@click.argument("wanted")
@click.option(
    "--type", "type_name", help="Loại bản ghi khi cho mã nghiệp vụ / record type when a business key is given"
)
@click.option("--purpose", required=True, help="Mục đích, được ghi vào nhật ký / what for; goes into the journal")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Tệp .zip / where to")
def evidence(wanted: str, type_name: str | None, purpose: str, out: Path | None) -> None:
    """Gói bằng chứng của một bản ghi, hay của cả một hồ sơ / the evidence pack of a record, or of a whole filing (its number, or
    --type and key)."""
    from hub.commands import screen, with_house

    said = stated(purpose)
    if said is None:
        raise click.ClickException(f"{NO_PURPOSE.vi} / {NO_PURPOSE.en}")

    async def work(house: House) -> tuple[int, bytes]:
        record = await ledger.find(house.core, wanted, type_name)
        found = await ledger.gather_whole(house.core, record, EVERYWHERE) if record is not None else None
        if record is None or found is None:
            hint = ""
            if type_name is not None and wanted.startswith(TEMPORARY) and "@" not in wanted:
                hint = " (mã tạm: MÃ@TRƯỜNG / a temporary code: CODE@SCHOOL)"
            raise click.ClickException(f"Không có bản ghi / no record {wanted!r}{hint}")
        await operations.unmask(house.core, "cli", record, said, *(n for n in found.numbers if n != record))
        return record, pack(found)

    record, data = with_house(work)
    path = out or Path(f"evidence-{record}.zip")
    path.write_bytes(data)
    try:
        found = check(data)
    except Altered as error:
        raise click.ClickException(f"Sổ không khớp chính nó / the ledger does not agree with itself: {error}") from None
    for line in told(found):
        screen.print(line, soft_wrap=True)
    screen.print(f"→ {path}")
    if found.state != "proven":
        raise SystemExit(EXIT[found.state])


@click.command()
def anchors() -> None:
    """Mốc neo mỗi ngày: hãy giữ một bản ở ngoài trục / the daily anchors: keep a copy outside the hub."""
    from hub.commands import with_house

    async def work(house: House) -> list[str]:
        await ledger.anchor(house.core)
        return [f"{r['day']}  {r['seal']:>10}  {r['chain'].hex()}" for r in await ledger.anchors(house.core)]

    for line in with_house(work):
        click.echo(line)


ALL: tuple[click.Command, ...] = (evidence, anchors)
