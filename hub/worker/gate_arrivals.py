"""From what a gate said to what the ledger takes: the same for passages that were pushed and passages that were listed.

One concern: that shape, and above all its key: the same passage has the same one whichever way it came. Pure. It must
never decide whether a gate may say what it says.
"""

from __future__ import annotations

from hub.kernel.intake import Arrival, Source, intake_key
from iot.web import Item


def arrival_of(
    family: str, path: str, item: Item, body: bytes, *, is_json: bool, digest: bytes, source: Source, opener: str
) -> Arrival:
    """One item as a message. `body`: what is kept of it; `digest`: keyed hash of it as it came; `opener`: the entry whose
    secret or account it came by."""
    decoded = item.decoded
    if decoded.invalid is None and decoded.dedupe is not None:
        # In the name of whose secret it was: an event repeated in another device's name is the same event.
        key = intake_key(Source("device", opener), "event", decoded.dedupe)
    else:
        key = intake_key(source, "bytes", path, decoded.invalid.code if decoded.invalid else "", digest)
    text_type = "application/xml" if body[:1] == b"<" else "text/plain"
    return Arrival(
        source=source,
        type="checkin",
        body=body,
        content_type="application/json" if is_json else text_type,
        digest=digest,
        key=key,
        drafts=decoded.drafts or None,
        invalid=decoded.invalid,
        historical=decoded.historical,
        attributes={"family": family, "path": path, **item.attributes},
        sighting=decoded.sighting,
    )
