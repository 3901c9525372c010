"""Contract files: what samples render obeys them, what field maps give fits them, and their compiled form agrees."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import orjson
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters import manifest as manifests
from adapters.contract import compiled
from adapters.samples import samples

FIELDS = Path(__file__).parents[3] / "mappings" / "fields"
ENVELOPE = {"idbanghi", "sukien", "phienban", "thoigiancapnhat", "ngaycapnhat"}
TABLES = {
    ("ministry", "learner"): "hocsinh",
    ("ministry", "staff"): "canbo",
    ("ministry", "school"): "truong",
    ("ministry", "class"): "lophoc",
    ("ministry", "study_result"): "ketqua",
    ("ministry", "health_check"): "suckhoe",
    ("ministry", "checkin"): "diemdanh",
    ("public_service", "filing"): "filing",
    ("public_service", "filing_progress"): "progress",
}


@cache
def _schema(system: str) -> dict[str, Any]:
    path = manifests.ROOT / system / "contract" / "records.schema.json"
    made: dict[str, Any] = json.loads(path.read_text("utf-8"))["$defs"]
    return made


def _records(system: str) -> list[tuple[str, dict[str, Any]]]:
    """Every record the render samples produce, with the name of its definition."""
    found = []
    for sample in samples(manifests.load(system)):
        if sample.case.what != "render" or "guarded" in sample.name:
            continue
        for call in sample.adapter().render(sample.outgoing()):
            body = orjson.loads(call.body)
            if system == "ministry":
                found += [("cancel" if r["sukien"] == "CANCEL" else call.meta["table"], r) for r in body["banghi"]]
            else:
                found += [("progress" if call.operation == "progress" else "filing", r) for r in body["data"]]
    return found


@pytest.mark.parametrize("system", ["ministry", "public_service"])
def test_rendered_records_obey_the_contract(system: str) -> None:
    records = _records(system)
    assert records
    for name, record in records:
        jsonschema.Draft202012Validator(_schema(system)[name]).validate(record)
        msgspec.convert(record, compiled(_schema(system)[name]))


@pytest.mark.parametrize(("pair", "name"), TABLES.items(), ids=[".".join(p) for p in TABLES])
def test_field_map_gives_what_the_contract_has(pair: tuple[str, str], name: str) -> None:
    """No field the receiver would refuse as unknown, none missing that it requires."""
    fields = yaml.safe_load((FIELDS / f"{'.'.join(pair)}.yaml").read_text("utf-8"))["fields"]
    schema = _schema(pair[0])[name]
    assert set(fields) <= set(schema["properties"])
    assert not set(fields) & ENVELOPE
    assert set(schema["required"]) - ENVELOPE <= set(fields)
    for key, rule in fields.items():
        if "fields" in rule:
            inner = schema["properties"][key]
            inner = inner.get("items", inner)
            assert set(rule["fields"]) <= set(inner["properties"]), key


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**9),
    # JSON Schema calls 1.0 an integer; a strict reader does not, and nobody here sends one.
    st.floats(allow_nan=False).filter(lambda x: not x.is_integer()),
    st.text(max_size=30),
    st.from_regex(r"[0-9]{14}", fullmatch=True),
    st.just([]),
    st.just({}),
    st.lists(st.just({"x": 1}), max_size=1),
)


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_compiled_contract_agrees_with_the_schema(data: st.DataObject) -> None:
    """A record with one field changed, dropped or added is judged alike by jsonschema and by the compiled type."""
    system = data.draw(st.sampled_from(["ministry", "public_service"]))
    name, record = data.draw(st.sampled_from(_records(system)))
    schema = _schema(system)[name]
    record = dict(record)
    key = data.draw(st.sampled_from([*sorted(schema["properties"]), "la"]))
    if data.draw(st.booleans()):
        record.pop(key, None)
    else:
        record[key] = data.draw(VALUES)
    expected = jsonschema.Draft202012Validator(schema).is_valid(record)
    try:
        msgspec.convert(record, _types(system, name))
        judged = True
    except msgspec.ValidationError:
        judged = False
    assert judged == expected


@cache
def _types(system: str, name: str) -> Any:
    return compiled(_schema(system)[name])


def test_a_keyword_it_does_not_know_is_an_error() -> None:
    with pytest.raises(ValueError, match="oneOf"):
        compiled({"type": "object", "oneOf": []})
