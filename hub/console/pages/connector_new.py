"""A new connector: which system, by which way, and its settings. It begins paused: a person lets it go once its test is good.

One concern: the form that makes one. It must never make one that would begin to send by itself, nor one under a name that
is taken.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.connector_settings import MADE, TAKEN, told
from hub.console import forms
from hub.console.guard import Refused, Visitor, core_of, hub_of, needs, purpose, reason, taken, text
from hub.console.pages.connectors import asked_again, checked, schema_of, unplaced, ways
from hub.console.render import redirect, respond
from hub.kernel.firewall_names import NO_REASON
from hub.kernel.ledger import operations
from hub.kernel.ports import Text

router = APIRouter(prefix="/connectors")


def _chosen(request: Request, given: Any) -> tuple[str, str, str]:
    """System, kind and scheme; what is not given, or does not fit the others, as the system's adapter has it first."""
    manifests = hub_of(request).manifests
    system = str(given.get("system") or "")
    if not system:
        return "", "", ""
    manifest = manifests.get(system)
    if manifest is None:
        raise Refused(404, "error.missing")
    kind, scheme = str(given.get("kind") or ""), str(given.get("scheme") or "")
    if kind not in ways(request, manifest, kind, scheme, stored=False)["transport"]:
        kind = manifest.transports[0]
    fit = ways(request, manifest, kind, scheme, stored=False)["auth"]
    return system, kind, scheme if scheme in fit else next(s for s in (*manifest.auth, "none") if s in fit)


def _page(
    request: Request, visitor: Any, chosen: tuple[str, str, str], name: str = "", value: Any = None, errors: dict[str, Text] | None = None,
    why: str = "",
) -> Response:  # fmt: skip
    system, kind, scheme = chosen
    hub, wrong = hub_of(request), errors or {}
    manifest = hub.manifests.get(system)
    schema = schema_of(request, system, kind, scheme) if manifest is not None else {}
    flows = core_of(request).router.flows.values()
    free = sorted({target.connector for flow in flows for target in flow.to} - core_of(request).connectors.keys())
    return respond(
        request, "connector_new.html", status=422 if wrong else 200, visitor=visitor, system=system, kind=kind, scheme=scheme, name=name, why=why,
        fields=forms.fields(schema, value or {}, "", wrong), systems=sorted(hub.manifests.items()), manifest=manifest, free=free,
        choices=ways(request, manifest, kind, scheme, stored=False) if manifest is not None else {}, errors=wrong,
        other=unplaced(schema, {p: e for p, e in wrong.items() if p not in ("/name", "/why", "/transport/kind", "/auth/scheme")}),
    )  # fmt: skip


@router.get("/new")
async def new(request: Request, visitor: Visitor) -> Response:
    """First which system; then the generated form."""
    needs(visitor, "admin", whole=True)
    return _page(request, visitor, _chosen(request, request.query_params))


@router.post("/new")
async def make(request: Request, visitor: Visitor) -> Response:
    """Make it, paused; whatever is wrong comes back beside its field. Secrets are never shown again, not even then."""
    form = await taken(request, visitor, "admin", whole=True)
    chosen = _chosen(request, {k: text(form, k, 60) for k in ("system", "kind", "scheme")})
    system, kind, scheme = chosen
    if not system:
        raise Refused(404, "error.missing")
    name = text(form, "name", 100)
    data, errors = forms.read(schema_of(request, system, kind, scheme), form)
    secrets = {k: v for k, v in (data.pop("secrets", None) or {}).items() if v}
    stored: dict[str, Any] = {}
    try:
        stored = checked(request, name, system, kind, scheme, data, secrets)
    except ValueError as error:
        # Where the form itself does not hold, what stands there says so already; it has no say on the name.
        errors |= {p: e for p, e in told(error).items() if not errors or p == "/name"}
    if name in core_of(request).connectors:
        errors["/name"] = TAKEN
    why = reason(request, form)
    if purpose(form, "why") is None:
        errors["/why"] = NO_REASON
    if why is not None and not errors:
        made = await operations.add_connector(
            core_of(request), hub_of(request).keys, visitor.person.name, name, system, stored, secrets, MADE, why
        )
        if made is not None:
            return redirect(f"/connectors/{name}", done="done.added")
        errors = {"/name": TAKEN}
    return _page(request, visitor, chosen, name, data, asked_again(secrets, errors), text(form, "why", 250))
