"""A call names the version that mapped it, whatever was approved while its batch was mapped; a version is kept before it is named."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from hub.kernel.ledger import mappings as kept
from hub.kernel.ledger.shapes import Batch, Claimed
from hub.kernel.ports import Call, Outgoing
from hub.worker import render
from hub.worker.render import Renderer
from mappings.catalogue import base
from mappings.fieldmap import load_field_maps
from mappings.versions import version_of

MAP = load_field_maps()["ministry.class"]
APPROVED = ("grade", "Khối lạ", "grade", "6", None, "an")


def claimed(number: int) -> Claimed:
    grade = {"system": "grade", "code": "6", "canonical": "6"}
    out = Outgoing(
        delivery=number, record=number, type="class", key=f"k{number}", event="NEW", version=1, updated_at=datetime(2026, 11, 20, tzinfo=UTC),
        school=None, body={"class_code": f"6A{number}", "grade": grade}, mapped={},
    )  # fmt: skip
    return Claimed(
        id=number, record=number, klass=1, claim=1, attempts=1, flow="f", key=f"k{number}", school=None, order_key=None, outgoing=out,
    )  # fmt: skip


class Adapter:
    def render(self, outgoing: Sequence[Outgoing]) -> list[Call]:
        ids = tuple(o.delivery for o in outgoing)
        return [Call(operation="push", deliveries=ids, body=b"", content_type="", idempotent=True)]


@pytest.fixture
def renderer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A renderer without a database, `versions` what it kept, in order."""
    core: Any = SimpleNamespace(
        catalogue=base(), versions=[], moment=lambda: None, router=SimpleNamespace(fresh_enough=lambda *_: True)
    )

    async def keep(_core: Any, versions: Any) -> None:
        core.versions += [v.name for v in versions]

    async def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(kept, "keep", keep)
    monkeypatch.setattr(render, "name_lasting", nothing)
    target: Any = SimpleNamespace(
        adapter=Adapter(), name="bo", number=1, policy=SimpleNamespace(batch_max=100), maps={"f": MAP}, unmapped={}, file_address=None
    )  # fmt: skip
    made = Renderer(core, target)

    async def sift(fresh: list[Claimed]) -> list[Any]:
        return []

    monkeypatch.setattr(made._admission, "sift", sift)
    return made


def test_records_mapped_on_both_sides_of_an_approval_go_in_calls_of_their_own(
    renderer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, mapped = renderer.core, renderer._map
    later = base().with_overlay([APPROVED])

    def mapping(d: Claimed) -> Any:
        if d.id == 3:
            core.catalogue = later
        return mapped(d)

    monkeypatch.setattr(renderer, "_map", mapping)
    calls, ended = asyncio.run(renderer.render(Batch(claim=1, deliveries=[claimed(n) for n in range(1, 5)])))
    assert not ended
    first, second = version_of(MAP, base()).name, version_of(MAP, later).name
    assert first != second
    assert [(call.deliveries, name) for call, name, _ in calls] == [((1, 2), first), ((3, 4), second)]
    assert core.versions == [first, second], "before anything is stored that names them"


def test_a_version_is_worked_out_and_kept_once_for_a_catalogue(renderer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(*told: Any) -> Any:
        made.append(1)
        return version_of(*told)

    monkeypatch.setattr("hub.worker.versions.version_of", counted)
    for n in range(5):
        asyncio.run(renderer.render(Batch(claim=1, deliveries=[claimed(n)])))
    assert len(made) == 1 and len(renderer.core.versions) == 1
    renderer.core.catalogue = base().with_overlay([APPROVED])
    calls, _ = asyncio.run(renderer.render(Batch(claim=1, deliveries=[claimed(9)])))
    assert len(made) == 2 and renderer.core.versions[-1] == calls[0][1]


def test_a_version_that_could_not_be_kept_is_kept_before_the_next_call(
    renderer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, failed = kept.keep, []

    async def once(core: Any, versions: Any) -> None:
        if not failed:
            failed.append(1)
            raise OSError("the database is away")
        await keep(core, versions)

    monkeypatch.setattr(kept, "keep", once)
    with pytest.raises(OSError, match="away"):
        asyncio.run(renderer.render(Batch(claim=1, deliveries=[claimed(1)])))
    calls, _ = asyncio.run(renderer.render(Batch(claim=1, deliveries=[claimed(1)])))
    assert renderer.core.versions == [calls[0][1]]
