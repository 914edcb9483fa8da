#!/bin/sh
# Runs other people's robot clients against the built binary: tests/clients/run.sh [path of the binary]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv="$here/.venv"

wanted=$(cat "$here/requirements.txt" "$here/requirements-nodeps.txt" | cksum)
if [ "$(cat "$venv/installed" 2>/dev/null || true)" != "$wanted" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements-nodeps.txt"
    echo "$wanted" > "$venv/installed"
fi

binary=${1:-${NEURO_BIN:-}}
if [ -z "$binary" ]; then
    binary="$root/target/release/neuro"
    [ -x "$binary" ] || binary="$root/target/debug/neuro"
fi
[ -x "$binary" ] || { echo "no binary at $binary: build first (make build)" >&2; exit 2; }
cd "$root"
exec "$venv/bin/python" -m tests.clients.run "$binary"
