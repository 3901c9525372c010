"""A stand-in for the national population database: SOAP look-ups over synthetic people.

One concern: to answer `TraCuuThongTinCongDan` as strictly as the real service may, and to keep books of every look-up.
It must never hold a real person, and its books must never hold a personal number: only a keyed hash of it.
"""

from __future__ import annotations

import argparse
import hmac
import time
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal
from xml.sax.saxutils import escape, quoteattr

import msgspec
from lxml import etree
from msgspec import Struct

from adapters.books import Effect
from adapters.population import envelope
from adapters.population.identity import same_spelling
from adapters.twin import Ask, Say, Twin

_Q = f"{{{envelope.REQUEST_NS}}}"
_BOOKS_KEY = b"population-simulator-books"
SAMPLE_PEOPLE = Path(__file__).parent / "people.json"
"""A few synthetic people, for tests and for a simulator started without `--people`."""
USER, CLIENT = "so-gddt", "VN/GOV/000.00.00.H24/so-gddt"
SECRET, API_KEY = "population-simulator", "population-key"  # opens nothing but this simulator
_XML = "text/xml; charset=utf-8"
_FRESH_S = 300
_OPEN = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
    "<soapenv:Header/><soapenv:Body>"
)
_CLOSE = "</soapenv:Body></soapenv:Envelope>"
_COLLECTION = '<ns1:CongdanCollection xmlns:ns1="http://www.mic.gov.vn/dancu/1.0" '


class Person(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One synthetic citizen of the `--people` file: a JSON array of these."""

    number: str
    """12 digits."""
    name: str
    birth: str
    """`YYYYMMDD`, or `YYYY` when only the year is recorded."""
    sex: Literal["", "0", "1", "2"] = ""
    """The database's own code: 1 male, 2 female; 0 or empty is not recorded."""
    old_number: str = ""
    """9 digits, or empty."""
    ethnicity: str = "01"
    province: str = "31"
    district: str = ""
    """3 digits, or empty as after July 2025."""
    ward: str = ""


def number_hash(number: str) -> str:
    """What the books write in place of a personal number: HMAC-SHA-256 with a fixed, public key, hex."""
    return hmac.new(_BOOKS_KEY, number.encode(), sha256).hexdigest()


def signature(url: str, user: str, timestamp: str, secret: str) -> str:
    """The Authorization header's value for one request."""
    digest = sha256((url + user + timestamp + secret).encode()).hexdigest()
    return "Basic " + b64encode(f"{user}:{digest}".encode()).decode()


class Simulator(Twin):
    """The simulated database.

    `identity`: with `number` it answers whoever bears the number, with `all` only when name and birth agree as well.
    """

    system: ClassVar[str] = "population"

    def __init__(
        self,
        *,
        books: Path | None = None,
        seed: int = 0,
        quota_per_s: int | None = 50,
        latency_ms: float = 0,
        people: list[Person] | None = None,
        user: str = USER,
        secret: str = SECRET,
        api_key: str = API_KEY,
        client: str = CLIENT,
        timestamp_unit: Literal["ms", "s"] = "ms",
        quota_as: Literal["http", "fault"] = "http",
        identity: Literal["number", "all"] = "number",
    ) -> None:
        self._asked_before: set[str] = set()
        self._lookups: dict[str, int] = {}
        if people is None:
            people = msgspec.json.decode(SAMPLE_PEOPLE.read_bytes(), type=list[Person])
        self._people = {person.number: person for person in people}
        self._by_old_number = {person.old_number: person for person in people if person.old_number}
        self._user, self._secret, self._api_key, self._client = user, secret, api_key, client
        self._unit = 1000 if timestamp_unit == "ms" else 1
        self._quota_as, self._identity = quota_as, identity
        self._schema = etree.XMLSchema(etree.parse(str(envelope.CONTRACT / "request.xsd")))
        self._data_time = time.strftime("%Y%m%d%H%M%S", time.gmtime())
        # 0 lifts the quota.
        super().__init__(books=books, seed=seed, quota_per_s=quota_per_s or None, latency_ms=latency_ms)

    # ------------------------------------------------------------------ the service

    def answer(self, ask: Ask) -> Say:
        """Check the call as a strict service would, note the look-up, answer."""
        refused = self._envelope_refused(ask) or self._caller_refused(ask)
        if refused is not None:
            return refused
        try:
            question = envelope.payload(ask.body)
        except envelope.Unreadable as error:
            return self._fault("Client", f"Không đọc được yêu cầu: {error}", "unreadable")
        if not self._schema.validate(question):
            log: Any = self._schema.error_log
            place = ", ".join(sorted({str(entry.path) for entry in log}))
            return self._fault("Client.Validation", f"Yêu cầu sai cấu trúc tại {place}", "invalid request")
        if question.tag != f"{_Q}{envelope.OPERATION}":
            return self._fault("Client", "Không có dịch vụ này", "unknown operation")
        values = {str(node.tag).removeprefix(_Q): (node.text or "").strip() for node in question.iter()}
        person = self._find(values)
        self._note(values, found=person is not None)
        return Say(200, self._answer(values["MaYeuCau"], person), _XML)

    def _envelope_refused(self, ask: Ask) -> Say | None:
        if ask.method != "POST":
            self.books.refuse("method")
            return Say(405, b"", "text/plain", {"Allow": "POST"})
        if not ask.headers.get("Content-Type", "").lower().startswith("text/xml"):
            self.books.refuse("content type")
            return Say(415, b"", "text/plain")
        if ask.headers.get("SOAPAction") not in ('""', ""):
            return self._fault("Client.Validation", "SOAPAction phải là chuỗi rỗng", "SOAPAction")
        return None

    def _caller_refused(self, ask: Ask) -> Say | None:
        headers = ask.headers
        timestamp = headers.get("Timestamp", "")
        if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 16:
            return self._unauthenticated("Timestamp không hợp lệ", "timestamp")
        if abs(int(timestamp) / self._unit - time.time()) > _FRESH_S:
            return self._unauthenticated("Timestamp quá hạn", "timestamp")
        scheme, _, credentials = headers.get("Authorization", "").partition(" ")
        try:
            user, _, digest = b64decode(credentials, validate=True).decode().partition(":")
        except (Base64Error, ValueError):
            return self._unauthenticated("Authorization không hợp lệ", "signature")
        # A base address may be signed with or without its closing slash.
        expected = [self._digest(url, timestamp) for url in {ask.url, ask.url.rstrip("/")}]
        if scheme != "Basic" or user != self._user or digest not in expected:
            return self._unauthenticated("Chữ ký không đúng", "signature")
        if headers.get("ApiKey") != self._api_key:
            return self._unauthenticated("ApiKey không đúng", "api key")
        if headers.get("X-Road-Client") != self._client:
            return self._fault("Client.Authorization", "Đơn vị chưa được cấp quyền", "client")
        return None

    def _digest(self, url: str, timestamp: str) -> str:
        return sha256((url + self._user + timestamp + self._secret).encode()).hexdigest()

    def _unauthenticated(self, text: str, reason: str) -> Say:
        return self._fault("Client.Authentication", text, reason, status=401)

    def _fault(self, code: str, text: str, reason: str, status: int = 500) -> Say:
        self.books.refuse(reason)
        fault = (
            f"<soapenv:Fault><faultcode>soapenv:{code}</faultcode>"
            f"<faultstring>{escape(text)}</faultstring></soapenv:Fault>"
        )
        return Say(status, (_OPEN + fault + _CLOSE).encode(), _XML)

    def _find(self, values: dict[str, str]) -> Person | None:
        number, old_number = values.get("SoDinhDanh"), values.get("SoCMND", "")
        person = self._people.get(number) if number else self._by_old_number.get(old_number)
        if person is None or self._identity == "number":
            return person
        birth = values.get("NgayThangNam") or values.get("Nam", "")
        shorter = min(len(birth), len(person.birth))
        agrees = same_spelling(values["HoVaTen"]) == same_spelling(person.name)
        return person if agrees and birth[:shorter] == person.birth[:shorter] else None

    def _note(self, values: dict[str, str], found: bool) -> None:
        """One entry per request number; the same number asked again is a repeat, not a second look-up."""
        request_id = values["MaYeuCau"]
        if request_id in self._asked_before:
            self.books.repeat()
            return
        hashed = number_hash(values.get("SoDinhDanh") or values.get("SoCMND", ""))
        content = {"number": hashed, "officer": values["MaCanBo"], "unit": values["MaDVC"], "found": found}
        self.restore(self.books.put(key=request_id, event="LOOKUP", type="lookup", content=content))

    def restore(self, effect: Effect) -> None:
        """Remember a look-up of this or an earlier run."""
        self._asked_before.add(effect.key)
        hashed = str(effect.content["number"])
        self._lookups[hashed] = self._lookups.get(hashed, 0) + 1

    def extra(self) -> dict[str, Any]:
        """How many different numbers were asked for, and how many more than once (under different request numbers)."""
        return {
            "numbers": len(self._lookups),
            "numbers_asked_again": sum(1 for times in self._lookups.values() if times > 1),
            "people": len(self._people),
        }

    # ------------------------------------------------------------------ what it says

    def _answer(self, request_id: str, person: Person | None) -> bytes:
        count = 0 if person is None else 1
        head = f'{_COLLECTION}SoCongDan="{count}" ThoiDiemDuLieu="{self._data_time}" id={quoteattr(request_id)}'
        citizen = "" if person is None else _citizen(person)
        return f"{_OPEN}{head}>{citizen}</ns1:CongdanCollection>{_CLOSE}".encode()

    def shortened(self, say: Say) -> Say:
        """The answer without its person, who is still counted in SoCongDan."""
        before, _, rest = say.body.partition(b"<ns1:CongDan>")
        return msgspec.structs.replace(say, body=before + rest.partition(b"</ns1:CongDan>")[2])

    def duplicated(self, say: Say) -> Say:
        """The answer with its person twice."""
        before, found, rest = say.body.partition(b"<ns1:CongDan>")
        inner, _, after = rest.partition(b"</ns1:CongDan>")
        person = b"<ns1:CongDan>" + inner + b"</ns1:CongDan>" if found else b""
        return msgspec.structs.replace(say, body=before + person * 2 + after)

    def expired(self, ask: Ask) -> Say:
        """What a caller whose account has ended is told."""
        return self._unauthenticated("Tài khoản đã hết hạn", "account ended")

    def over_quota(self, ask: Ask) -> Say:
        """Beyond the quota: HTTP 429, or a SOAP fault where the platform in front speaks only SOAP."""
        if self._quota_as == "fault":
            return self._fault("Client.Quota", "Vượt hạn mức tra cứu", "quota")
        return super().over_quota(ask)

    def authorised(self, url: str, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        """A request with the headers the connector's signing scheme would add."""
        timestamp = str(int(time.time() * self._unit))
        signed = {
            "Timestamp": timestamp,
            "Authorization": signature(url, self._user, timestamp, self._secret),
            "X-Road-Client": self._client,
            "ApiKey": self._api_key,
        }
        return headers | signed, body

    # ------------------------------------------------------------------ as a process

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Options beside the common ones. `--quota-per-s` is 50 here unless given; 0 lifts it."""
        parser.set_defaults(quota_per_s=50)
        parser.add_argument("--people", type=Path, default=SAMPLE_PEOPLE, help="JSON array of synthetic people")
        parser.add_argument("--user", default=USER)
        parser.add_argument("--secret", default=SECRET)
        parser.add_argument("--api-key", default=API_KEY)
        parser.add_argument("--client", default=CLIENT, help="X-Road-Client it expects")
        parser.add_argument("--timestamp-unit", choices=("ms", "s"), default="ms")
        parser.add_argument("--quota-as", choices=("http", "fault"), default="http")
        parser.add_argument("--identity", choices=("number", "all"), default="number")

    @classmethod
    def options(cls, args: argparse.Namespace) -> dict[str, Any]:
        """Constructor arguments from the options. Raises OSError or msgspec.DecodeError for a bad people file."""
        names = ("user", "secret", "api_key", "client", "timestamp_unit", "quota_as", "identity")
        people = msgspec.json.decode(args.people.read_bytes(), type=list[Person])
        return {"people": people, **{name: getattr(args, name) for name in names}}


def _citizen(person: Person) -> str:
    """A person as the database writes one: by turns the name whole in Ten or in its three parts."""
    whole = person.name.upper()
    words = whole.split()
    if int(person.number[-1]) % 2 == 0 or len(words) < 2:
        name = f"<ns1:Ho/><ns1:ChuDem/><ns1:Ten>{escape(whole)}</ns1:Ten>"
    else:
        parts = [escape(part) for part in (words[0], " ".join(words[1:-1]), words[-1])]
        name = f"<ns1:Ho>{parts[0]}</ns1:Ho><ns1:ChuDem>{parts[1]}</ns1:ChuDem><ns1:Ten>{parts[2]}</ns1:Ten>"
    day = f"<ns1:NgayThangNam>{person.birth}</ns1:NgayThangNam>" if len(person.birth) == 8 else ""
    district = f"<ns1:MaQuanHuyen>{person.district}</ns1:MaQuanHuyen>" if person.district else ""
    return (
        f"<ns1:CongDan><ns1:SoDinhDanh>{person.number}</ns1:SoDinhDanh><ns1:SoCMND>{person.old_number}</ns1:SoCMND>"
        f"<ns1:HoVaTen>{name}</ns1:HoVaTen><ns1:GioiTinh>{person.sex}</ns1:GioiTinh>"
        f"<ns1:DanToc>{person.ethnicity}</ns1:DanToc><ns1:TonGiao>00</ns1:TonGiao>"
        f"<ns1:NgayThangNamSinh><ns1:Nam>{person.birth[:4]}</ns1:Nam>{day}</ns1:NgayThangNamSinh>"
        f"<ns1:QuocTich>VN</ns1:QuocTich><ns1:ThuongTru><ns1:MaTinhThanh>{person.province}</ns1:MaTinhThanh>"
        f"{district}<ns1:MaPhuongXa>{person.ward}</ns1:MaPhuongXa><ns1:QuocGia>VN</ns1:QuocGia></ns1:ThuongTru>"
        "</ns1:CongDan>"
    )


if __name__ == "__main__":
    Simulator.main()
