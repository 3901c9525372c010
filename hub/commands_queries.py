"""Commands about who may ask the hub over the exchange.

One concern: granting and withdrawing. It must never answer a query.
"""

from __future__ import annotations

import click

from hub.commands_reasons import why_option
from hub.kernel.access import EVERYWHERE, Scope
from hub.kernel.ledger import queries as ledger
from hub.wiring import House


@click.group(invoke_without_command=True)
@click.pass_context
def queries(context: click.Context) -> None:
    """Phân hệ nào được hỏi gì / which subsystem may ask what."""
    if context.invoked_subcommand is not None:
        return
    from hub.commands import with_house

    async def work(house: House) -> list[str]:
        rows = await ledger.grants(house.core)
        return [f"{r['subsystem']}  {r['name']}  {r['scope_kind']} {r['scope_code'] or ''}".rstrip() for r in rows]

    for line in with_house(work) or ["Chưa cấp cho ai / granted to nobody"]:
        click.echo(line)


@queries.command()
@click.argument("subsystem")
@click.argument("name", type=click.Choice(sorted(ledger.QUERIES)))
@click.option("--school", help="Chỉ trường này / this school only")
@click.option("--ward", help="Chỉ phường, xã này / this ward only")
@why_option()
def grant(subsystem: str, name: str, school: str | None, ward: str | None, why: str) -> None:
    """Cho phép / let a subsystem (INSTANCE/CLASS/MEMBER/SUBSYSTEM) ask."""
    from hub.commands import with_house

    scope = Scope("school", school) if school else Scope("ward", ward) if ward else EVERYWHERE
    with_house(lambda house: ledger.grant(house.core, "cli", subsystem, name, scope, why))
    click.echo("✔")


@queries.command()
@click.argument("subsystem")
@click.argument("name")
@why_option()
def withdraw(subsystem: str, name: str, why: str) -> None:
    """Thu hồi / let it ask no more."""
    from hub.commands import with_house

    if not with_house(lambda house: ledger.withdraw(house.core, "cli", subsystem, name, why)):
        raise click.ClickException("Không có quyền này / there is no such grant")
    click.echo("✔")


ALL: tuple[click.Command, ...] = (queries,)
