"""Which version of a mapping each delivery is mapped by, kept in the ledger before a call names it.

One concern: that. A version is worked out once for a flow and a catalogue. It must never name one that is not what mapped.
"""

from __future__ import annotations

from hub.kernel.ledger import mappings as ledger
from hub.kernel.ledger.core import Core
from mappings.engine import Catalogue, FieldMap
from mappings.versions import Version, version_of


class Versions:
    """Those of one connector's flows, as long as its settings stand."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._by_flow: dict[str, tuple[Catalogue, str]] = {}
        self._unkept: dict[str, Version] = {}

    def name(self, flow: str, field_map: FieldMap, catalogue: Catalogue) -> str:
        """What a record of this flow is mapped by now. `keep` must follow before it is stored anywhere."""
        known = self._by_flow.get(flow)
        if known is not None and known[0] is catalogue:
            return known[1]
        version = version_of(field_map, catalogue)
        self._by_flow[flow] = (catalogue, version.name)
        self._unkept[version.name] = version
        return version.name

    async def keep(self) -> None:
        """See that every version named so far is in the ledger."""
        if not self._unkept:
            return
        named = dict(self._unkept)
        await ledger.keep(self._core, named.values())
        for name in named:
            self._unkept.pop(name, None)
