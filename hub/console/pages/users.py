"""Users, for administrators: list, add, block, new one-time password."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console.guard import Guest, Refused, Visitor, core_of, needs, reason, taken, text
from hub.console.render import redirect, respond
from hub.kernel.access import Scope
from hub.kernel.ledger import people

router = APIRouter(prefix="/users")


async def _page(
    request: Request,
    visitor: Guest,
    *,
    status: int = 200,
    error: str | None = None,
    fresh: tuple[str, str] | None = None,
) -> Response:
    core = core_of(request)
    schools = core.directory.all()
    return respond(
        request, "users.html", status=status, visitor=visitor, rows=await people.list_users(core), error=error, fresh=fresh, roles=people.ROLES,
        schools=schools, wards=sorted({s.ward for s in schools}), ward_title=lambda code: core.catalogue.title("vn-ward", code),
    )  # fmt: skip


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """All users."""
    needs(visitor, "admin", whole=True)
    return await _page(request, visitor)


@router.post("")
async def add(request: Request, visitor: Visitor) -> Response:
    """Add one, with a reason: who may see children's data is what auditors ask about first. The one-time password is shown this
    once."""
    form = await taken(request, visitor, "admin", whole=True)
    why = reason(request, form)
    kind, _, code = text(form, "scope", 80).partition(":")
    if kind not in ("department", "ward", "school"):
        return await _page(request, visitor, status=422, error="users.bad_scope")
    if why is None:
        return await _page(request, visitor)
    name = text(form, "name", 64).lower()
    try:
        password = await people.add_user(
            core_of(request),
            visitor.person.name,
            name,
            text(form, "title", 200),
            text(form, "role", 20),
            Scope(kind, code or None),  # type: ignore[arg-type]
            why,
        )
    except people.UserUnfit as unfit:
        return await _page(request, visitor, status=422, error=f"users.bad_{unfit.reason}")
    return await _page(request, visitor, fresh=(name, password))


@router.post("/{name}/block")
async def block(request: Request, visitor: Visitor, name: str) -> Response:
    """Block or unblock."""
    form = await taken(request, visitor, "admin", whole=True)
    why = reason(request, form)
    if why is None:
        return await _page(request, visitor)
    blocked = text(form, "blocked") == "yes"
    done = await people.set_blocked(core_of(request), visitor.person.name, name, blocked, why)
    return redirect("/users", done="done.user" if done else "done.user_not")


@router.post("/{name}/password")
async def reset(request: Request, visitor: Visitor, name: str) -> Response:
    """A new one-time password, shown this once."""
    why = reason(request, await taken(request, visitor, "admin", whole=True))
    if why is None:
        return await _page(request, visitor)
    password = await people.reset_password(core_of(request), visitor.person.name, name, why)
    if password is None:
        raise Refused(404, "error.missing")
    return await _page(request, visitor, fresh=(name, password))
