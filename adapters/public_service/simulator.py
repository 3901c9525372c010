"""A stand-in for the public-service portal: sessions, filings, progress notices, lists and their books.

One concern: the portal's contract as production integrations know it, held strictly. It must never take a filing
number twice, unless told to stand for a portal without that check; and it does what the real one is feared to do: a progress
notice sent twice stands there twice.
"""

from __future__ import annotations

import argparse
import time
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import orjson
import yaml

from adapters.books import Effect
from adapters.contract import types_of
from adapters.public_service.lists import LISTS, page_of
from adapters.twin import Ask, Say, Twin

HERE = Path(__file__).parent
PROFILE: dict[str, Any] = yaml.safe_load((HERE / "profile-assumed-2026.yaml").read_text("utf-8"))
USERNAME, PASSWORD = "hub", "simulated-portal-password"
_SERVICES: dict[str, str] = {told["service"]: name for name, told in PROFILE["pulls"].items()}


class Simulator(Twin):
    """`POST …/login` gives a session; `POST` on the profile's path takes the services.

    `takes_twice`: a create of a number it holds is no refusal but a second effect, so that its books show what a portal that
    refuses would hide: whether a caller creates twice.
    """

    system: ClassVar[str] = "public_service"
    rows: ClassVar[str] = "result"

    def __init__(
        self,
        *,
        username: str = USERNAME,
        password: str = PASSWORD,
        session_ttl_s: float = 900,
        takes_twice: bool = False,
        **common: Any,
    ) -> None:
        """Sessions end `session_ttl_s` seconds after login; they do not outlive the process."""
        self._account = (username, password)
        self._ttl = session_ttl_s
        self._takes_twice = takes_twice
        self._sessions: dict[str, float] = {}
        self._filings: dict[str, dict[str, Any]] = {}
        self._states: dict[str, int] = {}
        self._steps: dict[str, list[dict[str, Any]]] = {}
        self._at: dict[str, str] = {}
        """The state each filing is in: by its own word, or that of its last notice."""
        self._given: str | None = None
        self.logins = 0
        self.lists: dict[str, list[dict[str, Any]]] = {
            name: [dict(row) for row in rows] for name, rows in LISTS.items()
        }
        self._types = types_of(HERE / "contract" / "records.schema.json")
        super().__init__(**common)

    def restore(self, effect: Effect) -> None:
        """Filings as last told, and the notices of each."""
        if effect.type == "filing":
            self._filings[effect.key] = effect.content
            self._states[effect.key] = max(effect.version, self._states.get(effect.key, 0))
            self._at[effect.key] = effect.content["TrangThaiHoSo"]
        else:
            self._note(effect.content)

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

    def end_sessions(self) -> None:
        """Every session ends now, as after a restart of the real portal."""
        self._sessions.clear()

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
            case str(service) if service in _SERVICES:
                return self._list(_SERVICES[service], body)
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
            if held is not None and not self._takes_twice:
                self.books.repeat()
                return _error("05", f"Hồ sơ {number} đã tồn tại")
            return self._keep(number, data[0], "NEW")
        if held is None:
            self.books.refuse("filing_not_found")
            return _error("04", f"Hồ sơ {number} không tồn tại")
        if held == data[0]:
            self.books.repeat()
            return _row(number)
        if not self._may(number, data[0]["TrangThaiHoSo"]):
            self.books.refuse("state_refused")
            return _error("09", f"Hồ sơ đang ở trạng thái {self._at[number]}")
        return self._keep(number, data[0], "UPDATE")

    def _may(self, number: str, state: str) -> bool:
        now = self._at[number]
        return state == now or state in PROFILE["transitions"][now]

    def _keep(self, number: str, filing: dict[str, Any], event: str) -> Say:
        # A number's creation is its first version, however often it is made: a second one is a double in the books.
        held = self._states.get(number, 0)
        version = 1 if event == "NEW" else held + 1
        self._filings[number], self._states[number] = filing, max(version, held)
        self._at[number] = filing["TrangThaiHoSo"]
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
        if self._newest(step) and not self._may(number, step["TrangThai"]):
            self.books.refuse("state_refused")
            told = f"Hồ sơ đang ở trạng thái {self._at[number]}"
            return {"MAHOSO": number, "ERROR_CODE": "09", "MESSAGE": told}
        self._note(step)
        key = f"{number}/{step['ThoiDiemXuLy']}/{step['TrangThai']}"
        self.books.put(key=key, event="NOTICE", type="progress", content=step)
        return {"MAHOSO": number, "ERROR_CODE": "0", "MESSAGE": ""}

    def _newest(self, step: dict[str, Any]) -> bool:
        return all(step["ThoiDiemXuLy"] >= s["ThoiDiemXuLy"] for s in self._steps.get(step["MaHoSo"], ()))

    def _note(self, step: dict[str, Any]) -> None:
        if self._newest(step):
            self._at[step["MaHoSo"]] = step["TrangThai"]
        self._steps.setdefault(step["MaHoSo"], []).append(step)

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

    def _list(self, name: str, body: dict[str, Any]) -> Say:
        rule, paging = PROFILE["pulls"][name], PROFILE["paging"]
        since = rule.get("since")
        wanted = {"session", "madonvi", "service", paging["page"], paging["size"], *((since,) if since else ())}
        if body.keys() != wanted:
            return self._invalid(", ".join(sorted(wanted)))
        try:
            page, size = int(body[paging["page"]]), int(body[paging["size"]])
            if since:
                datetime.strptime(body[since], "%Y%m%d%H%M%S")  # noqa: DTZ007 - local time by contract
        except (TypeError, ValueError) as error:
            return self._invalid(str(error))
        if page < 1 or not 0 < size <= paging["rows"]:
            return self._invalid("trang ngoài giới hạn")
        rows = [r for r in self.lists[name] if not since or r[rule["asked_at"]] >= body[since]]
        return Say.of({"error_code": 0, "message": "", "result": page_of(rows, page, size)})

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

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Account and session length."""
        parser.add_argument("--username", default=USERNAME)
        parser.add_argument("--password", default=PASSWORD)
        parser.add_argument("--session-ttl", type=float, default=900, help="seconds")
        parser.add_argument("--takes-twice", action="store_true", help="a second create is an effect, not a refusal")

    @classmethod
    def options(cls, args: argparse.Namespace) -> dict[str, Any]:
        """From the command line."""
        return {
            "username": args.username,
            "password": args.password,
            "session_ttl_s": args.session_ttl,
            "takes_twice": args.takes_twice,
        }


def _error(code: str, message: str, status: int = 200) -> Say:
    return Say.of({"error_code": code, "message": message, "result": []}, status)


def _row(number: str) -> Say:
    return Say.of({"error_code": 0, "message": "", "result": [{"MAHOSO": number, "ERROR_CODE": "0"}]})


if __name__ == "__main__":
    Simulator.main()
