"""What every adapter folder must be: a valid manifest, honest profiles, a sample per outcome, pure code."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import jsonschema
import orjson
import pytest
import yaml

from adapters import manifest as manifests
from adapters.kit import not_carried_out
from adapters.manifest import Manifest, ManifestError
from adapters.samples import GOLDEN, Sample, example_settings, plain_call, samples
from adapters.twin import FAULTS, Twin
from hub.kernel.ports import Reply, TryLater

READ_KINDS = {"Receipt", "TryLater", "NeverTry", "NeedsPerson", "Unknown", "next"}


def test_every_folder_has_a_manifest() -> None:
    folders = {p.parent.name for p in manifests.ROOT.glob("*/adapter.py")}
    assert folders == set(manifests.systems())
    assert {"ministry", "public_service"} <= folders


def test_manifest_stands_with_its_folder(manifest: Manifest) -> None:
    module, _, name = manifest.adapter.partition(":")
    made = getattr(importlib.import_module(module), name)
    assert module == f"adapters.{manifest.system}.adapter"
    assert hasattr(made, "render") or hasattr(made, "decode")
    assert manifest.inquire == (hasattr(made, "inquire") and hasattr(made, "settle"))
    simulator = importlib.import_module(f"adapters.{manifest.system}.simulator").Simulator
    assert issubclass(simulator, Twin)
    assert simulator.system == manifest.system
    assert (manifest.folder / "README.md").is_file()
    assert manifest.settle_after_s > 0
    assert manifest.absent_gap_s > 0


def test_operations_promise_what_they_can_keep(manifest: Manifest) -> None:
    for name, operation in manifest.operations.items():
        assert operation.idempotent == (operation.repeat == "harmless"), name
        assert operation.batch_max >= 1, name


def test_every_text_is_in_both_languages(manifest: Manifest) -> None:
    for text in [manifest.title, *(o.title for o in manifest.outcomes)]:
        assert text.vi.strip()
        assert text.en.strip()
    for name, declared in manifest.settings.get("properties", {}).items():
        assert {"title", "x-title-en", "description", "x-description-en", "examples"} <= declared.keys(), name
    for name, told in manifest.form()["properties"].items():
        assert set(told["x-title"]) == {"vi", "en"}, name


def test_settings_schema_is_strict_and_its_examples_pass(manifest: Manifest) -> None:
    jsonschema.Draft202012Validator.check_schema(manifest.settings)
    assert manifest.settings["additionalProperties"] is False
    manifest.build(example_settings(manifest))
    with pytest.raises(ManifestError, match="no_such_setting"):
        manifest.build(example_settings(manifest) | {"no_such_setting": 1})
    for name in manifest.settings.get("required", []):
        with pytest.raises(ManifestError, match=name):
            manifest.build(example_settings(manifest) | {name: None})
    with pytest.raises(ManifestError):
        manifest.profile("no-such-profile")


def test_profiles_say_that_and_why_they_assume(manifest: Manifest) -> None:
    for name in manifest.profiles:
        profile = manifest.profile(name)
        assert {"profile", "version", "title", "assumed"} <= profile.keys()
        assert not profile["assumed"] or len(profile["why"]) > 40
        manifest.build(example_settings(manifest), name)
    lying = {p.name for p in manifest.folder.glob("profile-*.yaml")} - set(manifest.profiles)
    assert not lying, f"profiles nobody can choose: {lying}"


def test_only_a_named_status_sends_again_what_must_not_stand_twice(manifest: Manifest) -> None:
    """Nothing is taken for not carried out that its profile does not name with a source; what may be repeated needs no name."""
    rendered = [s for s in samples(manifest) if s.case.what == "render"]
    for name in manifest.profiles:
        profile = manifest.profile(name)
        certain = not_carried_out(profile) if "not_carried_out" in profile else frozenset()
        assert certain or all(o.idempotent for o in manifest.operations.values())
        for line in profile.get("not_carried_out", []):
            by_rfc = re.match(r"RFC \d{4}, \d", line["source"])
            assert len(line["source"]) > 10 or by_rfc, line
            assert not (by_rfc and {408, 503} & set(line["statuses"])), "no RFC says so of these"
        for sample in rendered:
            adapter = manifest.build(example_settings(manifest) | sample.case.settings, name)
            for call in sample.calls(adapter):
                for status in range(300, 600):
                    told = adapter.read(call, Reply(status=status, body=b"")).outcomes.values()
                    again = [o for o in told if isinstance(o, TryLater) or getattr(o, "scope", "") == "connector"]
                    assert call.idempotent or status in certain or not again, (sample.name, status)
                    assert status not in (429, 503) or not call.idempotent or again, (sample.name, status)


def test_every_outcome_has_a_sample_and_every_sample_an_outcome(manifest: Manifest) -> None:
    shown = {s.case.outcome for s in samples(manifest) if s.case.what in ("read", "settle")}
    assert shown == {o.name for o in manifest.outcomes}


def test_every_fault_and_live_sample_is_declared(manifest: Manifest) -> None:
    assert set(manifest.faults) == set(FAULTS)
    names = {o.name for o in manifest.outcomes}
    assert all(f.sees in names | {"maybe_sent"} for f in manifest.faults.values())
    rendered = {s.name for s in samples(manifest) if s.case.what == "render"}
    assert manifest.live
    assert set(manifest.live) <= rendered


def test_every_operation_is_rendered_by_a_sample(manifest: Manifest) -> None:
    shown = set()
    for sample in samples(manifest):
        if sample.case.what == "render":
            for call in sample.calls(sample.adapter()):
                shown.add(call.operation)
                assert call.operation in manifest.operations
                assert call.idempotent == manifest.operations[call.operation].idempotent
                assert len(call.deliveries) <= manifest.operations[call.operation].batch_max
    assert shown == set(manifest.operations)


def test_sample_gives_its_golden_file(sample: Sample, no_sockets: None) -> None:
    assert sample.golden.name == GOLDEN[sample.case.what]
    assert sample.run() == orjson.loads(sample.golden.read_bytes())


def test_recorded_call_is_rendered_again(sample: Sample, no_sockets: None) -> None:
    """A sample made of recorded traffic holds its call too."""
    path = sample.folder / "calls.json"
    if sample.case.what == "read" and path.exists():
        assert [plain_call(c) for c in sample.calls(sample.adapter())] == orjson.loads(path.read_bytes())


def test_sample_shows_the_outcome_it_claims(sample: Sample) -> None:
    if sample.case.what not in ("read", "settle"):
        return
    declared = {o.name: o.kind for o in sample.manifest.outcomes}
    kind = declared[sample.case.outcome or ""]
    golden = orjson.loads(sample.golden.read_bytes())
    if sample.case.what == "settle":
        assert golden["verdict"] == kind
    elif kind == "next":
        assert golden["next"] is not None
    else:
        assert kind in {o["type"] for o in golden["outcomes"].values()}


def test_rendering_is_complete_and_the_same_twice(sample: Sample, no_sockets: None) -> None:
    if sample.case.what != "render":
        return
    outgoing = sample.outgoing()
    first, second = sample.adapter().render(outgoing), sample.adapter().render(outgoing)
    assert first == second
    placed = [d for call in first for d in call.deliveries]
    assert sorted(placed) == sorted(o.delivery for o in outgoing)
    for call in first:
        assert not call.path.startswith("http"), "addresses belong to connectors"
        assert not {h.lower() for h in call.headers} & {"authorization", "cookie", "x-api-key"}
        assert call.key or not sample.manifest.inquire
        orjson.dumps(call.meta)


def test_adapter_imports_only_what_it_may(manifest: Manifest) -> None:
    """Ports, mappings, the shared kit and its own folder; no clock, no random, no socket, no HTTP client."""
    mine = f"adapters.{manifest.system}"
    allowed = re.compile(rf"(hub\.kernel\.ports|mappings(\..+)?|adapters\.kit|{re.escape(mine)}(\..+)?)$")
    banned = re.compile(r"(socket|ssl|random|secrets|time|aiohttp|asyncio|httpx|requests|urllib\.request)$")
    for path in manifest.folder.glob("*.py"):
        if path.name == "simulator.py":
            continue
        for name in _imports(path):
            assert not banned.match(name), f"{path.name}: {name}"
            if name.split(".")[0] in ("hub", "adapters", "connectors", "iot", "flows", "mappings", "airflow"):
                assert allowed.match(name), f"{path.name}: {name}"


def _imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            found.append(node.module or "")
    return found


def test_yaml_has_no_surprises(manifest: Manifest) -> None:
    """Keys are text everywhere: YAML reads a bare `on` or `no` as a truth value."""

    def walk(value: object) -> None:
        if isinstance(value, dict):
            assert all(isinstance(key, str) for key in value), value
            for sub in value.values():
                walk(sub)
        elif isinstance(value, list):
            for sub in value:
                walk(sub)

    for path in [*manifest.folder.glob("*.yaml"), *manifest.folder.glob("samples/*/*.yaml")]:
        walk(yaml.safe_load(path.read_text("utf-8")))
