"""A stand-in for the national population database: questions over SOAP or REST about synthetic people.

One concern: to answer every operation of the contract as strictly as the real service may, and to keep books of every
question. It must never hold a real person, and its books must never hold a personal number: only a keyed hash of it.
"""

from __future__ import annotations

import argparse
import hmac
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
from lxml import etree

from adapters.books import Effect
from adapters.population import envelope, forms, people
from adapters.population.door import API_KEY, CLIENT, SECRET, USER, Door, signature
from adapters.population.forms import Values
from adapters.population.identity import name_differs, same_spelling
from adapters.population.people import Person
from adapters.population.places import present
from adapters.population.questions import DELETE, HISTORY, OPERATIONS, RESULT, STATUS, SUBMIT
from adapters.twin import Ask, Say, Twin
from mappings.canonical.registry import WARDS_CHANGED

_Q = f"{{{envelope.REQUEST_NS}}}"
_BOOKS_KEY = b"population-simulator-books"
SAMPLE_PEOPLE = Path(__file__).parent / "people.json"
"""A few synthetic people, for tests and for a simulator started without `--people`."""
__all__ = ["API_KEY", "CLIENT", "SAMPLE_PEOPLE", "SECRET", "USER", "Person", "Simulator", "number_hash", "signature"]
_XML, _JSON = "text/xml; charset=utf-8", "application/json; charset=utf-8"
_PEOPLE = frozenset({"TraCuuThongTinCongDan", "CungCapThongTinCongDan"})


def number_hash(number: str) -> str:
    """What the books write in place of a personal number: HMAC-SHA-256 with a fixed, public key, hex."""
    return hmac.new(_BOOKS_KEY, number.encode(), sha256).hexdigest()


class Simulator(Twin):
    """The simulated database.

    `identity`: with `number` it answers whoever bears the number, with `all` only when name and birth agree as well.
    `way_in`: signed headers, an LGSP access token, or the exchange's own header alone. `polls`: how often an asynchronous
    request is said to be under way before it is done; the first `fail_first` of them fail instead.
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
        way_in: Literal["signed", "lgsp", "xroad"] = "signed",
        polls: int = 1,
        fail_first: int = 0,
    ) -> None:
        self._asked_before: set[str] = set()
        self._lookups: dict[str, int] = {}
        if people is None:
            people = msgspec.json.decode(SAMPLE_PEOPLE.read_bytes(), type=list[Person])
        self._people = {person.number: person for person in people}
        self._by_old_number = {person.old_number: person for person in people if person.old_number}
        unit = 1000 if timestamp_unit == "ms" else 1
        self._door = Door(user=user, secret=secret, api_key=api_key, client=client, unit=unit, way_in=way_in)
        self._quota_as, self._identity = quota_as, identity
        self._polls, self._failing = polls, fail_first
        self._by_hash: dict[str, Person] = {}
        self._requests: dict[str, dict[str, Any]] = {}
        """Asynchronous requests by their id here: number's hash, MaYeuCau, state, polls."""
        self._schema = etree.XMLSchema(etree.parse(str(envelope.CONTRACT / "request.xsd")))
        self._data_time = time.strftime("%Y%m%d%H%M%S", time.gmtime())
        # 0 lifts the quota.
        super().__init__(books=books, seed=seed, quota_per_s=quota_per_s or None, latency_ms=latency_ms)

    # ------------------------------------------------------------------ the service

    def answer(self, ask: Ask) -> Say:
        """Check the call as a strict service would, note the question, answer."""
        json = _is_json(ask)
        refused = self._envelope_refused(ask, json) or self._caller_refused(ask, json)
        if refused is not None:
            return refused
        try:
            question = forms.rebuilt(ask.path, ask.body) if json else envelope.payload(ask.body)
        except envelope.Unreadable as error:
            return self._fault("Client", f"Không đọc được yêu cầu: {error}", "unreadable", json=json)
        if not self._schema.validate(question):
            log: Any = self._schema.error_log
            place = ", ".join(sorted({str(entry.path) for entry in log}))
            return self._fault(
                "Client.Validation", f"Yêu cầu sai cấu trúc tại {place}", "invalid request", json=json, status=422
            )
        operation = str(question.tag).removeprefix(_Q)
        values = forms.plain(question)
        if operation == SUBMIT:
            return self._submitted(values, json)
        if operation in (STATUS, RESULT, DELETE):
            return self._about(operation, values, json)
        if operation == HISTORY:
            return self._say(json, "RequestHistory", {"YeuCau": self._history(values["MaYeuCau"])})
        person = self._find(values)
        self._note(values, found=person is not None)
        return self._told(operation, values, person, json)

    def _told(self, operation: str, values: Values, person: Person | None, json: bool) -> Say:
        if operation in _PEOPLE:
            return self._collection(values["MaYeuCau"], [person] if person else [], json)
        if operation == OPERATIONS["household"]:
            return self._collection(values["MaYeuCau"], self._household(person), json)
        told: Values = {"MaYeuCau": values["MaYeuCau"]}
        if operation == OPERATIONS["relatives"]:
            asked = values["NguoiThan"]
            known = [person is not None and _related(person, one) for one in asked]
            each = [{"TonTai": _yes(yes)} for yes in known]
            return self._say(json, "KetQuaXacMinh", told | {"TonTai": _yes(all(known)), "NguoiThan": each})
        if operation == OPERATIONS["householder"]:
            heads = [one for one in self._household(person) if one.householder]
            yes = any(_same(one.name, one.number, values["ChuHo"]) for one in heads)
            return self._say(json, "KetQuaXacMinh", told | {"TonTai": _yes(yes)})
        if operation == OPERATIONS["residence"]:
            yes = person is not None and _lives(person, values["NoiOHienTai"])
            place = {"NoiOHienTai": people.address(person)} if person is not None and not yes else {}
            return self._say(json, "KetQuaXacMinh", told | {"TonTai": _yes(yes), **place})
        agrees = person is not None and self._agrees(values, person)
        return self._say(json, "KetQuaXacMinh", told | {"TonTai": _yes(agrees)})

    def _household(self, person: Person | None) -> list[Person]:
        if person is None:
            return []
        shared = [p for p in self._people.values() if person.household and p.household == person.household]
        return [person, *(p for p in shared if p.number != person.number)]

    # ------------------------------------------------------------------ asynchronous requests

    def _submitted(self, values: Values, json: bool) -> Say:
        """Every submission is a request of its own, also under a number seen before: that is for the caller to know."""
        if values["DichVu"] not in _PEOPLE:
            return self._fault(
                "Client.Validation", "Dịch vụ không có dạng bất đồng bộ", "service", json=json, status=422
            )
        person = self._find(values)
        number = f"R{len(self._requests) + 1:06}"
        content = self._content(values, found=person is not None) | {"remote": number}
        self.restore(self.books.put(key=values["MaYeuCau"], event="LOOKUP", type="lookup", content=content))
        return self._say(json, "RequestState", self._state(number))

    def _state(self, number: str) -> Values:
        held = self._requests[number]
        return {"MaYeuCau": held["asked_as"], "RequestId": number, "TrangThai": held["state"], "ThoiGianCho": "1"}

    def _about(self, operation: str, values: Values, json: bool) -> Say:
        number = values["RequestId"]
        held = self._requests.get(number)
        if held is None or held["state"] == "DELETED":
            return self._fault("Client.NotFound", "Không có yêu cầu này", "no such request", json=json, status=422)
        if operation == STATUS:
            held["polls"] += 1
            if held["polls"] > self._polls and held["state"] != "DONE":
                held["state"] = "DONE" if int(number[1:]) > self._failing else "FAILED"
            return self._say(json, "RequestState", self._state(number))
        if held["state"] != "DONE":
            return self._fault("Client.NotFound", "Yêu cầu chưa có kết quả", "no result yet", json=json, status=422)
        if operation == DELETE:
            self.restore(self.books.put(key=number, event="DELETE", type="request"))
            return self._say(json, "RequestState", self._state(number))
        person = self._person_of(held["number"])
        return self._collection(held["asked_as"], [person] if person else [], json)

    def _history(self, request_id: str) -> list[Values]:
        mine = [number for number, held in self._requests.items() if held["asked_as"] == request_id]
        if not mine and request_id in self._asked_before:
            return [{"MaYeuCau": request_id, "RequestId": request_id, "TrangThai": "DONE"}]
        return [self._state(number) for number in mine]

    def _person_of(self, hashed: str) -> Person | None:
        """After a restart the books know a number by its hash alone."""
        if not self._by_hash:
            numbers = {n: p for p in self._people.values() for n in (p.number, p.old_number) if n}
            self._by_hash = {number_hash(n): p for n, p in numbers.items()}
        return self._by_hash.get(hashed)

    # ------------------------------------------------------------------ who may ask, and how

    def _envelope_refused(self, ask: Ask, json: bool) -> Say | None:
        if ask.method != "POST":
            self.books.refuse("method")
            return Say(405, b"", "text/plain", {"Allow": "POST"})
        if json:
            return None
        if not ask.headers.get("Content-Type", "").lower().startswith("text/xml"):
            self.books.refuse("content type")
            return Say(415, b"", "text/plain")
        if ask.headers.get("SOAPAction") not in ('""', ""):
            return self._fault("Client.Validation", "SOAPAction phải là chuỗi rỗng", "SOAPAction")
        return None

    def _caller_refused(self, ask: Ask, json: bool) -> Say | None:
        refused = self._door.refuses(ask.headers, ask.url, time.time())
        if refused is None:
            return None
        code, text, reason = refused
        return self._fault(code, text, reason, status=401 if code == "Client.Authentication" else 500, json=json)

    def _unauthenticated(self, text: str, reason: str, json: bool = False) -> Say:
        return self._fault("Client.Authentication", text, reason, status=401, json=json)

    def _fault(self, code: str, text: str, reason: str, status: int = 500, json: bool = False) -> Say:
        self.books.refuse(reason)
        if json:
            return Say(status, people.json_fault(code, text), _JSON)
        # SOAP 1.1 sends every fault with 500; the gateway in front answers 401 by itself.
        return Say(401 if status == 401 else 500, people.soap_fault(code, text), _XML)

    # ------------------------------------------------------------------ whom it knows, what it remembers

    def _find(self, values: Values) -> Person | None:
        number, old_number = values.get("SoDinhDanh"), values.get("SoCMND", "")
        person = self._people.get(number) if number else self._by_old_number.get(old_number)
        if person is None or self._identity == "number":
            return person
        return person if self._agrees(values, person) else None

    @staticmethod
    def _agrees(values: Values, person: Person) -> bool:
        born = values["NgayThangNamSinh"]
        birth = born.get("NgayThangNam") or born.get("Nam", "")
        shorter = min(len(birth), len(person.birth))
        agrees = same_spelling(values["HoVaTen"]) == same_spelling(person.name)
        return agrees and bool(birth[:shorter] == person.birth[:shorter])

    @staticmethod
    def _content(values: Values, found: bool) -> dict[str, Any]:
        hashed = number_hash(values.get("SoDinhDanh") or values.get("SoCMND", ""))
        return {"number": hashed, "officer": values["MaCanBo"], "unit": values["MaDVC"], "found": found}

    def _note(self, values: Values, found: bool) -> None:
        """One entry per request number; the same number asked again is a repeat, not a second look-up."""
        request_id = values["MaYeuCau"]
        if request_id in self._asked_before:
            self.books.repeat()
            return
        content = self._content(values, found)
        self.restore(self.books.put(key=request_id, event="LOOKUP", type="lookup", content=content))

    def restore(self, effect: Effect) -> None:
        """Remember a question of this or an earlier run."""
        if effect.event == "DELETE":
            self._requests[effect.key]["state"] = "DELETED"
            return
        self._asked_before.add(effect.key)
        hashed = str(effect.content["number"])
        self._lookups[hashed] = self._lookups.get(hashed, 0) + 1
        if number := effect.content.get("remote"):
            self._requests[number] = {"number": hashed, "asked_as": effect.key, "state": "PENDING", "polls": 0}

    def extra(self) -> dict[str, Any]:
        """How many different numbers were asked for, and how many more than once (under different request numbers)."""
        return {
            "numbers": len(self._lookups),
            "numbers_asked_again": sum(1 for times in self._lookups.values() if times > 1),
            "people": len(self._people),
            "requests": len(self._requests),
            "requests_open": sum(1 for held in self._requests.values() if held["state"] != "DELETED"),
        }

    # ------------------------------------------------------------------ what it says

    @staticmethod
    def _say(json: bool, name: str, content: Values, attributes: dict[str, str] | None = None) -> Say:
        if json:
            return Say(200, people.json(content, attributes), _JSON)
        return Say(200, people.soap(name, content, attributes), _XML)

    def _collection(self, request_id: str, found: list[Person], json: bool) -> Say:
        head = {"SoCongDan": str(len(found)), "ThoiDiemDuLieu": self._data_time, "id": request_id}
        return self._say(json, "CongdanCollection", {"CongDan": [people.citizen(one) for one in found]}, head)

    def shortened(self, say: Say) -> Say:
        """The answer without its last person, who is still counted in SoCongDan."""
        before, found, rest = say.body.rpartition(b"<ns1:CongDan>")
        if not found:
            return say
        return msgspec.structs.replace(say, body=before + rest.partition(b"</ns1:CongDan>")[2])

    def duplicated(self, say: Say) -> Say:
        """The answer with its first person twice."""
        before, found, rest = say.body.partition(b"<ns1:CongDan>")
        inner, _, after = rest.partition(b"</ns1:CongDan>")
        person = b"<ns1:CongDan>" + inner + b"</ns1:CongDan>" if found else b""
        return msgspec.structs.replace(say, body=before + person * 2 + after) if found else say

    def expired(self, ask: Ask) -> Say:
        """What a caller whose account has ended is told."""
        return self._unauthenticated("Tài khoản đã hết hạn", "account ended")

    def failed(self, ask: Ask) -> Say:
        """A fault of the database's own, in the caller's form."""
        if _is_json(ask):
            return Say(500, people.json_fault("Server", "Lỗi hệ thống"), _JSON)
        return Say(500, people.soap_fault("Server", "Lỗi hệ thống"), _XML)

    def over_quota(self, ask: Ask) -> Say:
        """Beyond the quota: HTTP 429, or a SOAP fault where the platform in front speaks only SOAP."""
        if self._quota_as == "fault":
            return self._fault("Client.Quota", "Vượt hạn mức tra cứu", "quota")
        return super().over_quota(ask)

    def authorised(self, url: str, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        """A request with the headers the connector's scheme would add."""
        return headers | self._door.headers(url, time.time()), body

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
        parser.add_argument("--way-in", choices=("signed", "lgsp", "xroad"), default="signed")
        parser.add_argument("--polls", type=int, default=1, help="polls before an asynchronous request is done")
        parser.add_argument("--fail-first", type=int, default=0, help="asynchronous requests that fail first")

    @classmethod
    def options(cls, args: argparse.Namespace) -> dict[str, Any]:
        """Constructor arguments from the options. Raises OSError or msgspec.DecodeError for a bad people file."""
        names = (
            "user",
            "secret",
            "api_key",
            "client",
            "timestamp_unit",
            "quota_as",
            "identity",
            "way_in",
            "polls",
            "fail_first",
        )
        people = msgspec.json.decode(args.people.read_bytes(), type=list[Person])
        return {"people": people, **{name: getattr(args, name) for name in names}}


def _is_json(ask: Ask) -> bool:
    return ask.headers.get("Content-Type", "").lower().startswith("application/json")


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _same(name: str, number: str, asked: Values) -> bool:
    wanted = asked.get("SoDinhDanh")
    return wanted == number if wanted and number else name_differs(asked["HoVaTen"], name) is None


def _related(person: Person, asked: Values) -> bool:
    return any(_same(one.name, one.number, asked) for one in person.relatives)


def _lives(person: Person, asked: Values) -> bool:
    """By code, whichever of a ward's two codes was given; details are not looked at."""
    for kind, held in (("MaPhuongXa", person.ward), ("MaTinhThanh", person.province)):
        wanted = asked.get(kind)
        table = "ward" if kind == "MaPhuongXa" else "province"
        former = table == "ward" and bool(person.district)
        known = present(table, held, WARDS_CHANGED, former=former) | {held}
        if wanted and held and not known & (present(table, wanted, WARDS_CHANGED) | {wanted}):
            return False
    return bool(person.ward)


if __name__ == "__main__":
    Simulator.main()
