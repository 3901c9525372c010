"""A form that was refused, given back as it was typed: which form of the page it is, and whether its reason was none.

One concern: that. Pure. It must never fill any form but the one that was sent, nor take what is sent for what is true: it is shown,
not believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from msgspec import Struct


class Sent(Struct, frozen=True, kw_only=True):
    """What came with a form: its address, its fields, whether its reason is none (`wrong`), and whether it was sent only to be
    shown in the other language (`again`)."""

    path: str
    values: dict[str, str]
    wrong: bool
    again: bool = False


class Kept(Struct, frozen=True, kw_only=True):
    """One form of a page: empty, or as it was typed."""

    id: str
    """Of its reason's input: no other of the page has it."""
    action: str
    """The address it is sent to, fit for HTML."""
    values: Mapping[str, str] = {}
    typed: bool = False
    """Whether it is the form that was sent."""
    wrong: bool = False
    """Whether its reason was none."""

    @property
    def form(self) -> str:
        """The form's own id."""
        return f"{self.id}-form"

    def get(self, name: str, otherwise: object = "") -> object:
        """What was typed in a field; `otherwise` where the form is as the page has it."""
        return self.values.get(name, "") if self.typed else otherwise


def kept(sent: Sent | None, number: int, action: str, hidden: Mapping[str, object]) -> Kept:
    """The form at `action` whose hidden fields are `hidden`: pages may have several of one address."""
    typed = sent is not None and sent.path == action and all(sent.values.get(k) == str(v) for k, v in hidden.items())
    address = quote(action, safe="/")
    if sent is None or not typed:
        return Kept(id=f"w{number}", action=address)
    return Kept(id=f"w{number}", action=address, values=sent.values, typed=True, wrong=sent.wrong)
