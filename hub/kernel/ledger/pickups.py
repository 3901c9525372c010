"""What became of files picked up from counterparties' folders, as lines of the journal.

One concern: those lines. It must never keep a file's content, nor more of a name its sender chose than an honest one has.
"""

from __future__ import annotations

from typing import Any, Literal

from hub.kernel.firewall_names import shown
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import note


async def said(
    core: Core, connector: int, kind: Literal["file_picked", "file_refused"], name: str, **more: Any
) -> None:
    """One line about a file. A repeat after a kill leaves a second one, which says the same."""
    plain = "".join(c if c.isprintable() else "�" for c in name)
    async with core.pool.acquire() as connection:
        await note(core, connection, "hub", kind, connector=connector, name=shown(plain), **more)
