"""A stand-in for the Ministry's data centre that checks every record strictly and keeps books.

One concern: the record contract as the Ministry holds it, version rule first. It must never accept what the contract
files beside it forbid, and never forget a record it has answered for.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import orjson
import yaml

from adapters.books import Effect
from adapters.contract import types_of
from adapters.ministry.simulated_holdings import Holdings, held_of
from adapters.twin import Ask, Say, Twin

HERE = Path(__file__).parent
PROFILE: dict[str, Any] = yaml.safe_load((HERE / "profile-assumed-2026.yaml").read_text("utf-8"))
TOKEN = "simulated-ministry-token"  # noqa: S105 - opens nothing but this simulator
_KEY_FIELD = {"canbo": "magiaovien", "truong": "matruong", "lophoc": "malop"}
_CODE_BLOCK = 3_190_000_000
"""Lasting codes given by this simulator begin here."""


class Simulator(Twin):
    """`POST <push path>` and `GET <inquiry path>` of the assumed profile, with a bearer token."""

    system: ClassVar[str] = "ministry"
    rows: ClassVar[str] = "ketqua"

    def __init__(
        self,
        *,
        token: str = TOKEN,
        known_schools: frozenset[str] | None = None,
        dependencies: bool = False,
        **common: Any,
    ) -> None:
        """`known_schools`: schools held from before; None knows all. `dependencies`: records that name a class, a learner
        or a school which is not held are refused."""
        self._token = token
        self._schools = known_schools
        self._dependencies: dict[str, dict[str, str]] = PROFILE["dependencies"] if dependencies else {}
        self._names: dict[str, set[str]] = {}
        self._given: dict[str, str] = {}
        self._held: dict[tuple[str, str], int] = {}
        self._types = types_of(HERE / "contract" / "records.schema.json")
        self._routes: dict[str, str] = {PROFILE["push_path"].format(table=t): t for t in PROFILE["tables"].values()}
        self._lists = {PROFILE["listing"]["path"].format(table=t): t for t in PROFILE["tables"].values()}
        self._reads: dict[str, str] = {
            PROFILE["inquiry_path"].format(table=t, id=""): t for t in PROFILE["tables"].values()
        }
        self._holdings = Holdings()
        super().__init__(**common)

    def restore(self, effect: Effect) -> None:
        """The version held for each record, what others may name it by, and the lasting codes given."""
        self._held[(effect.type, effect.key)] = effect.version
        self._name(effect.type, effect.event, effect.content)
        if code := effect.content.get("given"):
            self._given[effect.key] = code
        self._holdings.note(effect.type, effect.key, effect.version, effect.event, effect.content)

    def authorised(self, url: str, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        """With the bearer token."""
        return headers | {"Authorization": f"Bearer {self._token}"}, body

    def answer(self, ask: Ask) -> Say:
        """Push or inquiry."""
        if ask.headers.get("Authorization") != f"Bearer {self._token}":
            self.books.refuse("credentials")
            return self.expired(ask)
        if ask.method == "POST" and (table := self._routes.get(ask.path)):
            return self._push(table, ask.body)
        if ask.method == "GET":
            if table := self._lists.get(ask.path):
                return Say.of(self._holdings.page(table, ask.query, PROFILE["listing"]["page"]))
            for prefix, table in self._reads.items():
                if ask.path.startswith(prefix):
                    return self._one(table, ask.path[len(prefix) :])
        return Say.of({"ma": "40", "thongbao": "Không có địa chỉ này"}, 404)

    def expired(self, ask: Ask) -> Say:
        """The token is not (or no longer) good."""
        return Say.of({"ma": "92", "thongbao": "Mã truy cập không hợp lệ hoặc đã hết hạn"}, 401)

    def _one(self, table: str, key: str) -> Say:
        version = self._held.get((table, key))
        if version is None:
            return Say.of({"ma": PROFILE["absent_code"], "thongbao": "Không có bản ghi"}, 404)
        return Say.of({"idbanghi": key, "phienban": version})

    def _push(self, table: str, body: bytes) -> Say:
        try:
            batch = orjson.loads(body)
            if set(batch) != {"matinh", "nguon", "banghi"} or not isinstance(batch["banghi"], list):
                raise ValueError("matinh, nguon, banghi")
        except (ValueError, TypeError) as error:
            self.books.refuse("unreadable")
            return Say.of({"ma": "41", "thongbao": f"Gói tin sai cấu trúc: {error}"}, 400)
        if not 0 < len(batch["banghi"]) <= PROFILE["batch_max"]:
            self.books.refuse("batch_size")
            return Say.of({"ma": "42", "thongbao": "Số bản ghi trong gói ngoài giới hạn"}, 400)
        rows = [self._record(table, record) for record in batch["banghi"]]
        return Say.of({"ma": "00", "thongbao": "Đã xử lý", "ketqua": rows})

    def _record(self, table: str, record: Any) -> dict[str, Any]:
        key: Any = record.get("idbanghi") if isinstance(record, dict) else None
        kind = "cancel" if isinstance(record, dict) and record.get("sukien") == "CANCEL" else table
        try:
            msgspec.convert(record, self._types[kind])
        except msgspec.ValidationError as error:
            self.books.refuse("invalid_data")
            return {"idbanghi": key, "ma": "10", "thongbao": str(error)}
        school = record.get("matruong")
        if self._schools is not None and table != "truong" and school is not None and school not in self._schools:
            self.books.refuse("missing_dependency")
            return {"idbanghi": key, "ma": "11", "thongbao": f"Chưa có trường {school}"}
        if kind != "cancel" and (missing := self._missing(table, record)):
            self.books.refuse("missing_dependency")
            return {"idbanghi": key, "ma": "11", "thongbao": f"Chưa có {missing}"}
        version: int = record["phienban"]
        held = self._held.get((table, key), 0)
        if version <= held:
            self.books.repeat()
            if version < held:
                self.books.out_of_order(key, held, version)
            told = {"idbanghi": key, "ma": "01", "thongbao": "Phiên bản không mới hơn", "phienban": held}
            return told | ({"mahocsinh": self._given[key]} if table == "hocsinh" and key in self._given else {})
        self._held[(table, key)] = version
        content = {"ma": record.get(_KEY_FIELD.get(table, "mahocsinh")), "matruong": school, **held_of(record)}
        said = {
            "idbanghi": key,
            "ma": "00",
            "thongbao": "",
            "phienban": version,
            "mabiennhan": f"{table}-{key}-{version}",
        }
        if table == "hocsinh" and kind != "cancel" and str(record["mahocsinh"]).startswith("TAM-"):
            said["mahocsinh"] = content["given"] = self._given.setdefault(key, str(_CODE_BLOCK + len(self._given) + 1))
        self._name(table, record["sukien"], content)
        self._holdings.note(table, key, version, record["sukien"], content)
        self.books.put(key=key, version=version, event=record["sukien"], type=table, content=content)
        return said

    def _name(self, table: str, event: str, content: dict[str, Any]) -> None:
        """Note what other tables may name this record by: a class by school and class, a learner also by the code given."""
        school, own = content.get("matruong"), content.get("ma")
        names = {f"{school}/{own}" if table == "lophoc" else str(own), str(content.get("given") or own)}
        known = self._names.setdefault(table, set())
        known.difference_update(names) if event == "CANCEL" else known.update(names)

    def _missing(self, table: str, record: dict[str, Any]) -> str | None:
        """What this record leans on and is not held, in words; None when all is."""
        for member, needed in self._dependencies.get(table, {}).items():
            value = record.get(member)
            if value is None or (needed == "truong" and self._schools is not None and value in self._schools):
                continue
            name = f"{record.get('matruong')}/{value}" if needed == "lophoc" else str(value)
            if name not in self._names.get(needed, set()):
                return f"{needed} {value}"
        return None

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Token and known schools."""
        parser.add_argument("--token", default=TOKEN)
        parser.add_argument("--known-schools", default=None, help="comma-separated codes; all when left out")
        parser.add_argument("--dependencies", action="store_true", help="refuse what names a record not held")

    @classmethod
    def options(cls, args: argparse.Namespace) -> dict[str, Any]:
        """From the command line."""
        schools = None if args.known_schools is None else frozenset(args.known_schools.split(","))
        return {"token": args.token, "known_schools": schools, "dependencies": args.dependencies}


if __name__ == "__main__":
    Simulator.main()
