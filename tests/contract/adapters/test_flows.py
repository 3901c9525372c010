"""Declared flows fit their schema, the adapters they lead to, and the field maps they name."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import orjson
import pytest
import yaml

from adapters import manifest as manifests

FLOWS = Path(__file__).parents[3] / "flows"
FIELDS = FLOWS.parent / "mappings" / "fields"
EVERY = sorted(FLOWS.glob("*/flow.yaml"))


@pytest.mark.parametrize("path", EVERY, ids=[p.parent.name for p in EVERY])
def test_flow_fits(path: Path) -> None:
    flow = yaml.safe_load(path.read_text("utf-8"))
    jsonschema.Draft202012Validator(orjson.loads((FLOWS / "schema.json").read_bytes())).validate(flow)
    assert flow["name"] == path.parent.name
    for target in flow["to"]:
        system, _, kind = target["map"].partition(".")
        assert flow["records"] == [kind], "a field map is for one record type"
        assert kind in manifests.load(system).accepts
        assert (FIELDS / f"{target['map']}.yaml").is_file()


def test_no_record_goes_to_a_connector_twice() -> None:
    seen: set[tuple[str, str]] = set()
    for path in EVERY:
        flow = yaml.safe_load(path.read_text("utf-8"))
        for pair in [(kind, target["connector"]) for kind in flow["records"] for target in flow["to"]]:
            assert pair not in seen, pair
            seen.add(pair)


def test_the_readme_names_every_flow() -> None:
    told = (FLOWS / "README.md").read_text("utf-8")
    assert all(f"`{p.parent.name}`" in told for p in EVERY)
