"""The biometric firewall for the log: what an exception says may quote the very body that it failed on.

One concern: records with an exception, made so that none of it is written down: types, places in the code and our own words
stay, what stands in quotes does not unless it is a name. Every handler is covered, whoever made the logger, for the record is
made so. It must never raise, nor keep more than a line of what an exception says.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from types import TracebackType
from typing import Any

from hub.kernel.firewall_devices import cut_addresses, cut_vectors
from hub.kernel.firewall_text import Cut, scan_fields, scan_text

_MOST = 200
"""Characters of what an exception says."""

_DEEPEST = 8
"""Exceptions told of one failure: causes and members of groups."""

_QUOTED = re.compile(r"b?'[^']*+'?|b?\"[^\"]*+\"?|“[^”]*+”?|\)=\([^\n]*+|\{[^\n]*+|\[[^\n\]]*+\]?")
"""Quotes, a row of the database (`Key (a)=(…)`), and what a container shows of itself; cut short as well."""

_UNPRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffd]")
"""A line's end, or what no words of ours hold: from there on it is content."""

_NAME = re.compile(r"['\"“][A-Za-z_][A-Za-z_.]{0,39}['\"”]")
"""A name of a field, a type or a module: letters alone, for codes of people have digits."""


def plain(error: BaseException) -> str:
    """What an exception says, as it may be written down: its first line, without what it quotes."""
    try:
        said = str(error)
    except Exception:
        return "…"
    line = _UNPRINTED.split(said[: 4 * _MOST], maxsplit=1)[0]
    line = _QUOTED.sub(lambda found: found[0] if _NAME.fullmatch(found[0]) else "…", line)
    cuts: list[Cut] = []
    data = scan_fields(scan_text(line.encode("utf-8", "replace"), cuts), cuts)
    data = cut_vectors(cut_addresses(data, cuts), cuts)
    told = data.decode("utf-8", "replace")
    words = [word if len(word) <= 64 else "…" for word in told.split(" ")]
    return " ".join(words)[:_MOST]


def told(error: BaseException) -> str:
    """The traceback of an exception and of what caused it, as it may be written down."""
    return "\n".join(_lines(error, set()))


def _lines(error: BaseException, seen: set[int]) -> list[str]:
    if id(error) in seen or len(seen) >= _DEEPEST:
        return []
    seen.add(id(error))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = _lines(cause, seen) if cause is not None else []
    lines += [
        "Traceback (most recent call last):",
        *(e.rstrip() for e in traceback.format_tb(error.__traceback__, -40)),
    ]
    kind = type(error)
    lines.append(f"{kind.__module__}.{kind.__qualname__}: {plain(error)}")
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            lines += ["  | " + line for line in _lines(member, seen)]
    return lines


def in_a_line(record: logging.LogRecord) -> bool:
    """A filter for who repeats itself: what it says and why stay, the forty lines of where do not. It lets everything through."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        record.msg = f"{record.getMessage()}: {type(error).__name__}: {plain(error)}"
        record.args = record.exc_info = record.exc_text = None
    return True


def uncaught(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    """`sys.excepthook`: what ends a process is told of as everything else."""
    if isinstance(error, KeyboardInterrupt):
        sys.__excepthook__(kind, error, at)
    else:
        logging.getLogger("hub").critical("the process ends: %s", kind.__name__, exc_info=(kind, error, at))


def guard() -> None:
    """Have every record made from here on told so, in this process. A second time changes nothing."""
    make = logging.getLogRecordFactory()
    if getattr(make, "guarded", False):
        return

    def guarded(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is not None:
            _make_plain(record, error)
        return record

    guarded.guarded = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(guarded)


def _make_plain(record: logging.LogRecord, error: BaseException) -> None:
    """A formatter writes `exc_text` where there is one; the message may hold what the exception says as well (asyncio's does)."""
    record.exc_text = told(error)
    message = record.getMessage()
    for said in (repr(error), str(error)):
        if len(said) > 8 and said in message:
            message = message.replace(said, f"{type(error).__name__}: {plain(error)}")
            record.msg, record.args = message, None
