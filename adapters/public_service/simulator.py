"""A stand-in for the public-service portal: sessions, filings, progress notices and their books.

One concern: the portal's contract as production integrations know it, held strictly. It must never take a filing
number twice, and it does what the real one is feared to do: a progress notice sent twice stands there twice.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import orjson
import yaml

from adapters.books import Effect
from adapters.contract import compiled
from adapters.twin import Ask, Say, Twin

HERE = Path(__file__).parent
PROFILE: dict[str, Any] = yaml.safe_load((HERE / "profile-assumed-2026.yaml").read_text("utf-8"))
SCHEMA: dict[str, Any] = json.loads((HERE / "contract" / "records.schema.json").read_text("utf-8"))
USERNAME, PASSWORD = "hub", "simulated-portal-password"
FINAL = "10"
"""A filing whose result was returned moves no more (assumed; every other change of state is let through)."""


class Simulator(Twin):
    """`POST …/login` gives a session; `POST` on the profile's path takes the services."""

    system: ClassVar[str] = "public_service"

    def __init__(
        self, *, username: str = USERNAME, password: str = PASSWORD, session_ttl_s: float = 900, **common: Any
    ) -> None:
        """Sessions end `session_ttl_s` seconds after login; they do not outlive the process."""
        self._account = (username, password)
        self._ttl = session_ttl_s
        self._sessions: dict[str, float] = {}
        self._filings: dict[str, dict[str, Any]] = {}
        self._states: dict[str, int] = {}
        self._steps: dict[str, list[dict[str, Any]]] = {}
        self._given: str | None = None
        self.logins = 0
        self._types = {name: compiled(schema, name) for name, schema in SCHEMA["$defs"].items()}
        super().__init__(**common)

    def restore(self, effect: Effect) -> None:
        """Filings as last told, and the notices of each."""
        if effect.type == "filing":
            self._filings[effect.key] = effect.content
            self._states[effect.key] = effect.version
        else:
            self._steps.setdefault(effect.content["MaHoSo"], []).append(effect.content)

    def authorised(self, url: str, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        """With a session in the body: the one logged in for, else a fresh one of this process."""
        return headers, orjson.dumps({"session": self._given or self._new_session()} | orjson.loads(body))

    def login(self) -> tuple[str, bytes]:
        """User name and password."""
        return "/mapi/login", orjson.dumps({"username": self._account[0], "password": self._account[1]})

    def logged_in(self, body: bytes) -> None:
        """Keep the session."""
        self._given = orjson.loads(body)["session"]

    def extra(self) -> dict[str, Any]:
        """Logins seen."""
        return {"logins": self.logins, "filings": len(self._filings)}

    def _new_session(self) -> str:
        session = f"{self.rng.getrandbits(128):032x}"
        self._sessions[session] = time.monotonic() + self._ttl
        return session

    def answer(self, ask: Ask) -> Say:
        """Login or service."""
        try:
            body = orjson.loads(ask.body)
        except orjson.JSONDecodeError:
            body = None
        if ask.method != "POST" or not isinstance(body, dict):
            self.books.refuse("unreadable")
            return _error("03", "Yêu cầu phải là POST với thân JSON", 400)
        if ask.path.endswith("/login"):
            return self._login(body)
        if ask.path != PROFILE["path"]:
            return _error("40", "Không có dịch vụ tại địa chỉ này", 404)
        session = body.get("session")
        if not isinstance(session, str) or self._sessions.get(session, 0.0) <= time.monotonic():
            self.books.refuse("session_expired")
            return self.expired(ask)
        if not isinstance(body.get("madonvi"), str) or not body["madonvi"]:
            self.books.refuse("code_refused")
            return _error("08", "Thiếu mã đơn vị")
        match body.get("service"):
            case "DongBoHoSoMC":
                return self._sync(body)
            case "CapNhatTienDoHoSoMC":
                return self._progress(body)
            case "TraCuuHoSo":
                return self._lookup(body)
        self.books.refuse("unknown_service")
        return _error("03", "Không có dịch vụ này")

    def expired(self, ask: Ask) -> Say:
        """The session has ended, or never was."""
        return _error("-1", "Phiên làm việc đã hết hạn")

    def _login(self, body: dict[str, Any]) -> Say:
        if (body.get("username"), body.get("password")) != self._account:
            self.books.refuse("credentials")
            return _error("1", "Sai tên đăng nhập hoặc mật khẩu")
        self.logins += 1
        return Say.of({"session": self._new_session(), "error_code": 0})

    def _sync(self, body: dict[str, Any]) -> Say:
        if body.keys() != {"session", "madonvi", "service", "isUpdating", "data"}:
            return self._invalid("session, madonvi, service, isUpdating, data")
        updating, data = body["isUpdating"], body["data"]
        if updating not in ("True", "False") or not isinstance(data, list) or len(data) != 1:
            return self._invalid("isUpdating “True”/“False”, data: một hồ sơ")
        if told := self._fault_of("filing", data[0]):
            return self._invalid(told)
        number = data[0]["MaHoSo"]
        held = self._filings.get(number)
        if updating == "False":
            if held is not None:
                self.books.repeat()
                return _error("05", f"Hồ sơ {number} đã tồn tại")
            return self._keep(number, data[0], "NEW")
        if held is None:
            self.books.refuse("filing_not_found")
            return _error("04", f"Hồ sơ {number} không tồn tại")
        if held == data[0]:
            self.books.repeat()
            return _row(number)
        if held["TrangThaiHoSo"] == FINAL and data[0]["TrangThaiHoSo"] != FINAL:
            self.books.refuse("state_refused")
            return _error("09", "Hồ sơ đã trả kết quả")
        return self._keep(number, data[0], "UPDATE")

    def _keep(self, number: str, filing: dict[str, Any], event: str) -> Say:
        version = self._states.get(number, 0) + 1
        self._filings[number], self._states[number] = filing, version
        self.books.put(key=number, version=version, event=event, type="filing", content=filing)
        return _row(number)

    def _progress(self, body: dict[str, Any]) -> Say:
        data = body.get("data")
        if body.keys() != {"session", "madonvi", "service", "data"} or not isinstance(data, list):
            return self._invalid("session, madonvi, service, data")
        if not 0 < len(data) <= PROFILE["progress_limit"]:
            return self._invalid("số mục tiến độ trong gói ngoài giới hạn")
        return Say.of({"error_code": 0, "message": "", "result": [self._step(step) for step in data]})

    def _step(self, step: Any) -> dict[str, Any]:
        number = step.get("MaHoSo") if isinstance(step, dict) else None
        if told := self._fault_of("progress", step):
            self.books.refuse("invalid_data")
            return {"MAHOSO": number, "ERROR_CODE": "03", "MESSAGE": told}
        if number not in self._filings:
            self.books.refuse("filing_not_found")
            return {"MAHOSO": number, "ERROR_CODE": "04", "MESSAGE": f"Hồ sơ {number} không tồn tại"}
        self._steps.setdefault(number, []).append(step)
        key = f"{number}/{step['ThoiDiemXuLy']}/{step['TrangThai']}"
        self.books.put(key=key, event="NOTICE", type="progress", content=step)
        return {"MAHOSO": number, "ERROR_CODE": "0", "MESSAGE": ""}

    def _lookup(self, body: dict[str, Any]) -> Say:
        number = body.get("MaHoSo")
        if body.keys() != {"session", "madonvi", "service", "MaHoSo"} or not isinstance(number, str):
            return self._invalid("session, madonvi, service, MaHoSo")
        filing = self._filings.get(number)
        if filing is None:
            return Say.of({"error_code": 0, "message": "", "result": []})
        row = {key.upper(): value for key, value in filing.items()}
        row[PROFILE["progress_list"]] = [{k.upper(): v for k, v in s.items()} for s in self._steps.get(number, ())]
        return Say.of({"error_code": 0, "message": "", "result": [row]})

    def _fault_of(self, kind: str, record: Any) -> str | None:
        """What is wrong with a record, or None. Dates must be real days besides having 14 digits."""
        try:
            msgspec.convert(record, self._types[kind])
            for name, value in record.items():
                if isinstance(value, str) and value and name.startswith(("Ngay", "ThoiDiem")):
                    datetime.strptime(value, "%Y%m%d%H%M%S")  # noqa: DTZ007 - local time by contract
        except (msgspec.ValidationError, ValueError) as error:
            return str(error)
        return None

    def _invalid(self, told: str) -> Say:
        self.books.refuse("invalid_data")
        return _error("03", f"Dữ liệu không hợp lệ: {told}")

    def shortened(self, say: Say) -> Say:
        """Without the last row."""
        return _changed(say, lambda rows: rows[:-1])

    def duplicated(self, say: Say) -> Say:
        """Every row twice."""
        return _changed(say, lambda rows: rows + rows)

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Account and session length."""
        parser.add_argument("--username", default=USERNAME)
        parser.add_argument("--password", default=PASSWORD)
        parser.add_argument("--session-ttl", type=float, default=900, help="seconds")

    @classmethod
    def options(cls, args: argparse.Namespace) -> dict[str, Any]:
        """From the command line."""
        return {"username": args.username, "password": args.password, "session_ttl_s": args.session_ttl}


def _error(code: str, message: str, status: int = 200) -> Say:
    return Say.of({"error_code": code, "message": message, "result": []}, status)


def _row(number: str) -> Say:
    return Say.of({"error_code": 0, "message": "", "result": [{"MAHOSO": number, "ERROR_CODE": "0"}]})


def _changed(say: Say, change: Callable[[list[Any]], list[Any]]) -> Say:
    answer = orjson.loads(say.body)
    if answer.get("result"):
        answer["result"] = change(answer["result"])
    return Say.of(answer, say.status)


if __name__ == "__main__":
    Simulator.main()
