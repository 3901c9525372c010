"""Connectors: how each is, what it may do, and for administrators its settings. Secrets go in and never come out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.connector_settings import checked as fitting
from hub.connector_settings import led_to, told
from hub.console import forms
from hub.console.guard import Refused, Visitor, core_of, hub_of, needs, purpose, reason, taken, text
from hub.console.pulse import Card, Pulses
from hub.console.render import redirect, respond
from hub.kernel.firewall_names import NO_REASON
from hub.kernel.ledger import guards, operations
from hub.kernel.ports import Text
from hub.kernel.store.db import sql

router = APIRouter(prefix="/connectors")


async def _card(request: Request, visitor: Any, name: str) -> Card:
    pulses: Pulses = request.app.state.console_pulses
    for card in (await pulses.read(hub_of(request), visitor.schools)).cards:
        if card.name == name:
            return card
    raise Refused(404, "error.missing")


async def _row(request: Request, name: str) -> Any:
    """A connector as it stands this moment: what is edited must not be two seconds old."""
    async with core_of(request).pool.acquire() as connection:
        row = await connection.fetchrow(sql.connector_by_name, name)
    if row is None:
        raise Refused(404, "error.missing")
    return row


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """All connectors."""
    pulses: Pulses = request.app.state.console_pulses
    return respond(
        request, "connectors.html", visitor=visitor, pulse=await pulses.read(hub_of(request), visitor.schools)
    )


@router.get("/{name}")
async def detail(request: Request, visitor: Visitor, name: str) -> Response:
    """One connector."""
    return await _detail(request, visitor, name)


async def _detail(request: Request, visitor: Any, name: str, probe: Any = None) -> Response:
    card = await _card(request, visitor, name)
    calls: list[Any] = []
    revisions: list[Any] = []
    shares: list[Any] = []
    if visitor.whole:
        async with core_of(request).pool.acquire() as connection:
            calls = await connection.fetch(sql.console_connector_calls, card.id)
            revisions = await connection.fetch(sql.console_connector_revisions, card.id)
        shares = await guards.paused(core_of(request), card.id)
    takes = request.app.state.console_forms.picks_up(card.row["settings"])
    manifest = None if takes else hub_of(request).manifests.get(card.system)
    flows = [
        {"flow": flow, "target": target}
        for flow in core_of(request).router.flows.values()
        for target in flow.to
        if target.connector == name
    ]
    return respond(
        request, "connector.html", visitor=visitor, card=card, calls=calls, revisions=_changes(revisions), manifest=manifest, flows=flows,
        settings=_grouped(card.row["settings"]), probe=probe, shares=shares, takes=takes,
    )  # fmt: skip


_ORDER = ("transport", "auth", "adapter", "profile", "policy")


def _grouped(settings: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """What is set, by group, the groups people look for first; what is not set is left out."""
    found = []
    for name in _ORDER:
        lines = [(k, v) for k, v in forms.flat(settings.get(name), "") if v]
        if lines:
            found.append((name, sorted(lines)))
    return found


def _changes(revisions: list[Any]) -> list[dict[str, Any]]:
    """Each revision with what it changed against the one before it, newest first."""
    found = []
    for index, row in enumerate(revisions):
        before = revisions[index + 1] if index + 1 < len(revisions) else None
        old = dict(forms.flat(before["settings"])) if before is not None else {}
        new = dict(forms.flat(row["settings"]))
        changed = [(k, old.get(k), new.get(k)) for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
        found.append({"row": row, "changed": changed if before is not None else []})
    return found


@router.post("/{name}/probe")
async def probe(request: Request, visitor: Visitor, name: str) -> Response:
    """Test the connection now and show what came of it."""
    await taken(request, visitor, whole=True)
    await _row(request, name)
    return await _detail(request, visitor, name, await hub_of(request).probe(name))


@router.post("/{name}/pause")
async def pause(request: Request, visitor: Visitor, name: str) -> Response:
    """Pause, with a reason."""
    form = await taken(request, visitor, whole=True)
    await _row(request, name)
    why = reason(request, form, "reason")
    if why is None:
        return await _detail(request, visitor, name)
    done = await operations.pause(core_of(request), visitor.person.name, name, Text(why, why))
    return redirect(f"/connectors/{name}", done="done.paused" if done else "done.nothing")


@router.post("/{name}/resume")
async def resume(request: Request, visitor: Visitor, name: str) -> Response:
    """Resume, with a reason."""
    form = await taken(request, visitor, whole=True)
    await _row(request, name)
    why = reason(request, form)
    if why is None:
        return await _detail(request, visitor, name)
    done = await operations.resume(core_of(request), visitor.person.name, name, why)
    return redirect(f"/connectors/{name}", done="done.resumed" if done else "done.nothing")


@router.post("/{name}/shares/resume")
async def resume_share(request: Request, visitor: Visitor, name: str) -> Response:
    """Let a school's share go on that was paused for mass refusals, with a reason."""
    form = await taken(request, visitor, whole=True)
    await _row(request, name)
    why = reason(request, form)
    if why is None:
        return await _detail(request, visitor, name)
    done = await guards.resume_share(core_of(request), visitor.person.name, name, text(form, "school", 60), why)
    return redirect(f"/connectors/{name}", done="done.share" if done else "done.nothing")


def schema_of(request: Request, system: str, kind: str, scheme: str) -> dict[str, Any]:
    """The form's schema for this transport and scheme, with the adapter's own settings in their place.

    What is decided elsewhere is left out: name and system for good, the state by pausing and resuming; and where the hub
    only takes files, what an adapter would need.
    """
    made: dict[str, Any] = request.app.state.console_forms.form(kind, scheme)
    properties = dict(made["properties"])
    for name in ("name", "system", "state"):
        properties.pop(name, None)
    manifest = hub_of(request).manifests.get(system)
    if manifest is not None and kind in _folders(request, manifest):
        for name in ("adapter", "profile"):
            properties.pop(name, None)
        properties |= {k: _asked(properties[k], first, only) for k, (first, only) in _OF_FILES.items()}
    elif manifest is not None and "adapter" in properties:
        known = [name.removesuffix(".yaml") for name in manifest.profiles]
        properties["profile"] = {**properties["profile"], "examples": known, "x-help": _profiles(known)}
        properties["adapter"] = {
            **manifest.form(),
            **{k: v for k, v in properties["adapter"].items() if k.startswith("x-")},
        }
    secrets = properties.pop("secrets", None) or {}
    if secrets.get("properties"):
        properties["secrets"] = {**secrets, "x-title": {"vi": "Bí mật", "en": "Secrets"}}
    return {**made, "properties": properties}


def _profiles(known: list[str]) -> dict[str, str]:
    names = ", ".join(known)
    return {"vi": f"Của bộ chuyển đổi: {names}; trống: {known[0]}", "en": f"The adapter's: {names}; empty: {known[0]}"}


_OF_FILES: dict[str, tuple[tuple[str, ...], frozenset[str] | None]] = {
    "transport": (("takes", "school"), None),
    "policy": ((), frozenset({"timeouts", "calendar"})),
}
"""Of a group of settings where files are taken: what is asked first (without it nothing is), and what has any effect; None: all."""


def _asked(group: dict[str, Any], first: tuple[str, ...], only: frozenset[str] | None) -> dict[str, Any]:
    known = {k: v for k, v in group["properties"].items() if k != "out_folder" and (only is None or k in only)}
    return {**group, "properties": {k: known[k] for k in first} | known}


def _folders(request: Request, manifest: Any) -> set[str]:
    """Kinds of transport a system may leave files by, beside those its adapter speaks over."""
    known = request.app.state.console_forms
    return {k for k in known.choices()["transport"] if known.picks_up({"transport": {"kind": k}}) is not None} - set(
        manifest.transports
    )


def ways(request: Request, manifest: Any, kind: str, scheme: str, stored: bool = True) -> dict[str, dict[str, Text]]:
    """The transports and schemes to choose from; with `stored`, what is given stays in view though it does not fit any more."""
    choices: dict[str, dict[str, Text]] = request.app.state.console_forms.choices()
    if manifest is None:
        return choices
    folders = _folders(request, manifest)
    # A folder logs in by itself.
    fit = {"transport": {*manifest.transports, *folders}, "auth": {"none"} if kind in folders else set(manifest.auth)}
    if stored:
        fit = {"transport": fit["transport"] | {kind}, "auth": fit["auth"] | {scheme}}
    return {part: {k: v for k, v in known.items() if k in fit[part]} for part, known in choices.items()}


def _edit_page(
    request: Request,
    visitor: Any,
    row: Any,
    schema: dict[str, Any],
    value: Any,
    errors: dict[str, Text],
    kind: str,
    scheme: str,
    why: str = "",
) -> Response:
    manifest = hub_of(request).manifests.get(row["system"])
    return respond(
        request, "connector_edit.html", status=422 if errors else 200, visitor=visitor, row=row, fields=forms.fields(schema, value, "", errors),
        kind=kind, scheme=scheme, choices=ways(request, manifest, kind, scheme), errors=errors, manifest=manifest, why=why,
        other=unplaced(schema, {p: e for p, e in errors.items() if p != "/why"}),
    )  # fmt: skip


_AGAIN = Text("Bí mật vừa nhập không được giữ lại: hãy nhập lại.", "The secret just typed was not kept: type it again.")


def asked_again(typed: Iterable[str], errors: dict[str, Text]) -> dict[str, Text]:
    """What is wrong with a refused form, and beside each secret that was `typed` in it that it must be typed again: it is not shown."""
    asked = {}
    for pointer in (f"/secrets/{name}" for name in typed):
        wrong = errors.get(pointer)
        asked[pointer] = Text(f"{wrong.vi} {_AGAIN.vi}", f"{wrong.en} {_AGAIN.en}") if wrong else _AGAIN
    return errors | asked


def unplaced(schema: dict[str, Any], errors: dict[str, Text]) -> list[Text]:
    """What is wrong that has no field of its own in the form."""
    return [error for pointer, error in errors.items() if not _placed(schema, pointer)]


def checked(
    request: Request, name: str, system: str, kind: str, scheme: str, data: dict[str, Any], secrets: dict[str, str]
) -> dict[str, Any]:
    """As `hub.connector_settings.checked`, for a form that was sent."""
    known, manifest = request.app.state.console_forms, hub_of(request).manifests.get(system)
    led = led_to(core_of(request).router.flows.values())
    return fitting(known, manifest, led, name, system, (kind, scheme), data, secrets)


def _placed(schema: dict[str, Any], pointer: str) -> bool:
    node: Any = schema
    for part in pointer.strip("/").split("/"):
        node = (node.get("properties") or {}).get(part) if isinstance(node, dict) else None
        if node is None:
            return False
    return True


def _chosen(request: Request, row: Any, given: Any) -> tuple[str, str]:
    choices = request.app.state.console_forms.choices()
    kind = given.get("kind") or (row["settings"].get("transport") or {}).get("kind", "")
    scheme = given.get("scheme") or (row["settings"].get("auth") or {}).get("scheme", "none")
    if kind not in choices["transport"] or scheme not in choices["auth"]:
        raise Refused(404, "error.missing")
    manifest = hub_of(request).manifests.get(row["system"])
    return kind, "none" if manifest is not None and kind in _folders(request, manifest) else scheme


def _fields_of(request: Request, row: Any, kind: str, scheme: str) -> dict[str, Any]:
    """As `schema_of`; leaving a secret empty keeps the stored one."""
    made = schema_of(request, row["system"], kind, scheme)
    properties = made["properties"]
    if "secrets" in properties:
        properties = properties | {"secrets": {**properties["secrets"], "required": []}}
    return {**made, "properties": properties}


@router.get("/{name}/edit")
async def edit(request: Request, visitor: Visitor, name: str) -> Response:
    """The generated form."""
    needs(visitor, "admin", whole=True)
    row = await _row(request, name)
    kind, scheme = _chosen(request, row, request.query_params)
    return _edit_page(request, visitor, row, _fields_of(request, row, kind, scheme), row["settings"], {}, kind, scheme)


@router.post("/{name}/edit")
async def save(request: Request, visitor: Visitor, name: str) -> Response:
    """Store new settings as the next revision; whatever is wrong comes back beside its field."""
    form = await taken(request, visitor, "admin", whole=True)
    row = await _row(request, name)
    kind, scheme = _chosen(request, row, {k: text(form, k, 60) for k in ("kind", "scheme")})
    schema = _fields_of(request, row, kind, scheme)
    data, errors = forms.read(schema, form)
    typed = {k: v for k, v in (data.pop("secrets", None) or {}).items() if v}
    if text(form, "revision") != str(row["revision"]):
        errors[""] = Text(
            "Có người vừa sửa kết nối này: hãy tải lại trang.",
            "Somebody has just changed this connector: reload the page.",
        )
    why = reason(request, form)
    stored: dict[str, Any] = {}
    secrets: dict[str, str] | None = None
    if not errors:
        old = _secrets(request, row)
        wanted = set((schema["properties"].get("secrets") or {}).get("properties", {}))
        merged = {k: v for k, v in (old | typed).items() if k in wanted}
        secrets = merged if merged != old else None
        try:
            stored = checked(request, row["name"], row["system"], kind, scheme, data, merged)
        except ValueError as error:
            errors = told(error)
    if purpose(form, "why") is None:
        errors["/why"] = NO_REASON
    if why is None or errors:
        errors = asked_again(typed, errors)
        return _edit_page(request, visitor, row, schema, data, errors, kind, scheme, text(form, "why", 250))
    # What is set by pausing and resuming is not part of what is edited here.
    stored["state"] = row["settings"].get("state", "active")
    await operations.update_connector(
        core_of(request), hub_of(request).keys, visitor.person.name, name, stored, secrets, why
    )
    return redirect(f"/connectors/{name}", done="done.saved")


def _secrets(request: Request, row: Any) -> dict[str, str]:
    if row["secrets"] is None:
        return {}
    found: dict[str, str] = json.loads(hub_of(request).keys.decrypt(row["secrets"], row["name"].encode()))
    return found
