"""ZKTeco gates that push over HTTP (ADMS): attendance lines as check-ins, the options they ask for, their commands.

One concern: this family's words. Pure. It must never read a table that holds pictures, templates or people, or say
`OK: n` to a request that names another device than its secret does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from iot import profiles
from iot.clock import read_local, zone
from iot.fields import digest, is_device_id, text, unknown_device
from iot.web import (
    REFUSED,
    Answer,
    Ask,
    Content,
    Item,
    Passage,
    Plain,
    Served,
    Unpacked,
    checkin,
    configured,
    estimate_of,
    is_prompt,
    lying,
    noted,
    placed,
    turned_away,
    unplaced,
    zone_of,
)

PROFILES = profiles.load(Path(__file__).parent)

_ATTENDANCE = "attlog"
_BIOMETRIC = frozenset(
    {"attphoto", "biodata", "biophoto", "userpic", "fingertmp", "templatev10", "facev7", "face", "fvein", "operlog"}
)
"""Tables of pictures and templates; the operations log carries fingerprint and face templates as well."""
_UNKNOWN_PATH = Answer(404, b"")
_LINE = 500


class ZkTeco(Plain):
    """The family. See `iot.web.WebFamily`; paths are below `/iclock`. Remembers `stamp`, the last one committed."""

    name = "zkteco"
    max_bytes = 1_048_576

    def named(self, ask: Ask) -> str | None:
        """The serial number, `SN`."""
        serial = ask.query.get("sn", "")
        return serial if is_device_id(serial) else None

    def plain(self, device: Mapping[str, Any]) -> bool:
        """As the profile says: many units cannot be given a path."""
        return bool(PROFILES.get(device.get("profile")).settings["plain_path"])

    def polls(self, ask: Ask) -> bool:
        """Devices ask `getrequest` for what they should do."""
        return ask.method == "GET" and ask.path == "getrequest"

    def greets(self, ask: Ask) -> bool:
        """After a start a device asks for its options."""
        return ask.method == "GET" and ask.path == "cdata"

    def ignores(self, ask: Ask) -> str | None:
        """Everything posted that is neither attendance nor a command's result."""
        if ask.method != "POST" or ask.path == "devicecmd":
            return None
        table = ask.query.get("table", "").lower()
        if ask.path == "cdata" and table == _ATTENDANCE:
            return None
        return "biometric" if ask.path == "fdata" or table in _BIOMETRIC else "other"

    def unpack(self, ask: Ask, body: bytes) -> Unpacked:
        """Plain text throughout."""
        return Unpacked(body=body)

    def decode(
        self, ask: Ask, content: Content, received_at: datetime, device: Mapping[str, Any] | None, owner: str = ""
    ) -> Served:
        """Decode one request; see `iot.web.WebFamily.decode`."""
        serial = self.named(ask)
        if device is None:
            return turned_away(unknown_device(serial or ask.query.get("sn", "")))
        name = text(device.get("id"), 64)
        attendance = ask.method == "POST" and ask.path == "cdata" and ask.query.get("table", "").lower() == _ATTENDANCE
        if serial != name:
            # A poll every ten seconds is no evidence worth keeping; attendance in another's name is.
            claimed = serial or text(ask.query.get("sn", ""), 64)
            return lying(claimed, name, "/SN") if attendance else Served(answer=REFUSED)
        if not placed(device):
            return unplaced(device, name)
        settings = PROFILES.get(device.get("profile")).settings
        if attendance:
            return _attendance(name, ask, content.body, received_at, device, settings)
        if ask.path == "cdata" and ask.method == "GET":
            return Served(items=[_presence(name)], answer=_options(name, ask, received_at, device, settings))
        if ask.path == "getrequest":
            item = _presence(name)
            if firmware := text(ask.query.get("info", "").partition(",")[0]):
                assert item.decoded.advisory is not None
                item.decoded.advisory["firmware"] = firmware
            return Served(items=[item], answer=_command(device))
        if ask.path == "devicecmd":
            return Served(items=_results(name, content.body))
        if ask.path == "ping":
            return Served(items=[_presence(name)])
        return Served(answer=_UNKNOWN_PATH)


def _presence(name: str) -> Item:
    return noted(name, "presence", state="online", trusted=True)


def _options(
    name: str, ask: Ask, received_at: datetime, device: Mapping[str, Any], settings: Mapping[str, Any]
) -> Answer:
    offset = received_at.astimezone(zone(zone_of(device, settings))).utcoffset()
    hours = round(offset.total_seconds() / 3600) if offset is not None else 7
    stamp = text(device.get("stamp")) or settings["stamp"]
    lines = [
        f"GET OPTION FROM: {name}",
        f"ATTLOGStamp={stamp}",
        "OPERLOGStamp=9999",
        "ATTPHOTOStamp=9999",
        f"ErrorDelay={settings['error_delay_s']}",
        f"Delay={settings['delay_s']}",
        "TransTimes=00:00;12:00",
        f"TransInterval={settings['trans_interval_min']}",
        # Attendance alone is asked for: no operations, pictures, people or templates.
        "TransFlag=TransData AttLog",
        f"TimeZone={hours}",
        "Realtime=1",
        "Encrypt=None",
        f"ServerVer={settings['server_version']}",
        "",
    ]
    return Answer(200, "\r\n".join(lines).encode())


def _command(device: Mapping[str, Any]) -> Answer:
    """The queued command `{id, span: [from, to]}` (device-local times) as a query of the attendance table, or `OK`. One line
    a number: the gate answers by it."""
    command = device.get("command")
    span = command.get("span") if isinstance(command, Mapping) else None
    if not isinstance(command, Mapping) or not isinstance(span, list) or len(span) != 2:
        return Answer()
    start, end = (text(moment) for moment in span)
    return Answer(200, f"C:{text(command.get('id'), 20)}:DATA QUERY ATTLOG StartTime={start}\tEndTime={end}\n".encode())


def _results(name: str, body: bytes) -> list[Item]:
    """Results of commands: one a line, `ID=…&Return=…&CMD=…`."""
    items = []
    for line in body[:16_384].decode("utf-8", "replace").splitlines()[:50]:
        given = {k.lower(): v for k, v in parse_qsl(line, max_num_fields=20)} if line.count("&") < 20 else {}
        if given:
            told = {word: text(given.get(key)) for word, key in (("operator", "cmd"), ("id", "id"), ("code", "return"))}
            items.append(noted(name, "command", **told))
    return items or [_presence(name)]


def _attendance(
    name: str,
    ask: Ask,
    body: bytes,
    received_at: datetime,
    device: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Served:
    lines = [line for line in (raw.strip(b"\r") for raw in body.split(b"\n")) if line.strip()]
    single = len(lines) <= settings["live_lines"]
    items = [_line(name, line, single, received_at, device, settings) for line in lines]
    stamp = ask.query.get("stamp", "")
    if stamp.isascii() and stamp.isdigit() and len(stamp) <= 20:
        for item in items:
            item.remember = {"stamp": stamp}
    for item in items:
        item.attributes = {"table": "ATTLOG"}
    return Served(items=items, answer=Answer(200, f"OK: {len(lines)}".encode()))


def _line(
    name: str, line: bytes, single: bool, received_at: datetime, device: Mapping[str, Any], settings: Mapping[str, Any]
) -> Item:
    """`PIN<tab>YYYY-MM-DD HH:MM:SS<tab>status<tab>verify<tab>workcode…`"""
    cells = [text(cell, 80) for cell in line[:_LINE].decode("utf-8", "replace").split("\t")]
    person, raw_time, status, verify, *_ = [*cells, "", "", "", ""]
    assumed_zone = zone_of(device, settings)
    moment = read_local(raw_time, assumed_zone) if raw_time else None
    parts = {"person": person, "time": raw_time, "status": status, "verify": verify}
    passage = Passage(
        raw_time=raw_time[:60],
        time=moment,
        zone=assumed_zone,
        # The identity of what is no attendance line at all is the line itself.
        dedupe=digest(name, *(parts[p] for p in settings["dedupe"])) if raw_time else digest(name, line.hex()),
        live=single and is_prompt(moment, received_at, estimate_of(device), settings["live_within_s"]),
        person=person,
        direction=settings["status"].get(status) or configured(device),
        method=settings["verify"].get(verify, "unknown"),
        verify=settings["verify_status"],
    )
    return Item(decoded=checkin(device, passage, received_at), body=line, prompt=single)


FAMILY = ZkTeco()
