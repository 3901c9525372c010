"""Processes of the hub on the session's PostgreSQL, ended by their test whatever happens."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub import lean
from hub.embedded.postgres import APP, EmbeddedPostgres
from hub.wiring import ROOT
from tests.scenario.dispatch.conftest import items, stage  # noqa: F401 - fixtures of these tests too
from tests.scenario.ending.children import Processes


@pytest.fixture
def processes(postgres: EmbeddedPostgres, database: str, tmp_path: Path) -> Iterator[Processes]:
    key = tmp_path / "keys" / "master.key"
    key.parent.mkdir(mode=0o700)
    key.write_text(bytes(range(32)).hex())  # the key of the session's ledger
    key.chmod(0o600)
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LT_")}, **lean.ENVIRONMENT, "PYTHONPATH": str(ROOT),
        "LT_DATA_DIR": str(tmp_path / "hub"), "LT_MASTER_KEY_FILE": str(key), "LT_DATABASE_URL": postgres.dsn(database, APP).url,
        "LT_AIRFLOW__MODE": "off", "LT_OUTWARD__ALLOW_PRIVATE": json.dumps(["127.0.0.0/8"]),
    }  # fmt: skip
    made = Processes(env, tmp_path, postgres)
    try:
        yield made
    finally:
        for child in made.children:
            child.kill()
