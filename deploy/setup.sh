#!/usr/bin/env bash
# Makes .venv from requirements.lock: hashes checked, bytecode compiled. A repeat with nothing changed does nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '→ %s\n' "$*" >&2; }

python=${PYTHON:-}
if [ -z "$python" ]; then
    for candidate in python3.11 python3; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
            python=$candidate
            break
        fi
    done
fi
if [ -z "$python" ]; then
    say "Cần Python 3.11. / Python 3.11 is needed."
    exit 1
fi

wanted=$(cat requirements.lock requirements-bootstrap.txt deploy/setup.sh | sha256sum | cut -d' ' -f1)
stamp=.venv/.lien-thong-stamp
if [ -x .venv/bin/python ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi
rm -f "$stamp"

if ! [ -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    say "Tạo môi trường .venv / Making the environment .venv"
    if ! "$python" -c 'import ensurepip' >/dev/null 2>&1; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            say "Cài python3-venv / Installing python3-venv"
            apt-get update -qq
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
        else
            say "Thiếu python3-venv: hãy cài bằng quyền quản trị. / python3-venv is missing: have an administrator install it."
            exit 1
        fi
    fi
    "$python" -m venv --clear .venv
fi

# pip only brings the installer; a package index set for pip is used for everything.
export PIP_DISABLE_PIP_VERSION_CHECK=1
.venv/bin/python -m pip install --quiet --require-hashes -r requirements-bootstrap.txt
configured() { .venv/bin/python -m pip config get "$1" 2>/dev/null || true; }
index=${PIP_INDEX_URL:-$(configured global.index-url)}
extra=${PIP_EXTRA_INDEX_URL:-$(configured global.extra-index-url)}
if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then export UV_DEFAULT_INDEX=$index; fi
if [ -n "$extra" ] && [ -z "${UV_INDEX:-}" ]; then export UV_INDEX=$extra; fi

count=$(grep -c '^[a-z0-9].*==' requirements.lock)
say "Cài $count gói đã khóa phiên bản / Installing $count locked packages"
install() {
    .venv/bin/uv pip install --python .venv/bin/python --require-hashes --compile-bytecode \
        --index-strategy unsafe-best-match -r requirements.lock
}
if ! install; then
    say "Thử lại bằng pip / Trying again with pip"
    .venv/bin/python -m pip install --require-hashes --compile -r requirements.lock
fi
printf '%s' "$wanted" >"$stamp"
say "Xong / Done"
