"""Where the embedded servers keep their files, and as whom they run.

One concern: one folder that a server process may reach, and the user it runs as. It must never change the permissions
of anything outside the hub's own folders.

PostgreSQL refuses to run as root, and the others should not. When the hub runs as root the servers run as the system
user `lien-thong` where the site has made one, else as `nobody`; no user is ever created. Such a user often cannot reach
the data folder (a home folder of mode 0700 above it): then the area is `/var/lib/lien-thong-<hash of the data folder>`
instead, and `area.json` in the data folder says so. Opening the way by loosening permissions of parent folders is
exactly what must not happen.

Unix socket paths are limited to 107 bytes: sockets live in the area's `run` folder when that is short enough, else in
a folder of ours under `/run`, `$XDG_RUNTIME_DIR` or `/tmp`.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hub.embedded.process import processes_in, write_private

_SOCKET_LIMIT = 107
_LONGEST_SOCKET = len("/postgres/.s.PGSQL.5432.lock")
_USERS = ("lien-thong", "nobody")
_SERVERS = ("postgres/data", "redis", "mosquitto", "nats")
_MARK = ".lien-thong-area"


class AreaError(Exception):
    """Không chuẩn bị được thư mục cho các máy chủ nhúng. / The embedded servers' folder could not be prepared."""

    def __str__(self) -> str:
        return f"{self.__doc__} {self.args[0] if self.args else ''}".strip()


@dataclass(frozen=True)
class Area:
    """A prepared area: `root` for data, `sockets` for unix sockets, `identity` the `(uid, gid)` to run as or None."""

    data_dir: Path
    root: Path
    sockets: Path
    identity: tuple[int, int] | None

    def folder(self, *parts: str, owned: bool = True) -> Path:
        """Make (if missing) a folder of the area: the servers' user's own (mode 0700), or ours and readable by it.

        What a server writes goes into an owned one. What decides how it runs stays ours, so that a server which was
        taken over cannot lead the hub (perhaps root) to write elsewhere.
        """
        return _make_folder(self.root.joinpath(*parts), self.identity if owned else None, 0o700 if owned else 0o755)

    def socket_folder(self, name: str) -> Path:
        """Make (if missing) the folder for one server's unix socket, private to the servers' user and root."""
        return _make_folder(self.sockets / name, self.identity, 0o700)

    def readable(self, path: Path) -> bool:
        """Whether the servers' user can read the file or enter the folder: asked of the system, as that user."""
        return _reachable(path, self.identity)


def open_area(data_dir: Path) -> Area:
    """The area of a data folder, made at the first call and the same ever after. Raises `AreaError`."""
    data_dir = data_dir.absolute()
    as_root = os.geteuid() == 0
    if not data_dir.exists():
        data_dir.mkdir(parents=True, mode=0o711 if as_root else 0o700)
        data_dir.chmod(0o711 if as_root else 0o700)
    note = data_dir / "area.json"
    known = _read_note(note)
    identity = _identity(known) if as_root else None
    default = data_dir / "services"
    root = Path(known["root"]) if known else default
    if not known and identity is not None and not _reachable_parent(default, identity):
        root = Path("/var/lib") / f"lien-thong-{_hash(data_dir)}"
    sockets = _sockets(root, data_dir)
    try:
        for folder in dict.fromkeys((root, sockets)):
            _claim(folder, data_dir)
    except OSError as error:
        raise AreaError(str(error)) from error
    area = Area(data_dir, root, sockets, identity)
    if not area.readable(root) or not area.readable(sockets):
        raise AreaError(f"uid {identity[0] if identity else os.geteuid()} cannot reach {root} or {sockets}")
    if not known:
        content = {"root": str(root), "uid": identity[0] if identity else None, "sockets": str(sockets)}
        write_private(note, json.dumps(content))
    return area


def remove_area(data_dir: Path) -> list[Path]:
    """Delete what `open_area` made outside and inside the data folder; returns what was deleted.

    Only folders that carry this data folder's mark are touched. Raises `AreaError` while a server still runs there.
    """
    known = _read_note(data_dir.absolute() / "area.json")
    removed = []
    for name in ("root", "sockets"):
        folder = Path(known[name]) if known else None
        if folder is None or not folder.is_dir() or not _marked(folder, data_dir.absolute()):
            continue
        for server in _SERVERS:
            if processes_in(folder / server):
                raise AreaError(f"{server} still runs in {folder}")
        shutil.rmtree(folder)
        removed.append(folder)
    if known:
        (data_dir.absolute() / "area.json").unlink()
    return removed


def _hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:12]


def _read_note(note: Path) -> dict[str, str]:
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise AreaError(f"{note}: {error}") from error
    if not isinstance(known, dict) or not {"root", "sockets"} <= known.keys():
        raise AreaError(f"{note} is not an area note")
    return known


def _identity(known: dict[str, str]) -> tuple[int, int]:
    """The user recorded with the data, else the first that exists: data must not change hands when a user appears."""
    recorded = known.get("uid")
    for name in _USERS:
        try:
            entry = pwd.getpwuid(int(recorded)) if recorded is not None else pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise AreaError("no unprivileged user found: " + ", ".join(_USERS))


def _reachable(path: Path, identity: tuple[int, int] | None) -> bool:
    if identity is None:
        return os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0))
    test = ["test", "-x" if path.is_dir() else "-r", str(path)]
    uid, gid = identity
    return subprocess.run(test, user=uid, group=gid, extra_groups=[], check=False, cwd="/").returncode == 0


def _reachable_parent(path: Path, identity: tuple[int, int]) -> bool:
    while not path.exists():
        path = path.parent
    return _reachable(path, identity)


def _sockets(root: Path, data_dir: Path) -> Path:
    if len(os.fsencode(root / "run")) + _LONGEST_SOCKET <= _SOCKET_LIMIT:
        return root / "run"
    runtime = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "/tmp")  # noqa: S108 - owner checked
    return Path(runtime) / f"lien-thong-{_hash(data_dir)}-{os.geteuid()}"


def _claim(folder: Path, data_dir: Path) -> None:
    """Make a folder of ours, or make sure an existing one is: someone else's, or a link, is refused."""
    mode = 0o711 if os.geteuid() == 0 else 0o700
    try:
        folder.mkdir(mode=mode)
        folder.chmod(mode)
        (folder / _MARK).write_text(str(data_dir), encoding="utf-8")
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or not _marked(folder, data_dir):
            raise AreaError(f"{folder} exists and is not ours") from None


def _marked(folder: Path, data_dir: Path) -> bool:
    try:
        return (folder / _MARK).read_text(encoding="utf-8") == str(data_dir)
    except OSError:
        return False


def _make_folder(path: Path, owner: tuple[int, int] | None, mode: int) -> Path:
    if not path.is_dir():
        if not path.parent.is_dir():
            _make_folder(path.parent, None, 0o755)
        path.mkdir(mode=mode)
        path.chmod(mode)
        if owner is not None:
            os.chown(path, *owner)
    return path
