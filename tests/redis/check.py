"""Sessions of a real fleet, read from a real Redis the way the platform reads them: a consumer group on each stream, the
payload decoded by its `type`. Also while Redis is away. Standard library only: RESP is a few lines."""

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path


class Redis:
    """One connection."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.file = self.socket.makefile("rb")

    def __call__(self, *words):
        data = [str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(data)] + [b"$%d\r\n%s\r\n" % (len(word), word) for word in data]
        self.socket.sendall(b"".join(parts))
        return self._read()

    def _read(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if int(rest) < 0 else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return None if int(rest) < 0 else [self._read() for _ in range(int(rest))]
        raise RuntimeError(f"not RESP: {line!r}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_redis(port):
    arguments = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    for _ in range(200):
        try:
            assert Redis(port)("PING") == "PONG"
            return process
        except OSError:
            time.sleep(0.05)
    raise SystemExit("redis-server did not come up")


def call(url, method="GET", body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"{}")


def published(http):
    """What the orchestrator counts of its events for Redis, by outcome."""
    with urllib.request.urlopen(f"{http}/metrics", timeout=60) as answer:
        page = answer.read().decode()
    counts = re.findall(r'^neuro_fleet_published_total\{outcome="(\w+)"\} (\d+)$', page, re.MULTILINE)
    return {outcome: int(count) for outcome, count in counts}


def run_session(http):
    """A session from its creation to its end; its id."""
    session = str(uuid.uuid4())
    body = {"session_id": session, "owner": str(uuid.uuid4()), "wait_s": 60}
    call(f"{http}/v1/sessions", "POST", body)
    call(f"{http}/v1/sessions/{session}/start", "POST", {})
    call(f"{http}/v1/sessions/{session}/stop", "POST", {})
    return session


def read(redis, stream, group):
    """Everything new in a stream, acknowledged."""
    try:
        redis("XGROUP", "CREATE", stream, group, "0", "MKSTREAM")
    except RuntimeError as error:
        assert "BUSYGROUP" in str(error), error
    answer = redis("XREADGROUP", "GROUP", group, "check", "COUNT", 1000, "STREAMS", stream, ">") or []
    entries = []
    for _, rows in answer:
        for entry, flat in rows:
            fields = dict(zip(flat[::2], flat[1::2]))
            assert set(fields) == {"event_type", "payload", "timestamp", "aggregate_id"}, fields
            payload = json.loads(fields["payload"])
            assert payload["type"] == fields["event_type"], fields
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", payload["occurredAt"]), payload
            redis("XACK", stream, group, entry)
            entries.append(payload)
    return entries


def sessions(port, wanted):
    """Reads until the last of `wanted` has stopped; payloads by session."""
    redis, found = Redis(port), {}
    for _ in range(200):
        for payload in read(redis, "events:session", "nexus-session-consumers"):
            uuid.UUID(payload["sessionId"]["value"])
            found.setdefault(payload["sessionId"]["value"], []).append(payload)
        if all(session in found and found[session][-1]["type"] == "SessionStopped" for session in wanted):
            return found
        time.sleep(0.1)
    raise SystemExit(f"missing in Redis: {wanted} of {found}")


def main(binary):
    folder = Path(tempfile.mkdtemp(prefix="neuro-redis-"))
    port = free_port()
    config = folder / "fleet.toml"
    config.write_text(
        f'[events]\nredis_url = "redis://127.0.0.1:{port}"\n'
        '[[pool]]\nname = "isaac-sim"\nrole = "simulator"\nbackend = "process"\nwarm = 1\nmax = 2\n'
    )
    redis = start_redis(port)
    arguments = [binary, "orchestrate", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    arguments += ["--data", str(folder / "data"), "--config", str(config)]
    fleet = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        http = "http://" + fleet.stdout.readline().split(" http://")[1].strip()
        session = run_session(http)
        found = sessions(port, [session])[session]
        assert [payload["type"] for payload in found] == ["SessionCreated", "SessionStarted", "SessionStopped"], found
        assignment = found[1]["assignment"]
        uuid.UUID(assignment["isaacSimInstanceId"]["value"])
        assert assignment["streamEndpoint"]["port"] > 0, assignment
        assert assignment["controlEndpoint"]["wsUrl"].endswith(f"/control/{session}"), assignment
        uuid.UUID(found[0]["userId"]["value"])
        print("ok: a session's three events, as its reader decodes them")

        redis.kill()
        redis.wait()
        begun = time.monotonic()
        away = [run_session(http) for _ in range(3)]
        print(f"ok: three sessions without Redis, {time.monotonic() - begun:.2f} s")
        redis = start_redis(port)
        found = sessions(port, away)
        assert all(len(found[session]) == 3 for session in away), found
        print("ok: what happened meanwhile arrived when Redis came back")
        end = time.monotonic() + 5
        while (counts := published(http)).get("written", 0) < 12 and time.monotonic() < end:
            time.sleep(0.05)
        assert counts == {"written": 12, "dropped": 0}, counts
        print("ok: the metrics page counts the events of four sessions as written, none as dropped")
    finally:
        fleet.terminate()
        fleet.wait(60)
        for record in (folder / "data/processes").glob("*.json"):
            subprocess.run(["kill", str(json.loads(record.read_text())["pid"])], stderr=subprocess.DEVNULL, check=False)
        redis.kill()
        redis.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
