"""No bytes a counterparty can send make `read` or `settle` raise, or claim a delivery was taken."""

from __future__ import annotations

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.manifest import Manifest
from adapters.samples import Sample, samples
from hub.kernel.ports import Call, Receipt, Reply, Unknown

STATUSES = st.one_of(
    st.sampled_from([200, 202, 204, 400, 401, 404, 409, 422, 429, 500, 502, 503, 504]), st.integers(0, 999)
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "content-type", "x-road-error", "x-road-request-hash"]),
    st.text(max_size=40)
    | st.sampled_from(["Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 99 Nov 0000 99:99:99 +9999", "9" * 40]),
    max_size=3,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def _live(manifest: Manifest) -> tuple[object, list[Call]]:
    found = [s for s in samples(manifest) if s.name in manifest.live]
    return found[0].adapter(), [call for s in found for call in s.adapter().render(s.outgoing())]


def _holds(manifest: Manifest, reply: Reply) -> None:
    adapter, calls = _live(manifest)
    for call in calls:
        reading = adapter.read(call, reply)  # type: ignore[attr-defined]
        assert set(reading.outcomes) <= set(call.deliveries)
        taken = [o for o in reading.outcomes.values() if isinstance(o, Receipt)]
        assert not taken, "noise was taken for a receipt"
        if 200 <= reply.status < 300 and "x-road-error" not in reply.headers:
            assert all(isinstance(o, Unknown) for o in reading.outcomes.values())
        if manifest.inquire:
            for delivery in call.deliveries:
                verdict = adapter.settle(adapter.inquire(delivery, call), reply).verdict  # type: ignore[attr-defined]
                assert verdict == "unclear"


@given(status=STATUSES, body=st.binary(max_size=300), headers=HEADERS)
@RELAXED
def test_noise_is_never_a_receipt(manifest: Manifest, status: int, body: bytes, headers: dict[str, str]) -> None:
    _holds(manifest, Reply(status=status, body=body, headers=headers))


@given(status=STATUSES, body=JSON)
@RELAXED
def test_foreign_json_is_never_a_receipt(manifest: Manifest, status: int, body: object) -> None:
    _holds(manifest, Reply(status=status, body=orjson.dumps(body)))


@given(data=st.data())
@RELAXED
def test_damaged_answers_never_raise(sample: Sample, data: st.DataObject) -> None:
    """Real answers with a byte changed, a piece cut out, or a value of another type."""
    if sample.case.what not in ("read", "settle"):
        return
    adapter = sample.adapter()
    call, reply = sample.call(adapter), sample.reply()
    body = reply.body
    if body:
        place = data.draw(st.integers(0, len(body) - 1))
        width = data.draw(st.integers(0, 40))
        body = body[:place] + data.draw(st.binary(max_size=8)) + body[place + width :]
    damaged = Reply(status=reply.status, body=_twisted(body, data), headers=reply.headers)
    if sample.case.what == "read":
        adapter.read(call, damaged)
    else:
        adapter.settle(adapter.inquire(sample.delivery(call), call), damaged)


def _twisted(body: bytes, data: st.DataObject) -> bytes:
    """When the body is still JSON, one member of any object in it is replaced by an arbitrary value."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    objects: list[dict[str, object]] = []

    def walk(part: object) -> None:
        if isinstance(part, dict):
            objects.append(part)
        for sub in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            walk(sub)

    walk(value)
    objects = [o for o in objects if o]
    if not objects:
        return body
    chosen = data.draw(st.sampled_from(objects))
    chosen[data.draw(st.sampled_from(sorted(chosen)))] = data.draw(JSON)
    return orjson.dumps(value)
