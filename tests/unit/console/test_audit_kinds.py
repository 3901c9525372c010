"""Whatever is written to the journal by name is shown on its page, or is named here with the page that shows it instead."""

from __future__ import annotations

import ast
from pathlib import Path

from hub.console.pages.audit import KINDS
from hub.console.words import WORDS

HUB = Path(__file__).resolve().parents[3] / "hub"

ELSEWHERE = {
    # What the hub does by itself, in numbers that would hide what people did.
    "file_kept",  # with its filing
    "file_picked", "file_refused",  # the connector's page
    "recovery_opened", "recovery_led", "recovery_released", "recovery_finished", "recovery_handed_over",  # the flow's page
}  # fmt: skip
FORMERLY = {"callback_shown"}
"""What earlier versions wrote, and journals still hold."""
VARIABLE = {
    "kind": {"file_picked", "file_refused"},  # pickups.said
    "what": {"alarm_started", "alarm_ended"},
}
"""What is passed on under a name, by that name."""


def strings(node: ast.expr) -> set[str]:
    """The texts an expression can be, as far as it shows; of a name, what `VARIABLE` says."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return strings(node.body) | strings(node.orelse)
    if isinstance(node, ast.Name):
        return VARIABLE[node.id]
    raise AssertionError(f"a kind that cannot be read here: {ast.unparse(node)}")


def noted() -> dict[str, str]:
    """Each kind given to the journal's `note`, with a place where."""
    found: dict[str, str] = {}
    for path in sorted(HUB.rglob("*.py")):
        of_gates: set[str] = set()
        prefixed = False
        for call in (n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)):
            name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            if name == "note" and len(call.args) >= 4:
                if isinstance(call.args[3], ast.JoinedStr):
                    assert ast.unparse(call.args[3]) == "f'gate_{kind}'", path
                    prefixed = True
                    continue
                found |= dict.fromkeys(strings(call.args[3]), f"{path.name}:{call.lineno}")
            elif name == "_history":
                of_gates |= strings(call.args[4])
        if prefixed:
            of_gates |= {"pictures_on", "pictures_off"} if path.name == "gate_pictures.py" else set()
            assert of_gates, path
            found |= {f"gate_{kind}": path.name for kind in of_gates}
    return found


def test_every_kind_the_journal_is_given_is_on_its_page() -> None:
    found = noted()
    assert len(found) > 60
    assert {k: where for k, where in found.items() if k not in KINDS and k not in ELSEWHERE} == {}
    assert found.keys() >= ELSEWHERE and not ELSEWHERE & set(KINDS), "an exception nothing needs"
    assert set(KINDS) - found.keys() == FORMERLY, "a kind nothing writes"


def test_every_kind_on_the_page_has_words() -> None:
    assert [k for k in KINDS if f"kind.{k}" not in WORDS] == [] and len(set(KINDS)) == len(KINDS)
