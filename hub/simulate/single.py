"""`hub simulate`: one counterparty's simulator by itself, its faults, and a morning against a hub that runs already.

One concern: the command line of this package. It must never touch a simulator but over its own controls.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import aiohttp
import click
import orjson

from adapters.twin import FAULTS
from hub.simulate.gates_cli import gates
from hub.simulate.prepare import SYSTEMS
from hub.wiring import ROOT, House

_SECONDS = re.compile(r"\d{1,6}(\.\d{1,3})?")
_TITLES = {
    "ministry": "Bộ GDĐT / the Ministry",
    "population": "CSDL dân cư / the population database",
    "public_service": "Cổng DVC / the public-service portal",
}


@click.group(help="Giả lập đối tác / simulate counterparties")
def simulate() -> None:
    """The group that `hub simulate` loads."""


def _one(system: str) -> click.Command:
    @click.option("--port", default=0, show_default=True, help="0: cổng trống / a free one")
    @click.option("--books", type=click.Path(dir_okay=False, path_type=Path), help="Tệp sổ sách / file of its books")
    @click.option(
        "--people",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Người giả lập / synthetic people",
    )
    @click.option("--fault", "faults", multiple=True, metavar="KIND[:SECONDS]", help=", ".join(FAULTS))
    def run(port: int, books: Path | None, people: Path | None, faults: tuple[str, ...]) -> None:
        argv = [sys.executable, "-m", f"adapters.{system}.simulator", "--port", str(port)]
        if books is not None:
            argv += ["--books", str(books.absolute())]
        if people is not None and system == "population":
            argv += ["--people", str(people.absolute())]
        for fault in faults:
            kind, _, seconds = fault.partition(":")
            if kind not in FAULTS:
                raise click.BadParameter(f"{fault}; có / there are: {', '.join(FAULTS)}")
            if seconds and not _SECONDS.fullmatch(seconds):
                raise click.BadParameter(f"{fault}; số giây như 30 hoặc 2.5 / seconds such as 30 or 2.5")
            argv += ["--fault", fault]
        # In place of this process: whoever ends it by its id ends the simulator, and no child stays behind on the port.
        os.chdir(ROOT)
        os.execv(sys.executable, argv)  # noqa: S606 (no shell is wanted: our own interpreter, checked words)

    return click.command(system, help=f"Chạy giả lập {_TITLES[system]}")(run)


for _system in SYSTEMS:
    simulate.add_command(_one(_system))


simulate.add_command(gates)


@simulate.command()
@click.argument("url")
@click.argument("kind", type=click.Choice([*FAULTS, "none"]))
@click.option(
    "--for", "for_s", type=click.FloatRange(min=0, min_open=True), help="Trong bao nhiêu giây / for how many seconds"
)
@click.option("--count", type=click.IntRange(min=1), help="Bao nhiêu yêu cầu / for how many requests")
@click.option("--match", help="Chỉ yêu cầu chứa chuỗi này / only requests with this in path or body")
def fault(url: str, kind: str, for_s: float | None, count: int | None, match: str | None) -> None:
    """Bật lỗi ở giả lập đang chạy tại URL; none: tắt hết / switch a fault on at a running simulator; none: all off."""
    wanted = {"kind": kind, "for_s": for_s, "count": count, "match": match}
    said = _ask(f"{url.rstrip('/')}/_sim/fault", {k: v for k, v in wanted.items() if v is not None})
    click.echo(f"Đang bật / on: {', '.join(said.get('on', [])) or '–'}")


@simulate.command()
@click.argument("url")
def books(url: str) -> None:
    """Sổ sách của giả lập tại URL / the books of a simulator."""
    click.echo(orjson.dumps(_ask(f"{url.rstrip('/')}/_sim/books", None), option=orjson.OPT_INDENT_2).decode())


@simulate.command()
@click.option("--seed", type=int, help="Hạt giống / seed")
def morning(seed: int | None) -> None:
    """Diễn một buổi sáng với trục đang chạy (`hub run --morning`) / play a morning against the hub that runs here.

    The simulators live as long as the play; then the connectors go back to where they led.
    """
    from hub import commands
    from hub import simulate as package
    from hub.embedded.lock import AlreadyRunning
    from hub.embedded.supervisor import ChildFailed, Supervisor, read_status
    from hub.simulate.prepare import NotOurs, addresses, connect
    from hub.simulate.sender import Refused

    async def play(house: House) -> bool:
        notes = read_status(house.settings.data_dir).get("notes", {}).get("addresses")
        if not notes:
            raise click.ClickException("Trục chưa chạy trên máy này. / The hub does not run on this machine.")
        host, port = notes["mqtt"]
        run_dir = house.settings.data_dir / "morning"
        before = await addresses(house.core)

        async def followed() -> None:
            # The process that supervises the broker hears of new devices by the bell.
            await asyncio.sleep(2.0)

        try:
            # A folder of its own: the data folder's own supervisor is busy with the hub.
            async with Supervisor(run_dir / "stage") as supervisor:
                return await package.morning(
                    house,
                    house.settings,
                    supervisor,
                    notes["gateway"],
                    (host, int(port)),
                    run_dir,
                    followed,
                    seed=seed or package.SEED,
                )
        finally:
            await connect(house.core, house.keys, before)

    try:
        ok = commands.with_house(play)
    except (AlreadyRunning, ChildFailed, NotOurs, Refused, ConnectionError) as error:
        raise click.ClickException(str(error) if str(error) else str(error.__doc__)) from None
    sys.exit(0 if ok else 1)


def _ask(url: str, body: dict[str, Any] | None) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            data = None if body is None else orjson.dumps(body)
            async with http.request("GET" if body is None else "POST", url, data=data) as reply:
                if reply.status != 200:
                    raise click.ClickException(f"{url}: HTTP {reply.status}")
                found: dict[str, Any] = orjson.loads(await reply.read())
                return found

    try:
        return asyncio.run(ask())
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise click.ClickException(f"{url}: {error}") from None
