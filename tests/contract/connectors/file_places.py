"""One folder behind a connector of one kind, and the server before it if there is one: what tests of files share."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.address import AddressPolicy
from connectors.connector import LiveConnector, build
from connectors.settings import validate
from hub.kernel.ports import Call
from tests.contract.connectors import sftp_server as kit

KINDS = ["sftp", "folder"]
LOCAL = AddressPolicy(["127.0.0.0/8"])


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Place:
    """One folder behind a connector of one kind, and the server before it if there is one."""

    def __init__(self, kind: str, root: Path, book: Any) -> None:
        self.kind, self.root, self.book, self.clock = kind, root, book, Clock()

    def connector(self, policy: AddressPolicy | None = None, secrets: Any = None, **more: Any) -> LiveConnector:
        if self.kind == "sftp":
            transport = {
                "kind": "sftp", "host": "127.0.0.1", "port": self.book.port, "username": "so-gddt", "login": "password",
                "host_keys": [self.book.line], "root": "/",
            }  # fmt: skip
        else:
            transport = {"kind": "folder", "path": str(self.root)}
        settings = {
            "name": "tep",
            "system": "ministry",
            "transport": {**transport, **more},
            "policy": {"timeouts": {"connect_s": 2, "read_s": 0.6}, "quick_tries": {"attempts": 1}},
        }
        known = {"sftp_password": "mat-khau-dung"} if secrets is None else secrets
        allowed = policy or AddressPolicy(["127.0.0.0/8"], [self.root])
        return build(validate(settings), known, allowed, self.clock)

    def files(self, folder: str) -> dict[str, bytes]:
        place = self.root / folder
        return {f.name: f.read_bytes() for f in place.iterdir() if f.is_file()} if place.is_dir() else {}


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    root = tmp_path / "goc"
    root.mkdir()
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    if request.param == "folder":
        yield Place("folder", root, None)
        return
    with kit.serving(root) as book:
        yield Place("sftp", root, book)


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[Place]:
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    root = tmp_path / "goc"
    root.mkdir()
    with kit.serving(root) as book:
        yield Place("sftp", root, book)


def drop(name: str = "a.xml", body: bytes = b"<a/>") -> Call:
    return Call(operation="o", deliveries=(1,), body=body, content_type="", idempotent=True, method="PUT", path=name)


def run(use: Callable[[LiveConnector], Awaitable[Any]], connector: LiveConnector) -> Any:
    async def go() -> Any:
        try:
            return await use(connector)
        finally:
            await connector.close()

    return asyncio.run(go())


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
