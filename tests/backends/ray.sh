# A Ray head with four `sim`, from pip, in the folder $1. Sourced by `run`. Sets RAY_URL; the pid to end goes to $PIDS.

start_ray() {
    local folder=$1 attempt
    if [ ! -x "$folder/venv/bin/ray" ]; then
        python3 -m venv "$folder/venv"
        "$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ray[default]==2.60.*'
    fi
    # On a busy machine Ray gives up on its own dashboard; then it is started again.
    for attempt in 1 2 3; do
        try_ray "$folder" && return 0
        echo "ray did not come up (attempt $attempt)" >&2
    done
    tail -n 10 "$folder/head.log" >&2
    return 1
}

try_ray() {
    local folder=$1 port temp pid; port=$(python3 "$here/port.py" 20000)
    # Ray keeps sockets there, and a socket's path may be 107 bytes long.
    temp=$(mktemp -d /tmp/neuro-ray-XXXXXX)
    echo "$temp" >> "$FOLDERS"
    "$folder/venv/bin/ray" start --head --block --port=0 --num-cpus=4 --resources='{"sim": 4}' \
        --include-dashboard=true --dashboard-host=127.0.0.1 --dashboard-port="$port" --disable-usage-stats \
        --temp-dir="$temp" > "$folder/head.log" 2>&1 < /dev/null &
    pid=$!
    echo "$pid" >> "$PIDS"
    RAY_URL=http://127.0.0.1:$port
    while kill -0 "$pid" 2>/dev/null; do
        curl -m 3 -sf -o /dev/null "$RAY_URL/api/jobs/" && return 0
        sleep 0.5
    done
    return 1
}
