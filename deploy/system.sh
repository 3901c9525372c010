#!/usr/bin/env bash
# Installs Debian's servers the hub prefers, where that is possible; else warns and goes on.
# usage: system.sh PROGRAM... (of: mosquitto redis-server chromium)
set -euo pipefail

say() { printf '→ %s\n' "$*" >&2; }

# System folders only: a redis-server inside a Python environment is older than Debian's and does not count.
missing=()
for program in "$@"; do
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin command -v "$program" >/dev/null && continue
    missing+=("$program")
    # Debian's browser brings no font; pages in Vietnamese need one.
    if [ "$program" = chromium ]; then missing+=(fonts-dejavu-core); fi
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "Thiếu ${missing[*]}; không có quyền cài đặt, dùng bản thay thế nếu có."
    say "${missing[*]} missing and cannot be installed here; stand-ins are used where there are any."
    exit 0
fi

# A package's service must not start: the hub runs its own, with its own configuration.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
say "Cài / Installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }; then
    say "Không cài được ${missing[*]}; dùng bản thay thế nếu có."
    say "${missing[*]} could not be installed; stand-ins are used where there are any."
    exit 0
fi
if [ -d /run/systemd/system ]; then
    for program in "${missing[@]}"; do
        case $program in
            mosquitto | redis-server) systemctl disable --now --quiet "$program" || say "systemctl disable $program: $?" ;;
        esac
    done
fi
