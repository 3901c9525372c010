"""What `hub run` was told of outward addresses is what its processes are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from hub.run import Runner
from hub.settings import Settings


def test_both_kinds_of_networks_reach_the_children(tmp_path: Path) -> None:
    outward: dict[str, Any] = {"allow_private": ["10.0.0.0/8"], "gate_networks": ["10.20.0.0/16", "127.0.0.0/8"]}
    settings = Settings(data_dir=tmp_path / "data", master_key_file=tmp_path / "key", outward=cast(Any, outward))
    env = Runner(settings, cast(Any, None)).env
    assert json.loads(env["LT_OUTWARD__ALLOW_PRIVATE"]) == ["10.0.0.0/8"]
    assert json.loads(env["LT_OUTWARD__GATE_NETWORKS"]) == ["10.20.0.0/16", "127.0.0.0/8"]
