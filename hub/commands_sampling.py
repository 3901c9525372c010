"""The command that turns one stored exchange into a sample of its adapter.

One concern: asking and writing a folder. It must never read the exchange's content before the purpose is in the journal.
"""

from __future__ import annotations

from pathlib import Path

import click

from hub.kernel.firewall_names import NO_PURPOSE, stated
from hub.kernel.ledger import evidence as ledger
from hub.kernel.ledger import operations
from hub.wiring import House


@click.command()
@click.argument("number", type=click.IntRange(1, (1 << 62) - 1))
@click.option(
    "--into", required=True, type=click.Path(path_type=Path), help="Thư mục mẫu mới / new folder: adapters/<system>/samples/<name>"
)  # fmt: skip
@click.option("--purpose", required=True, help="Mục đích, được ghi vào nhật ký / what for; goes into the journal")
def sample(number: int, into: Path, purpose: str) -> None:
    """Biến một lần trao đổi đã lưu thành mẫu, dữ liệu cá nhân được thay / turn a stored exchange into a sample: number of a call or
    delivery, of an inquiry's call, or of the message a pulled page or an event told by the counterparty was stored as."""
    from hub import sampling, sampling_beside
    from hub.commands import screen, with_house

    said = stated(purpose)
    if said is None:
        raise click.ClickException(f"{NO_PURPOSE.vi} / {NO_PURPOSE.en}")

    async def work(house: House) -> sampling.Made | None:
        await operations.unmask(house.core, "cli", number, said)
        found = await ledger.exchange(house.core, number)
        if found is None:
            row = await ledger.heard(house.core, number)
            return sampling_beside.heard(house, row) if row is not None else None
        return sampling.make(house, found) if found.about is None else sampling_beside.settled(house, found)

    try:
        made = with_house(work)
        if made is None:
            raise click.ClickException(f"Không có cuộc gọi hay lượt gửi / no call or delivery {number}")
        sampling.write(made, into)
    except sampling.Refused as refused:
        raise click.ClickException(str(refused)) from None
    screen.print(f"→ {into}: {made.outcome}", soft_wrap=True)
    for place in made.blanked:
        screen.print(f"  đã xoá chữ ở / text taken out at: {place}", soft_wrap=True)
    if into.resolve().parent != Path(__file__).resolve().parent.parent / "adapters" / made.system / "samples":
        screen.print(f"  Mẫu thuộc về / it belongs in adapters/{made.system}/samples/")
    screen.print("  Hãy đọc lại trước khi giữ. / Read it before you keep it.")


ALL: tuple[click.Command, ...] = (sample,)
