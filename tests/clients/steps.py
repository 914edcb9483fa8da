"""reset/step over ZeroMQ with the other end in Python: a trainer against `neuro simulate`, and `neuro trainer` against
gymnasium. The peers are small programs of their own, in peers/."""

import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import zmq

from .server import Running
from .stock import check

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
TIMEOUT_MS = 10_000


class Simulator(Running):
    """`neuro simulate` with the balance task; `endpoint` is its reset/step socket."""

    def __init__(self, binary, *flags):
        self.endpoint = None
        super().__init__([binary, "simulate", "--host", "127.0.0.1", "--port", "0", *flags], self.hears)

    def hears(self, line):
        if line.startswith("neuro simulate steps on "):
            self.endpoint = line.removeprefix("neuro simulate steps on ")
        return line.startswith("neuro simulate ready")


class Gymnasiums:
    """Some sim_gym.py on free ports, ended with the block."""

    def __init__(self, count, task="CartPole-v1"):
        self.endpoints = [f"tcp://127.0.0.1:{free_port()}" for _ in range(count)]
        self.task = task
        self.processes = []

    def start(self, index):
        process = subprocess.Popen([sys.executable, str(PEERS / "sim_gym.py"), self.endpoints[index], self.task],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        check(process.stdout.readline().startswith("bound"), "sim_gym.py does not come up")
        return process

    def __enter__(self):
        self.processes = [self.start(index) for index in range(len(self.endpoints))]
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(socket_, message):
    socket_.send_json(message)
    return socket_.recv_json()


def req(context, endpoint):
    requester = context.socket(zmq.REQ)
    requester.setsockopt(zmq.LINGER, 0)
    requester.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
    requester.connect(endpoint)
    return requester


def plain_requests(binary):
    """A plain REQ socket plays an episode; rubbish gets a sentence; how long a step takes there and back."""
    with Simulator(binary) as simulator, zmq.Context() as context, req(context, simulator.endpoint) as requester:
        spec = ask(requester, {"cmd": "spec"})
        check(spec["action"] == {"discrete": 2}, f"spec {spec}")
        begun = ask(requester, {"cmd": "reset", "seed": 42})
        check(len(begun["observation"]) == spec["observation_size"], f"reset {begun}")
        check(begun["observation"] == ask(requester, {"cmd": "reset", "seed": 42})["observation"], "a seed is a seed")
        done, took = False, []
        while not done:
            started = time.perf_counter()
            stepped = ask(requester, {"cmd": "step", "action": [1], "timestamp": 2.5})
            took.append(time.perf_counter() - started)
            done = stepped["done"]
        check(stepped["info"]["terminated"] is True and len(took) < 20, f"pushing one way: {stepped}")
        requester.send(b"{")
        check("error" in requester.recv_json(), "rubbish is no request")
        check(ask(requester, {"cmd": "fly"}) == {"error": "unknown command"}, "an unknown command")
        for _ in range(2000):
            started = time.perf_counter()
            if ask(requester, {"cmd": "step", "action": [0]})["done"]:
                ask(requester, {"cmd": "reset"})
            took.append(time.perf_counter() - started)
        check(ask(requester, {"cmd": "close"}) == {"status": "ok"}, "close")
        return f"{1e6 * sorted(took)[len(took) // 2]:.0f} us p50"


def correlated_requests(binary):
    """REQ_RELAXED and REQ_CORRELATE, which put an id in front of the envelope, and a client that leaves in between."""
    with Simulator(binary) as simulator, zmq.Context() as context:
        with req(context, simulator.endpoint) as leaver:
            leaver.send_json({"cmd": "reset"})
        relaxed = req(context, simulator.endpoint)
        with relaxed:
            relaxed.setsockopt(zmq.REQ_RELAXED, 1)
            relaxed.setsockopt(zmq.REQ_CORRELATE, 1)
            relaxed.send_json({"cmd": "reset"})
            for timestamp in range(100):
                relaxed.send_json({"cmd": "step", "action": [timestamp % 2], "timestamp": timestamp})
                relaxed.send_json({"cmd": "spec"})
                check("observation_size" in relaxed.recv_json(), "the answer is the newer request's")
        return "100 answers for 200 requests, each the right one"


def numpy_trainer(binary):
    """ppo_zmq.py, unchanged, learns on four `neuro simulate`."""
    simulators = [Simulator(binary) for _ in range(4)]
    try:
        ended = subprocess.run([sys.executable, str(PEERS / "ppo_zmq.py"), *[each.endpoint for each in simulators],
                                "--steps", "120000", "--target", "300"],
                               capture_output=True, text=True, timeout=300, check=True)
    finally:
        for each in simulators:
            each.__exit__()
    final = json.loads(ended.stdout.splitlines()[-1])
    check(final["avg_reward"] >= 300, f"{final}")
    return f"{final['avg_reward']} after {final['steps']} steps, {final['seconds']} s, rtt {final['rtt_us_p50']} us"


def trainer_flags(binary, gymnasiums, *more):
    return [binary, "trainer", "--endpoints", ",".join(gymnasiums.endpoints), "--set", "actions=discrete:2", *more]


def learns_from_gymnasium(binary):
    """`neuro trainer` learns CartPole of gymnasium behind pyzmq."""
    with Gymnasiums(4) as gymnasiums:
        flags = trainer_flags(binary, gymnasiums, "--steps", "150000", "--set", "target_reward=475")
        ended = subprocess.run(flags, capture_output=True, text=True, timeout=400, check=True)
    final = json.loads(ended.stdout.splitlines()[-1])
    check(final["success"] and final["avg_reward"] >= 475, f"{final}")
    return f"{final['avg_reward']} after {final['steps']:.0f} steps, {final['seconds']} s, {final['sps']:.0f} steps/s"


def outlives_a_killed_gymnasium(binary):
    """One simulator is killed in mid-step and started again: training goes on without it and takes it back."""
    with Gymnasiums(2) as gymnasiums:
        process = subprocess.Popen(
            trainer_flags(binary, gymnasiums, "--steps", "1000000", "--set", "step_timeout_ms=500"),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            def until(away):
                for line in process.stdout:
                    if json.loads(line)["away"] == away:
                        return json.loads(line)["steps"]
                raise RuntimeError("training ended")

            watchdog = threading.Timer(60, process.kill)
            watchdog.start()
            before = until(0)
            gymnasiums.processes[1].kill()
            gymnasiums.processes[1].wait()
            alone = until(1)
            gymnasiums.processes[1] = gymnasiums.start(1)
            after = until(0)
            watchdog.cancel()
            check(before < alone < after, f"{before}, {alone}, {after}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            process.wait(20)
        check(process.returncode == 0, f"it ended with {process.returncode}")
        return f"killed at {before} steps, alone at {alone}, back at {after}"


ALL = (plain_requests, correlated_requests, numpy_trainer, learns_from_gymnasium, outlives_a_killed_gymnasium)
