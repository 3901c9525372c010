"""What every command asks that changes a secret, ends something or sends something again: why.

One concern: that question and its rule, the same as the console's (`hub.kernel.firewall_names.stated`). It must never let an order
through without a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from hub.kernel.firewall_names import NO_PURPOSE, stated

F = TypeVar("F", bound=Callable[..., Any])


def reason(_context: click.Context, _option: click.Parameter, why: str | None) -> str | None:
    """A reason as it is journaled, or the command's refusal; None where none was given to a command that can do without."""
    if why is None:
        return None
    said = stated(why)
    if said is None:
        raise click.BadParameter(f"{NO_PURPOSE.vi} / {NO_PURPOSE.en}")
    return said


def why_option(required: bool = True, when: str = "") -> Callable[[F], F]:
    """`--why`, journaled. `when`: what makes it needed, where it is not always, in both languages."""
    said = "Lý do, được ghi vào nhật ký / the reason; goes into the journal"
    return click.option("--why", required=required, callback=reason, help=f"{said} ({when})" if when else said)


def needed(why: str | None) -> str:
    """The reason of a command that asks for it in some of its forms only. Raises the command's refusal where there is none."""
    if why is None:
        raise click.ClickException(f"--why: {NO_PURPOSE.vi} / {NO_PURPOSE.en}")
    return why
