"""`hub connectors …`: making connectors, pausing them, letting them go on.

One concern: asking and ordering from a shell; what fits is said by `hub.connector_settings`, as for the console's form. A secret is
taken from a file, a pipe or a prompt: it must never be taken from the command's line, where every user of the machine can read it,
nor be printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
import yaml
from rich.table import Table

from adapters import manifest as manifests
from connectors import settings as declared
from hub.commands_reasons import why_option
from hub.connector_settings import MADE, TAKEN, checked, led_to, told
from hub.kernel.ledger import guards, operations
from hub.kernel.ports import Text
from hub.kernel.store.db import sql
from hub.wiring import House

T = TypeVar("T")
_ACTOR = "cli"
_FILE_MOST = 262_144
_DEPTH_MOST = 8


def _with_house(work: Callable[[House], Awaitable[T]]) -> T:
    from hub.commands import with_house

    return with_house(work)


def _say(line: str) -> None:
    from hub.commands import screen

    screen.print(line)


@click.group("connectors")
def group() -> None:
    """Các kết nối / connectors."""


@group.command("list")
@click.option("--json", "as_json", is_flag=True)
def listing(as_json: bool) -> None:
    """Liệt kê / list."""

    async def work(house: House) -> list[dict[str, Any]]:
        async with house.core.pool.acquire() as connection:
            rows = await connection.fetch(sql.connectors_all)
        return [{k: r[k] for k in ("name", "system", "state", "revision", "pause_cause", "settings")} for r in rows]

    found = _with_house(work)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    from hub.commands import screen

    shown = Table(
        "tên / name", "hệ thống / system", "trạng thái / state", "địa chỉ / address",
        title="Kết nối / Connectors", title_justify="left",
    )  # fmt: skip
    for c in found:
        transport = c["settings"].get("transport") or {}
        shown.add_row(c["name"], c["system"], c["state"], str(transport.get("base_url") or transport.get("url") or ""))
    screen.print(shown)


@group.command("add")
@click.argument("name")
@click.option("--system", required=True, help="Hệ thống / which system: " + ", ".join(manifests.systems()))
@click.option(
    "--settings",
    "file",
    type=click.File("rb"),
    help="Tệp YAML hay JSON như docs/CONNECTORS.md; - là stdin / a YAML or JSON file as in docs/CONNECTORS.md; - is stdin",
)
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="Một thiết lập, đứng trước tệp: policy.concurrency=4; số, true, [..] là JSON, còn lại là chữ / one setting, before the file's; "
    "numbers, true and [..] are read as JSON, anything else is text",
)
@click.option(
    "--secrets",
    "secrets_file",
    type=click.File("rb"),
    help="Tệp YAML hay JSON {tên: bí mật}; - là stdin; thiếu thì hỏi / a YAML or JSON file {name: secret}; - is stdin; what is missing is "
    "asked for",
)
@why_option()
def add(name: str, system: str, file: Any, given: tuple[str, ...], secrets_file: Any, why: str) -> None:
    """Thêm kết nối, bắt đầu ở trạng thái tạm dừng / make a connector; it begins paused."""
    data = with_set(read_mapping(file, "--settings") if file else {}, given)
    # These are said elsewhere: by the command itself, and by pausing and resuming.
    for key in ("name", "system", "state"):
        data.pop(key, None)
    secrets = read_secrets(secrets_file)
    try:
        manifest = manifests.load(system)
    except manifests.ManifestError as error:
        raise click.ClickException(f"--system: {error}") from None
    try:
        settings = declared.validate({**data, "name": name, "system": system})
        kind, scheme = settings.transport.kind, settings.auth.scheme
        secrets = _asked(settings, secrets)
    except ValueError as error:
        raise _refusal(error) from None

    async def work(house: House) -> bool:
        core = house.core
        stored = checked(
            declared, manifest, led_to(core.router.flows.values()), name, system, (kind, scheme), data, secrets
        )
        if name in core.connectors:
            return False
        made = await operations.add_connector(
            core, house.keys, _ACTOR, name, system, stored, secrets, MADE, why
        )  # fmt: skip
        return made is not None

    try:
        done = _with_house(work)
    except ValueError as error:
        raise _refusal(error) from None
    if not done:
        raise click.ClickException(f"/name: {TAKEN.vi} / {TAKEN.en}")
    _say(
        f"Đã thêm, đang tạm dừng: thử trên trang kết nối rồi / added, paused: test it on its page, then: hub connectors resume {name} --why …"
    )


def read_mapping(file: Any, option: str) -> dict[str, Any]:
    """A mapping out of a YAML or JSON file of at most 256 KiB. Raises the command's refusal, which quotes nothing of the file."""
    raw = file.read(_FILE_MOST + 1)
    if len(raw) > _FILE_MOST:
        raise click.ClickException(f"{option}: tệp quá lớn / the file is too large ({_FILE_MOST // 1024} KiB)")
    try:
        found = yaml.safe_load(raw)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" {mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise click.ClickException(f"{option}{place}: không phải YAML hay JSON / neither YAML nor JSON") from None
    if not isinstance(found, dict) or not all(isinstance(k, str) for k in found):
        raise click.ClickException(f"{option}: phải là các cặp khóa: giá trị / must be keys with values")
    return found


def read_secrets(file: Any) -> dict[str, str]:
    """Secrets by name out of a file; none without one. Raises the command's refusal: it names names alone."""
    found = read_mapping(file, "--secrets") if file else {}
    wrong = sorted(k for k, v in found.items() if not isinstance(v, str))
    if wrong:
        told_ = ", ".join(wrong)
        raise click.ClickException(
            f"--secrets: giá trị phải là chữ, trong ngoặc kép / values must be text, in quotes: {told_}"
        )
    return {k: v for k, v in found.items() if v}


def with_set(data: dict[str, Any], given: tuple[str, ...]) -> dict[str, Any]:
    """`data` with every `a.b.c=value` in its place. Raises the command's refusal for what has no place, and for a secret."""
    for one in given:
        path, is_set, value = one.partition("=")
        parts = path.strip().split(".")
        if not is_set or not all(parts) or len(parts) > _DEPTH_MOST:
            raise click.ClickException(f"--set {path}: cần KEY=VALUE / KEY=VALUE is needed")
        if parts[0] == "secrets":
            raise click.ClickException(
                "--set secrets: bí mật không được nằm trên dòng lệnh; dùng --secrets hoặc để lệnh hỏi / "
                "a secret must not stand on the command's line: use --secrets, or let the command ask"
            )
        place = data
        for part in parts[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise click.ClickException(f"--set {path}: {part} không phải một nhóm / {part} is no group")
        place[parts[-1]] = _value(value)
    return data


def _value(text: str) -> Any:
    """JSON where it is some, so that a number is one; else the text: `000.00.12.H24`, an address."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _asked(settings: Any, secrets: dict[str, str]) -> dict[str, str]:
    """The secrets with those that are required and missing asked for. Raises the command's refusal for one nobody needs."""
    needed = {s.name: s for s in declared.secrets_of(settings)}
    if unknown := sorted(secrets.keys() - needed.keys()):
        known = ", ".join(needed) or "–"
        raise click.ClickException(
            f"--secrets: không dùng tới / not needed: {', '.join(unknown)} (cần / needed: {known})"
        )
    if not attended():
        return secrets  # nobody to ask: what is missing is refused by its name
    for secret in needed.values():
        if secret.required and secret.name not in secrets and not secret.lines:
            secrets[secret.name] = click.prompt(f"{secret.title.vi} / {secret.title.en}", hide_input=True)
    return secrets


def attended() -> bool:
    """Whether a person sits at the command and can be asked."""
    return sys.stdin.isatty()


def _refusal(error: ValueError) -> click.ClickException:
    if not getattr(error, "errors", ()):  # the adapter's own check of its settings
        return click.ClickException(f"/adapter: {error}")
    return click.ClickException("\n".join(f"{place or '/'}: {t.vi} / {t.en}" for place, t in told(error).items()))


@group.command("pause")
@click.argument("name")
@why_option()
def pause(name: str, why: str) -> None:
    """Tạm dừng / pause."""
    done = _with_house(lambda house: operations.pause(house.core, _ACTOR, name, Text(why, why)))
    _say("Đã tạm dừng / paused" if done else "Không đổi / unchanged")


@group.command("resume")
@click.argument("name")
@why_option()
def resume(name: str, why: str) -> None:
    """Mở lại / resume."""
    done = _with_house(lambda house: operations.resume(house.core, _ACTOR, name, why))
    _say("Đã mở lại / resumed" if done else "Không đổi / unchanged")


@group.command("resume-share")
@click.argument("name")
@click.argument("school", default="")
@why_option()
def resume_share(name: str, school: str, why: str) -> None:
    """Mở lại phần của một trường bị từ chối hàng loạt / let a school's share go on after mass refusals."""
    done = _with_house(lambda house: guards.resume_share(house.core, _ACTOR, name, school, why))
    _say("Đã mở lại / resumed" if done else "Không đổi / unchanged")


ALL: tuple[click.Command, ...] = (group,)
