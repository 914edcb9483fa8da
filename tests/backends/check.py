"""One pool of a cluster, from a cold start to the end: check.py BINARY BACKEND FOLDER key=value ...

The cluster has four `sim`; the pool keeps two warm and may have six. Standard library only.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

BINARY, BACKEND, FOLDER = sys.argv[1:4]
SETTINGS = dict(pair.split("=", 1) for pair in sys.argv[4:])
LIMIT_S = 240


def free_port():
    here = pathlib.Path(__file__).parent
    return int(subprocess.check_output([sys.executable, here / "port.py", "20000"]))


class Orchestrator:
    """`neuro orchestrate` over a data folder that outlives it."""

    def __init__(self):
        self.data = pathlib.Path(FOLDER, f"{BACKEND}-data")
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True)
        self.config = self.data / "fleet.toml"
        self.config.write_text(config())
        # Instances come back to the address they were given, so it stays the same.
        self.listen, self.http = free_port(), free_port()
        self.process = None

    def start(self):
        log = open(self.data / "orchestrator.log", "ab")
        command = [BINARY, "orchestrate", "--listen", f"127.0.0.1:{self.listen}", "--http", f"127.0.0.1:{self.http}"]
        command += ["--data", str(self.data), "--config", str(self.config)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data, method=method)
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def pool(self):
        pools = self.call("GET", "/v1/pools")["pools"]
        return next(pool for pool in pools if pool["name"] == "cluster")

    def states(self):
        return sorted(instance["state"] for instance in self.pool()["instances"])

    def ids(self):
        return {instance["id"] for instance in self.pool()["instances"] if instance["state"] != "lost"}

    def until(self, what, so):
        began, last = time.monotonic(), None
        while time.monotonic() - began < LIMIT_S:
            if self.process.poll() is not None:
                fail(f"the orchestrator ended with {self.process.returncode}", self)
            try:
                last = self.pool()
                if so(last):
                    took = time.monotonic() - began
                    print(f"ok {BACKEND}: {what} ({took:.1f} s)", flush=True)
                    return took
            except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
                last = error
            time.sleep(0.2)
        fail(f"{what} did not come about in {LIMIT_S} s; last seen: {last}", self)

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(60)


def config():
    lines = ["[leases]", "interval_ms = 1000", "lease_ms = 5000", "", "[[pool]]"]
    lines += ['name = "cluster"', 'role = "simulator"', f'backend = "{BACKEND}"']
    lines += ["warm = 2", "max = 6", "shrink_after_s = 2.0"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in SETTINGS.items()]
    return "\n".join(lines) + "\n"


def fail(why, orchestrator):
    print(f"FAILED {BACKEND}: {why}", flush=True)
    log = (orchestrator.data / "orchestrator.log").read_text(errors="replace").splitlines()
    print("\n".join(log[-30:]))
    if orchestrator.process.poll() is None:
        orchestrator.end(signal.SIGKILL)
    sys.exit(1)


def idle(pool):
    return sum(instance["state"] == "idle" for instance in pool["instances"])


def busy(pool):
    return sum(instance["state"] == "busy" for instance in pool["instances"])


def jobs():
    """Jobs that wait or run, asked of the cluster itself."""
    if BACKEND == "slurm":
        lines = subprocess.check_output(["squeue", "-h", "-o", "%T %j"], timeout=20, text=True).splitlines()
        return [line for line in lines if line.split()[0] in ("PENDING", "RUNNING")]
    with urllib.request.urlopen(f"{SETTINGS['url']}/api/jobs/", timeout=20) as answer:
        listed = json.loads(answer.read())
    return [job["submission_id"] for job in listed if job["status"] in ("PENDING", "RUNNING")]


def main():
    one = Orchestrator()
    one.start()
    one.until("two simulators come up as jobs and attach", lambda pool: idle(pool) == 2)
    if len(jobs()) != 2:
        fail(f"the cluster has {jobs()}, not two jobs", one)

    began = time.monotonic()
    one.call("POST", "/v1/sessions", {"session_id": "one", "mode": "manual"})
    print(f"ok {BACKEND}: a session has a warm simulator ({(time.monotonic() - began) * 1000:.0f} ms)", flush=True)
    one.until("another is started for it", lambda pool: busy(pool) == 1 and idle(pool) == 2)

    before = one.ids()
    one.end(signal.SIGKILL)
    one.start()
    one.until("a killed orchestrator finds its jobs again", lambda pool: busy(pool) == 1 and idle(pool) == 2)
    time.sleep(3)
    if one.ids() != before or len(jobs()) != 3:
        fail(f"jobs were doubled or lost: {before} became {one.ids()}, jobs {jobs()}", one)

    one.call("POST", "/v1/sessions/one/stop", {})
    one.until("the spare one is cancelled", lambda pool: busy(pool) == 0 and idle(pool) == 2)
    deadline = time.monotonic() + 30
    while len(jobs()) != 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    if len(jobs()) != 2:
        fail(f"the cluster still has {jobs()}", one)

    for instance in sorted(one.ids()):
        one.call("POST", "/v1/pools/drain", {"instance_id": instance, "deadline_s": 1})
    gone = one.ids()
    one.until("drained ones are cancelled and replaced", lambda pool: idle(pool) == 2 and not gone & one.ids())

    # Leave nothing behind: instances outlive the orchestrator on purpose.
    one.end()
    for job in jobs():
        if BACKEND == "slurm":
            subprocess.run(["scancel", f"--name={job.split()[1]}"], check=True, timeout=20)
        else:
            request = urllib.request.Request(f"{SETTINGS['url']}/api/jobs/{job}/stop", b"", method="POST")
            urllib.request.urlopen(request, timeout=20).read()


if __name__ == "__main__":
    main()
