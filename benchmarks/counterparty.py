"""Counterparties that answer at once: what a destination with no time of its own costs, and books of when it was asked.

One concern: reading a request whole and saying yes in the contract's words. It checks nothing (the simulators do): a
slow destination would make every way of sending look alike. Runs as a process; `GET /_books` tells what it saw.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httptools
import orjson
import uvloop

from adapters.population.identity import ANSWER_NS

_NUMBER = re.compile(rb"<(?:\w+:)?SoDinhDanh>([^<]*)<")
_REQUEST = re.compile(rb"<(?:\w+:)?MaYeuCau>([^<]*)<")
_NAME = re.compile(rb"<(?:\w+:)?HoVaTen>([^<]*)<")
_BIRTH = re.compile(rb"<(?:\w+:)?NgayThangNam>([^<]*)<")


class Books:
    """Calls and records seen, per whole second of this counterparty's clock."""

    def __init__(self) -> None:
        self.calls = self.records = 0
        self.first = self.last = 0.0
        self.per_second: Counter[int] = Counter()

    def note(self, records: int) -> None:
        """One call with so many records."""
        now = time.time()
        self.first = self.first or now
        self.last = now
        self.calls += 1
        self.records += records
        self.per_second[int(now)] += 1

    def told(self) -> bytes:
        """The books as JSON, and a clean page."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        page = {
            "calls": self.calls, "records": self.records, "first": self.first, "last": self.last, "per_second": dict(self.per_second),
            "cpu_s": used.ru_utime + used.ru_stime,
        }  # fmt: skip
        self.__init__()  # type: ignore[misc]
        return json.dumps(page).encode()


def ministry(body: bytes) -> tuple[int, bytes]:
    """Every record of a batch taken."""
    keys = [r["idbanghi"] for r in orjson.loads(body)["banghi"]]
    return len(keys), orjson.dumps(
        {"ma": "00", "thongbao": "Đã xử lý", "ketqua": [{"idbanghi": k, "ma": "00", "mabiennhan": "B"} for k in keys]}
    )


def population(body: bytes) -> tuple[int, bytes]:
    """The person asked about, exactly as asked."""

    def find(pattern: re.Pattern[bytes]) -> str:
        found = pattern.search(body)
        return found.group(1).decode() if found else ""

    number, birth = find(_NUMBER), find(_BIRTH)
    answer = (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
        f'<ns1:CongdanCollection xmlns:ns1="{ANSWER_NS}" SoCongDan="1" ThoiDiemDuLieu="20260901000000" id="{find(_REQUEST)}">'
        f"<ns1:CongDan><ns1:SoDinhDanh>{number}</ns1:SoDinhDanh><ns1:SoCMND/><ns1:HoVaTen><ns1:Ho/><ns1:ChuDem/><ns1:Ten>{find(_NAME)}</ns1:Ten>"
        "</ns1:HoVaTen><ns1:GioiTinh>1</ns1:GioiTinh><ns1:DanToc>01</ns1:DanToc><ns1:TonGiao>00</ns1:TonGiao><ns1:NgayThangNamSinh>"
        f"<ns1:Nam>{birth[:4]}</ns1:Nam><ns1:NgayThangNam>{birth}</ns1:NgayThangNam></ns1:NgayThangNamSinh><ns1:QuocTich>VN</ns1:QuocTich>"
        "<ns1:ThuongTru><ns1:MaTinhThanh>31</ns1:MaTinhThanh><ns1:MaPhuongXa>11500</ns1:MaPhuongXa><ns1:QuocGia>VN</ns1:QuocGia></ns1:ThuongTru>"
        "</ns1:CongDan></ns1:CongdanCollection></soapenv:Body></soapenv:Envelope>"
    )
    return 1, answer.encode()


KINDS: dict[str, tuple[Callable[[bytes], tuple[int, bytes]], bytes]] = {
    "ministry": (ministry, b"application/json"),
    "population": (population, b"text/xml; charset=utf-8"),
}


class Server(asyncio.Protocol):
    """One connection of a caller."""

    def __init__(self, kind: str, books: Books) -> None:
        self._answer, self._type = KINDS[kind]
        self._books = books
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._parts: list[bytes] = []
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        body, self._parts = b"".join(self._parts), []
        if self._url.startswith(b"/_books"):
            said = self._books.told()
        else:
            records, said = self._answer(body)
            if records:
                self._books.note(records)
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (self._type, len(said), said)
        )


async def serve(kind: str) -> None:
    """Listen until terminated; the first line of output tells where."""
    books = Books()
    server = await asyncio.get_running_loop().create_server(lambda: Server(kind, books), "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(json.loads(sys.argv[1])["kind"]))
