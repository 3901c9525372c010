"""Marked images and vectors, and the search for their marks in whatever was written."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import json
import random
import re
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import openpyxl

SIGN = b"anh-mat-tre-em-"
"""What every mark begins with: fifteen bytes, so that base64 of it is telling at every alignment."""
DIGITS = "7310557184"
"""What every number of a marked vector holds."""
WHOLE = "17,203,88,241,9,154,66,230,31,190,77,5"
"""How every marked vector of whole numbers begins."""
SEEN = "anh-thay-duoc-"
"""What is written on purpose in every store, and must be found there: else the search finds nothing anywhere."""
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def traces() -> list[bytes]:
    """How the sign looks raw, in base64 at its three alignments, and in hex."""
    found = [
        SIGN,
        SIGN.hex().encode(),
        SIGN.hex().upper().encode(),
        SIGN.hex(" ").encode(),
        SIGN.decode().encode("utf-16-le"),
        DIGITS.encode(),
        WHOLE.encode(),
        WHOLE.replace(",", ", ").encode(),
        WHOLE.replace(",", " ").encode(),
    ]
    for before in range(3):
        text = base64.b64encode(b"\0" * before + SIGN + b"\0" * 3)
        found.append(text[4 if before else 0 : 4 * ((before + len(SIGN)) // 3)])
    return found


class Marks:
    """Images, each with a mark of its own and the place it was sent to."""

    def __init__(self) -> None:
        self.places: list[str] = []

    def image(self, place: str, size: int = 3000) -> bytes:
        mark = SIGN + f"{len(self.places):05d}".encode()
        self.places.append(place)
        noise = random.Random(place).randbytes(size)
        body = b"".join(mark + noise[at : at + 37] for at in range(0, size, 37))
        return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + body + b"\xff\xd9"

    def address(self, place: str) -> str:
        """Where a picture could be had, with a mark in it."""
        self.places.append(place)
        return f"http://u:p@10.0.0.9/face/{SIGN.decode()}{len(self.places) - 1:05d}.jpg"

    def vector(self, place: str, count: int = 128) -> list[float]:
        """An embedding, each of its numbers marked."""
        self.places.append(place)
        return [float(f"{n % 7 - 3}.{DIGITS}{n % 9 + 1}") for n in range(count)]

    def device_bodies(self, door: str) -> Iterator[bytes]:
        """What a device may give as well: addresses and vectors in every shape, alone and within events that are taken."""
        yield from self.bodies(door)
        for name, value in self.told(door):
            yield json.dumps({"id": f"{len(self.places)}", "seq": 1, "time": 1, name: value}).encode()
            yield json.dumps(
                {"info": {"facesluiceId": "F1", "customId": "HS1", name: value}, "operator": "RecPush"}
            ).encode()
            now = datetime.now(UTC).isoformat(timespec="seconds")
            event = {
                "majorEventType": 5,
                "subEventType": 75,
                "employeeNoString": "HS1",
                "serialNo": len(self.places),
                name: value,
            }
            yield json.dumps(
                {"dateTime": now, "eventType": "AccessControllerEvent", "AccessControllerEvent": event}
            ).encode()
            seen = {
                "data_type": "log",
                "id": f"h{len(self.places)}",
                "deviceID": "HN01",
                "personID": "7",
                "time": time.time_ns() // 10**6,
            }
            yield json.dumps({**seen, name: value}).encode()
            yield json.dumps({"x": json.dumps({name: value})}).encode()
            yield json.dumps({name: value}).encode()[:-2]
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"<EventNotificationAlert><{name}>{text}</{name}></EventNotificationAlert>".encode()
            yield f"HS1\t2026-11-20 07:00:02\t0\t15\t{text}\n".encode()
            yield f"found=1\r\nrecords[0].{name}={text}\r\nrecords[0].UserID=HS7\r\n".encode()
            yield f"ID=7&Return=0&{name}={text}\n".encode()

    def told(self, door: str) -> Iterator[tuple[str, Any]]:
        """Members no rule knows by their name."""
        yield "link", self.address(f"{door}: a link")
        yield "x", f"/mnt/snap/{self.address(f'{door}: a path').rpartition('/')[2]}"
        yield "note", f"Xem {self.address(f'{door}: a link in a sentence')} nhé"
        yield "x", self.address(f"{door}: an escaped link").replace("/", "\\/")
        yield "x", self.vector(f"{door}: a vector")
        yield "x", self.vector(f"{door}: a shorter vector", 60)
        yield "x", {str(n): value for n, value in enumerate(self.vector(f"{door}: an object of numbers"))}
        yield "x", ",".join(map(str, self.vector(f"{door}: a vector as text")))
        self.places.append(f"{door}: whole numbers")
        yield (
            "x",
            f"{WHOLE},{','.join(map(str, random.Random(door).randbytes(116)))}",
        )

    def bodies(self, door: str) -> Iterator[bytes]:
        """An image in every shape a sender may give it."""

        def b64(name: str, size: int = 3000) -> str:
            return base64.b64encode(self.image(f"{door}: {name}", size)).decode()

        def lines(text: str, width: int, end: str) -> str:
            return end.join(text[i : i + width] for i in range(0, len(text), width))

        yield self.image(f"{door}: raw")
        yield self.image(f"{door}: truncated")[:700]
        yield b"%PDF-1.7\n" + self.image(f"{door}: in a document")
        yield b"PK\x03\x04" + b64("in an archive, base64").encode()
        yield b64("base64 alone").encode()
        yield lines(b64("base64 in lines"), 76, "\r\n").encode()
        yield lines(b64("base64 in short lines"), 60, "\n").encode()
        yield self.image(f"{door}: hex").hex().encode()
        yield self.image(f"{door}: hex dump").hex(" ").encode()
        yield gzip.compress(self.image(f"{door}: gzip"))
        yield json.dumps({"pic": b64("field"), "id": "1", "seq": 1, "time": 1}).encode()
        yield json.dumps({"id": "1", "unexpected": {"deep": [{"x": b64("unexpected field")}]}}).encode()
        yield json.dumps({"id": b64("id"), "person": b64("person"), "info": {"RecordID": b64("RecordID")}}).encode()
        yield json.dumps({"info": {"pic": "data:image/jpeg;base64," + b64("data URI"), "facesluiceId": "F1"}}).encode()
        yield json.dumps({"x": lines(b64("lines in JSON"), 76, "\r\n")}).encode()
        yield json.dumps({"x": base64.urlsafe_b64encode(self.image(f"{door}: URL-safe")).decode()}).encode()
        yield json.dumps({b64("key"): 1}).encode()
        yield json.dumps({"x": json.dumps({"y": json.dumps({"z": b64("JSON in JSON in JSON")})})}).encode()
        yield (
            json.dumps({"order": "JVBERi0xLjQK" + b64("document in base64")}).encode()
            if door not in ("push", "callback")
            else b"{}"
        )
        yield (json.dumps({"a": b64("large", 400_000)})).encode()
        yield b'{"info":{"pic":"data:image/jpeg;base64,' + b64("broken JSON").encode()
        yield ('{"a":"' + b64("escaped").replace("/", "\\/") + '"}').encode()
        yield json.dumps({"pictureURL": f"http://u:p@10.0.0.9/{SIGN.decode()}/{len(self.places)}.jpg"}).encode()
        yield json.dumps({"pic": b64("wide")}).encode("utf-16")
        yield json.dumps(
            {
                "id": "1",
                "faceFeature": self.vector(f"{door}: an embedding"),
                "avatarUrl": self.address(f"{door}: an avatar"),
            }
        ).encode()
        yield json.dumps({"x": self.vector(f"{door}: an embedding by no name")}).encode()
        yield json.dumps({"pic": self.address(f"{door}: cut short")}).encode()[:-2]
        yield f"<EventNotificationAlert><picture>{b64('XML')}</picture></EventNotificationAlert>".encode()
        yield f"<a><![CDATA[{lines(b64('CDATA'), 76, chr(10))}]]></a>".encode()
        yield f"HS1\t2026-11-20 07:00:02\t0\t15\t{b64('tabs')}\n".encode()
        yield f"id=7&pic={b64('form')}&x=1".encode()
        yield (
            b'--x\r\nContent-Disposition: form-data; name="p"\r\n\r\n' + self.image(f"{door}: part") + b"\r\n--x--\r\n"
        )
        yield b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + self.image(f"{door}: typed part") + b"\r\n--x--\r\n"
        yield b'--x\r\n\r\n{"a":1}\r\n--x\r\n\r\n' + self.image(f"{door}: second part, cut")[:1500]
        yield b"<html><body>500 " + b64("error page").encode() + b"</body></html>"
        name = base64.b64encode(self.image(f"{door}: file name")).decode()[:900]
        yield f'--x\r\nContent-Disposition: form-data; name="p"; filename="{name}"\r\n\r\n{{}}\r\n--x--\r\n'.encode()


def book(marks: Marks, door: str) -> bytes:
    """A workbook with images wherever one can be put."""
    made = openpyxl.Workbook()
    sheet = made.worksheets[0]
    sheet.append(
        ["Mã lớp", "Mã học sinh", "Họ tên", "Ngày sinh (dd/mm/yyyy)", "Giới tính", "Dân tộc", "Trạng thái HS", "Ảnh"]
    )
    cell = base64.b64encode(marks.image(f"{door}: cell")).decode()
    sheet.append(["6A1", "WA1", "Nguyễn Văn Mẫu", "05/03/2014", "Nam", "Kinh", "Đang học", cell])
    out = io.BytesIO()
    made.save(out)
    text = base64.b64encode(marks.image(f"{door}: comments of the parts")).decode()
    changed = io.BytesIO()
    with zipfile.ZipFile(out) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith((".xml", ".rels")):
                data = data.replace(b"?>", f"?><!--{text}-->".encode(), 1) if b"?>" in data[:200] else data
                if b"?>" not in data[:200]:
                    data = f"<!--{text}-->".encode() + data
            new.writestr(name, data)
        new.writestr("xl/media/image1.jpeg", marks.image(f"{door}: media"))
        new.writestr(f"xl/media/{text[:200]}.bin", marks.image(f"{door}: name of a part"))
    return changed.getvalue()


def _opened(text: bytes) -> bytes:
    """What base64 holds, if it is any: where a mark came from."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def search(name: str, data: bytes, marks: Marks) -> list[str]:
    """Where marks were found, each with the door its image came by."""
    found = []
    for trace in traces():
        at = data.find(trace)
        if at >= 0:
            near = data[max(0, at - 300) : at + 200]
            number = re.search(SIGN + rb"(\d{5})", near) or re.search(rb"-(\d{5})", _opened(data[at : at + 32]))
            place = marks.places[int(number.group(1))] if number else "?"
            found.append(f"{name} at {at} ({trace!r}): {place}: {near!r}")
    return found
