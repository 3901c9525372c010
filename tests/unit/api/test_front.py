"""The door in front of the framework: pushes are answered there, everything else passes, and no push is left unanswered."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from fastapi import Request

from hub.api import auth, front, problems
from hub.kernel.access import EVERYWHERE
from hub.kernel.intake import Accepted, Overloaded, Source
from hub.keys import Keys
from hub.wiring import hasher_of
from mappings.engine import Catalogue

ITEM = {
    "data": {
        "learner_code": "HS1", "full_name": "Nguyễn Văn Mẫu", "birth_date": "2014-03-05", "sex": "1", "school_code": "31HP0123001",
        "school_level": "03", "status": "studying",
    }
}  # fmt: skip
CLIENT = auth.Client(id="c", scope=EVERYWHERE, rights=frozenset({"push"}), source=Source("client", "c"))


class Group:
    """Takes an arrival, or fails as it is told to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.taken: list[Any] = []

    async def put(self, arrival: Any) -> Accepted:
        if self.error is not None:
            raise self.error
        self.taken.append(arrival)
        return Accepted(message=(2500 << 37) + len(self.taken), records=1)


class Door:
    """An application with the door in front, and requests made by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keys = Keys(bytes(range(32)))
        self.group = Group()
        self.who: Any = CLIENT

        async def current(request: Request) -> auth.Client:
            if isinstance(self.who, Exception):
                raise self.who
            return self.who  # type: ignore[no-any-return]

        monkeypatch.setattr(front, "current_client", current)
        self.app = front.Gateway()
        problems.install(self.app)
        http = SimpleNamespace(single_max_bytes=1_048_576, bulk_max_bytes=10_000_000)
        core = SimpleNamespace(hasher=hasher_of(keys), catalogue=Catalogue.load(), moment=lambda: datetime.now(UTC))
        self.app.state.hub = SimpleNamespace(keys=keys, core=core, settings=SimpleNamespace(http=http))
        self.app.state.group = self.group

        @self.app.get("/v1/messages/{record_type}")
        async def other(record_type: str) -> str:
            return f"the framework's: {record_type}"

    def ask(
        self, *parts: bytes | None, path: str = "/v1/messages/learner", method: str = "POST", **headers: str
    ) -> tuple[int, dict[str, str], Any] | None:
        """Status, headers and body; None when nothing was answered. A part that is None: the client goes away."""
        waiting = list(parts)
        sent: list[Any] = []

        async def receive() -> Any:
            part = waiting.pop(0)
            return (
                {"type": "http.disconnect"}
                if part is None
                else {"type": "http.request", "body": part, "more_body": bool(waiting)}
            )

        async def send(message: Any) -> None:
            sent.append(message)

        given = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
            "root_path": "", "scheme": "http", "query_string": b"", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {},
            "headers": [(k.encode(), v.encode()) for k, v in given.items()],
        }  # fmt: skip
        asyncio.run(self.app(scope, receive, send))
        if not sent:
            return None
        body = b"".join(m.get("body", b"") for m in sent[1:])
        return (
            sent[0]["status"],
            {k.decode(): v.decode() for k, v in sent[0]["headers"]},
            json.loads(body) if body else None,
        )


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(monkeypatch)


def test_a_push_is_answered_after_the_commit_with_its_receipt(door: Door) -> None:
    answer = door.ask(json.dumps(ITEM).encode())
    assert answer is not None
    status, headers, body = answer
    assert status == 202 and body["records"] == 1 and headers["location"] == f"/v1/receipts/{body['receipt']}"
    (arrival,) = door.group.taken
    assert arrival.key is None and arrival.drafts[0].key == "HS1" and arrival.body == json.dumps(ITEM).encode()


def test_a_body_in_pieces_of_a_megabyte_in_all(door: Door) -> None:
    raw = json.dumps(ITEM).encode()
    raw += b" " * (1_048_576 - len(raw))
    answer = door.ask(*(raw[n : n + 60_000] for n in range(0, len(raw), 60_000)))
    assert answer is not None and answer[0] == 202
    answer = door.ask(raw, b" ")
    assert answer is not None and (answer[0], answer[2]["code"]) == (413, "too_large")


@pytest.mark.parametrize("error", [Overloaded(), ConnectionError("gone"), asyncpg.CannotConnectNowError("starting")])
def test_when_the_hub_is_overloaded_or_its_database_away_nothing_is_taken_and_the_sender_is_told_when_to_come_again(
    door: Door, error: Exception
) -> None:
    for where in ("group", "auth"):
        door.group.error, door.who = (error, CLIENT) if where == "group" else (None, error)
        answer = door.ask(json.dumps(ITEM).encode())
        assert answer is not None
        status, headers, body = answer
        assert (status, headers["retry-after"], body["code"]) == (503, "2", "busy"), where
        assert headers["content-type"] == "application/problem+json"
    assert door.group.taken == []


def test_what_is_refused_is_a_problem_here_as_elsewhere(door: Door) -> None:
    door.who = problems.Problem(401, "unauthenticated", problems.Text("sai", "wrong"))
    answer = door.ask(b"{}", accept_language="en")
    assert answer is not None and (answer[0], answer[2]["detail"], answer[1]["content-language"]) == (
        401,
        "wrong",
        "en",
    )
    door.who = CLIENT
    answer = door.ask(b"{}", path="/v1/messages/unicorn")
    assert answer is not None and (answer[0], answer[2]["code"]) == (404, "unknown_type")


def test_a_client_that_goes_away_gets_no_answer_and_raises_none(door: Door) -> None:
    assert door.ask(b'{"data"', None) is None
    assert door.group.taken == []


def test_everything_else_is_the_frameworks(door: Door) -> None:
    answer = door.ask(b"", method="GET")
    assert answer is not None and answer[2] == "the framework's: learner"
    for path in ("/v1/messages/", "/v1/messages/learner/", "/v1/messages/a/b", "/v1/other"):
        answer = door.ask(b"{}", path=path)
        assert answer is not None and answer[0] in (404, 405, 307), path
    assert door.group.taken == []
