# A Ray head with four `sim`, from pip, in the folder $1. Sourced by `run`. Sets RAY_URL; the pid to end goes to $PIDS.

start_ray() {
    local folder=$1 port temp; port=$(python3 "$here/port.py" 20000)
    if [ ! -x "$folder/venv/bin/ray" ]; then
        python3 -m venv "$folder/venv"
        "$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ray[default]==2.60.*'
    fi
    # Ray keeps sockets there, and a socket's path may be 107 bytes long.
    temp=$(mktemp -d /tmp/neuro-ray-XXXXXX)
    echo "$temp" >> "$FOLDERS"
    RAY_USAGE_STATS_ENABLED=0 "$folder/venv/bin/ray" start --head --block --port=0 --num-cpus=4 \
        --resources='{"sim": 4}' --include-dashboard=true --dashboard-host=127.0.0.1 --dashboard-port="$port" \
        --disable-usage-stats --temp-dir="$temp" > "$folder/head.log" 2>&1 < /dev/null &
    echo $! >> "$PIDS"
    RAY_URL=http://127.0.0.1:$port
    for _ in $(seq 120); do
        curl -m 3 -sf -o /dev/null "$RAY_URL/api/jobs/" && return 0
        sleep 0.5
    done
    echo "ray does not answer; its last lines:" >&2
    tail -n 10 "$folder/head.log" >&2
    return 1
}
