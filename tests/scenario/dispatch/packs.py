"""Evidence packs taken apart, forged, and put to the verifier as anybody would."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from hub.evidence import verify


def opened(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {n: archive.read(n) for n in archive.namelist()}


def forged(whole: dict[str, bytes], change: dict[str, bytes], *without: str) -> bytes:
    """The files with some changed or left out, manifest and ZIP written anew."""
    files = {n: b for n, b in (whole | change).items() if n not in without}
    manifest = verify.json.loads(files.pop("manifest.json"))
    manifest["files"] = {n: verify.hashlib.sha256(b).hexdigest() for n, b in files.items()}
    return verify.packed(files | {"manifest.json": verify.written(manifest)})


def changed(whole: dict[str, bytes], name: str, **change: Any) -> dict[str, bytes]:
    return {name: verify.written(verify.json.loads(whole[name]) | change)}


def verified(data: bytes, folder: Path, *more: str) -> tuple[int, str]:
    """The pack's verifier, run as anybody would: exit code and what it prints."""
    path = folder / "pack.zip"
    path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-I", "-S", verify.__file__, str(path), *more], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout
