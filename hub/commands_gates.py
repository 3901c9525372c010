"""`hub gates …`: the registry of gates from a shell.

One concern: showing and ordering. A secret or a code is printed by the command that made it, and by no other.
"""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click
from rich.table import Table

from hub.commands_reasons import why_option
from hub.gate_families import person_ids
from hub.kernel.ledger import gate_ids, gate_pictures, gates, persons
from hub.kernel.ledger.gates import Credential, Gate, GateRefused
from hub.kernel.store.db import sql
from hub.wiring import House

T = TypeVar("T")
_ACTOR = "cli"
_COLUMNS = (
    "id",
    "family",
    "profile",
    "title",
    "school",
    "entrance",
    "direction",
    "zone",
    "serial",
    "model",
    "person_ids",
)
_NEEDED = _COLUMNS[:7]
_FILE_MOST = 20_000


def _run(work: Callable[[House], Awaitable[T]]) -> T:
    from hub.commands import with_house

    try:
        return with_house(work)
    except GateRefused as error:
        raise click.ClickException(str(error)) from None


def _key(house: House) -> bytes:
    return house.keys.hmac("gate-code")


@click.group("gates")
def group() -> None:
    """Cổng điểm danh: đăng ký, mã, khóa, chuyển, thay, thu hồi / attendance gates: the registry."""


@group.command("list")
@click.option("--school", help="Mã trường / school code")
def listing(school: str | None) -> None:
    """Các cổng / the gates."""
    from hub.commands import screen

    async def work(house: House) -> list[Any]:
        async with house.core.pool.acquire() as connection:
            return list(await connection.fetch(sql.gates_standing, [school] if school else None, None))

    table = Table(
        "cổng / gate", "họ / family", "trường / school", "lối vào / entrance", "mã người / person ids", "trạng thái / state",
        "lệch / offset",
    )  # fmt: skip
    for r in _run(work):
        online = (
            "–" if r["seen_at"] is None else "online" if r["online"] is not False and r["silent_s"] < 600 else "offline"
        )
        offset = "–" if r["offset_s"] is None else f"{r['offset_s']:+.1f} s"
        table.add_row(
            r["id"], r["family"], r["school"], r["entrance"], gate_ids.said(r["namespace"], r["id"]),
            online if r["state"] == "active" else r["state"], offset,
        )  # fmt: skip
    screen.print(table)


def read_gates(lines: Any, otherwise: str | None = None) -> tuple[list[Gate], list[str]]:
    """Gates out of CSV (header: `id,family,profile,title,school,entrance,direction` and perhaps `zone,serial,model,person_ids`),
    and what is wrong with the file, by line. `otherwise`: whose the person numbers are where a line does not say; None: as the
    gate's family declares."""
    reader = csv.DictReader(lines)
    names = [n.strip() for n in reader.fieldnames or ()]
    reader.fieldnames = names
    if missing := [n for n in _NEEDED if n not in names]:
        return [], [f"Thiếu cột / missing columns: {', '.join(missing)}"]
    found: list[Gate] = []
    wrong: list[str] = []
    for number, row in enumerate(reader, 2):
        if len(found) >= _FILE_MOST:
            return [], [f"Quá {_FILE_MOST} dòng / more than {_FILE_MOST} lines"]
        given = {k: (row.get(k) or "").strip() for k in _COLUMNS}
        if None in row or any(len(v) > 200 for v in given.values()):
            wrong.append(f"Dòng {number}: thừa ô hoặc quá dài / line {number}: too many cells, or too long")
            continue
        more = {k: given[k] for k in ("zone", "serial", "model") if given[k]}
        more["person_ids"] = given["person_ids"] or otherwise or person_ids(given["family"], given["profile"])
        found.append(Gate(**{k: given[k] for k in _NEEDED}, **more))
    return found, wrong


@group.command("register")
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
@click.option("--hours", default=72.0, show_default=True, help="Hạn của mã / life of the codes")
@click.option(
    "--person-ids",
    "otherwise",
    help="Mã người của các dòng không ghi: department, device, hoặc tên tài khoản nhà cung cấp; không có: theo dòng máy / whose "
    "the person numbers are where a line does not say: department, device, or a vendor's account; else as the family declares",
)
@click.option(
    "--codes",
    "codes_file",
    type=click.File("w", encoding="utf-8", lazy=True),
    default="-",
    help="Nơi ghi mã / where codes are written",
)
def register(file: Any, hours: float, otherwise: str | None, codes_file: Any) -> None:
    """Đăng ký hàng loạt từ CSV, tất cả hoặc không; in mã một lần / register from CSV, all or none; prints one-time codes."""
    try:
        found, wrong = read_gates(file, otherwise)
    except (csv.Error, UnicodeDecodeError) as error:
        raise click.ClickException(f"Không đọc được tệp / the file cannot be read: {error}") from None

    async def work(house: House) -> dict[str, str]:
        faults = wrong + [f"Dòng {p + 2}: {t.vi} / line {p + 2}: {t.en}" for p, t in gates.faults(house.core, found)]
        if faults or not found:
            raise click.ClickException("\n".join(faults[:50]) or "Tệp rỗng. / The file is empty.")
        return await gates.register(house.core, _ACTOR, found, house.keys.encrypt, _key(house), timedelta(hours=hours))

    began = time.monotonic()
    codes = _run(work)
    writer = csv.writer(codes_file)
    writer.writerow(["id", "code"])
    writer.writerows(sorted(codes.items()))
    click.echo(f"Đã đăng ký / registered: {len(codes)} ({time.monotonic() - began:.1f} s)", err=True)
    for word, count in sorted(
        Counter(gate_ids.said(gate_ids.namespace_of(g.person_ids, g.id), g.id) for g in found).items()
    ):
        click.echo(f"{count}\t{_ids_words(word)}", err=True)


def _ids_words(word: str) -> str:
    """Whose a gate's person numbers are, in a sentence."""
    if word == gate_ids.DEPARTMENT:
        return "mã người là mã của Sở / person numbers are the department's codes"
    if word == gate_ids.OWN:
        return "mã người riêng của máy, chờ liên kết / person numbers are the device's own: they wait to be linked"
    return f"mã người của tài khoản {word} / person numbers are those of the account {word}"


@group.command("person-ids")
@click.argument("gate", nargs=-1, required=True)
@click.option("--as", "word", required=True, help="department, device, hoặc tên tài khoản / or an account's name")
@why_option()
def whose(gate: tuple[str, ...], word: str, why: str) -> None:
    """Mã người trên cổng là của ai, cho các lượt đến từ bây giờ / whose a gate's person numbers are, for passages from now on."""
    if (wrong := gate_ids.fault(word)) is not None:
        raise click.ClickException(f"{wrong.vi} / {wrong.en}")

    async def work(house: House) -> list[str]:
        said = {g: gate_ids.namespace_of(word, g) for g in dict.fromkeys(gate)}
        return [g for g, space in said.items() if not await persons.set_namespace(house.core, _ACTOR, g, space, why)]

    missing = _run(work)
    if missing:
        raise click.ClickException(f"Không có cổng / there is no such gate: {', '.join(missing)}")
    click.echo("Đã ghi. / Noted.")


@group.command("code")
@click.argument("gate", nargs=-1, required=True)
@click.option("--hours", default=72.0, show_default=True, help="Hạn của mã / life of the codes")
@why_option()
def code(gate: tuple[str, ...], hours: float, why: str) -> None:
    """Mã một lần mới; mã cũ hết hiệu lực / new one-time codes; those before end."""
    made = _run(lambda h: gates.new_codes(h.core, _ACTOR, gate, _key(h), timedelta(hours=hours), why))
    for name, value in made.items():
        click.echo(f"{name}\t{value}")


@group.command("rotate")
@click.argument("gate")
@click.option(
    "--overlap-hours", default=24.0, show_default=True, help="Khóa cũ còn dùng được / the old one goes on opening"
)
@why_option()
def rotate(gate: str, overlap_hours: float, why: str) -> None:
    """Cấp khóa mới / a new secret."""
    made: Credential = _run(
        lambda h: gates.rotate(h.core, _ACTOR, gate, h.keys.encrypt, timedelta(hours=overlap_hours), why)
    )
    click.echo(f"username\t{made.username}\nsecret\t{made.secret}")


@group.command("signing")
@click.argument("gate", nargs=-1, required=True)
@click.option(
    "--file",
    type=click.File("r", encoding="utf-8"),
    help="Tệp có khóa ký; không có: hỏi / the secret's file; else asked",
)
@click.option("--clear", is_flag=True, help="Bỏ khóa ký / take it away")
@why_option()
def signing(gate: tuple[str, ...], file: Any, clear: bool, why: str) -> None:
    """Khóa mà hãng ký các cuộc gọi (HANET: client secret của tài khoản) / what the vendor signs its calls with."""
    secret = ""
    if not clear:
        secret = (file.read(1000) if file else click.prompt("Khóa ký / signing secret", hide_input=True)).strip()
        if not (secret.isascii() and secret.isprintable() and 8 <= len(secret) <= 200 and " " not in secret):
            raise click.ClickException(
                "Khóa ký phải là 8–200 ký tự ASCII liền nhau. / 8 to 200 ASCII characters, no blanks."
            )

    async def work(house: House) -> None:
        await gates.sign(
            house.core, _ACTOR, gate, None if clear else house.keys.encrypt(secret.encode(), gates.SIGNING), why
        )

    _run(work)
    click.echo("Đã ghi. / Noted.")


@group.command("move")
@click.argument("gate")
@click.option("--school", required=True)
@click.option("--entrance", required=True)
@click.option("--direction", required=True, type=click.Choice(gates.DIRECTIONS))
@click.option("--since", type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]), help="UTC; mặc định: bây giờ / now")
@why_option()
def move(gate: str, school: str, entrance: str, direction: str, since: datetime | None, why: str) -> None:
    """Chuyển chỗ từ một thời điểm / moved, from a moment on."""
    when = since.replace(tzinfo=UTC) if since else datetime.now(UTC)
    _run(lambda h: gates.move(h.core, _ACTOR, gate, school, entrance, direction, when, why))
    click.echo("Đã ghi. / Noted.")


@group.command("replace")
@click.argument("gate")
@click.argument("new")
@click.option("--serial")
@click.option("--model", default="")
@why_option()
def replace(gate: str, new: str, serial: str | None, model: str, why: str) -> None:
    """Thiết bị mới vào chỗ cổng cũ; in mã / a new device takes a gate's place; prints its code."""

    async def work(house: House) -> tuple[str, str]:
        made = await gates.replace(house.core, _ACTOR, gate, new, serial, model, house.keys.encrypt, _key(house), why)
        async with house.core.pool.acquire() as connection:
            (row,) = await connection.fetch(sql.gates_standing, None, new)
        return made, gate_ids.said(row["namespace"], new)

    made, word = _run(work)
    click.echo(f"{new}\t{made}")
    click.echo(_ids_words(word), err=True)


@group.command("revoke")
@click.argument("gate", nargs=-1, required=True)
@why_option()
def revoke(gate: tuple[str, ...], why: str) -> None:
    """Thu hồi ngay / revoke at once."""
    done = _run(lambda h: gates.revoke(h.core, _ACTOR, gate, why))
    click.echo(f"Đã thu hồi / revoked: {', '.join(done) or '–'}")
    if len(done) < len(set(gate)):
        raise click.ClickException("Có cổng không tồn tại hoặc đã thu hồi. / Some are unknown, or were revoked before.")


@group.command("pictures")
@click.argument("gate")
@click.option("--on/--off", "on", required=True, default=None, help="Giữ ảnh hay không / keep them or not")
@why_option()
def pictures(gate: str, on: bool, why: str) -> None:
    """Giữ ảnh của một cổng (mặc định không) / keep a gate's pictures (by default none are)."""

    async def work(house: House) -> int:
        kept = house.settings.pictures
        if on and not kept.hours:
            raise click.ClickException(
                "Chưa khai căn cứ pháp lý (LT_PICTURES__LEGAL_BASIS). / The settings name no legal basis."
            )
        async with house.core.pool.acquire() as connection:
            if not await connection.fetch(sql.gates_known, [gate]):
                raise click.ClickException("Không có cổng này. / There is no such gate.")
        return await gate_pictures.switch(house.core, _ACTOR, gate, on, why, kept.legal_basis, kept.hours)

    gone = _run(work)
    click.echo("Đã bật. / On." if on else f"Đã tắt, đã xóa ảnh / off, pictures deleted: {gone}")


@group.command("history")
@click.argument("gate")
def history(gate: str) -> None:
    """Lịch sử một cổng / a gate's history."""
    from hub.commands import screen

    lines, places = _run(lambda h: gates.history(h.core, gate))
    table = Table("lúc / at", "ai / who", "việc / what", "")
    for r in lines:
        table.add_row(f"{r['at']:%Y-%m-%d %H:%M:%S}", r["actor"], r["kind"], str(r["data"] or ""))
    screen.print(table)
    for p in places:
        since = f"{p['since']:%Y-%m-%d %H:%M}" if p["since"] else "…"
        click.echo(f"{since}\t{p['school']}\t{p['entrance']}\t{p['direction']}")


@group.command("broker")
@click.option(
    "--commands-user",
    is_flag=True,
    help="In tài khoản cho kết nối face_gates và tài khoản thử / print the account a face_gates connector needs, and its probe's",
)
def broker(commands_user: bool) -> None:
    """Máy chủ MQTT: đang chạy có đúng như đã ghi / the broker: whether what runs is what was written."""
    from hub.commands import read_status
    from hub.settings import load

    settings = load()
    told = (read_status(settings.data_dir).get("notes") or {}).get("broker")
    if commands_user:
        from hub.broker_keeper import commands_user as account
        from hub.broker_keeper import probe_user
        from hub.keys import Keys, default_path

        keys = Keys.open(settings.master_key_file or default_path(settings.data_dir), settings.data_dir)
        for user in (account(keys), probe_user(keys)):
            click.echo(f"{user.name}\t{user.secret}")
        return
    if not told:
        raise click.ClickException("Không có máy chủ nhúng đang chạy. / No embedded broker is running.")
    for name in ("name", "port", "tls_port", "users", "certificate_ends"):
        click.echo(f"{name}\t{told.get(name) or '–'}")
    if told.get("warning"):
        click.echo(f"⚠ {told['warning']['vi']} / {told['warning']['en']}")
    for line in told.get("drift") or ():
        click.echo(f"✘ {line['vi']} / {line['en']}")
    if told.get("drift"):
        raise click.ClickException("Cấu hình lệch. / The configuration has drifted.")
    click.echo("✔ Khớp / as written")


async def doors(house: House) -> None:
    """Say what stands open to any address."""
    from hub.api.gate_callers import note
    from hub.kernel.ledger import parties

    families = (r["family"] for r in await parties.devices(house.core))
    if (told := note(house.settings.gates.hanet_networks, families)) is not None:
        click.echo(f"⚠ {told.vi} / {told.en}")


ALL: tuple[click.Command, ...] = (group,)
