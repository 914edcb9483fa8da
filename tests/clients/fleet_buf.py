"""The fleet from the shell: `buf curl`, which knows nothing but the address."""

import json
import pathlib
import subprocess
import sys
import uuid

from .stock import check

BUF = pathlib.Path(sys.executable).parent / "buf"


def curl(fleet, method, data=None, protocol="grpc", stdin=None):
    """Exit code, answers, and what it said."""
    command = [BUF, "curl", "--protocol", protocol]
    if protocol == "grpc":
        command.append("--http2-prior-knowledge")
    if data is not None or stdin is not None:
        command += ["-d", "@-" if stdin is not None else json.dumps(data)]
    ended = subprocess.run([*command, f"http://{fleet.target}{method}"], input=stdin, capture_output=True, text=True,
                           timeout=120)
    decoder, answers, rest = json.JSONDecoder(), [], ended.stdout.strip()
    while rest.startswith("{"):
        answer, end = decoder.raw_decode(rest)
        answers.append(answer)
        rest = rest[end:].strip()
    return ended.returncode, answers, ended.stdout + ended.stderr


def answered(fleet, method, data, protocol="grpc", stdin=None):
    code, answers, said = curl(fleet, method, data, protocol, stdin)
    check(code == 0, said)
    return answers


def lists_services(fleet):
    ended = subprocess.run([BUF, "curl", "--http2-prior-knowledge", "--protocol", "grpc", "--list-services",
                            f"http://{fleet.target}"], capture_output=True, text=True, timeout=60)
    check(ended.returncode == 0, ended.stderr)
    names = ended.stdout.split()
    check("neuro.NeuroOrchestratorService" in names and "grpc.health.v1.Health" in names, names)
    return f"{len(names)} services"


def health(fleet):
    [health] = answered(fleet, "/grpc.health.v1.Health/Check", {})
    check(health == {"status": "SERVING"}, health)
    for protocol in ("grpc", "grpcweb"):
        [health] = answered(fleet, "/neuro.NeuroOrchestratorService/HealthCheck", {}, protocol)
        check(health["healthy"] is True, health)


def session(fleet):
    name = str(uuid.uuid4())
    service = "/neuro.NeuroOrchestratorService"
    [made] = answered(fleet, f"{service}/CreateSession", {"session_id": name})
    uuid.UUID(made["instanceId"])
    answered(fleet, f"{service}/StartSimulation", {"sessionId": name})
    watch = json.dumps({"sessionId": name})
    states = answered(fleet, "/isaac_sim.IsaacSimService/StreamRobotControl", None, stdin=watch)
    check(states and states[-1]["sessionId"] == name and states[-1]["jointState"]["names"], states)
    [stopped] = answered(fleet, f"{service}/StopSession", {"sessionId": name, "cleanup": True})
    check(stopped["releasedInstances"] == [made["instanceId"]], stopped)
    events = answered(fleet, "/neuro.ext.v1.SessionService/WatchSession", {"sessionId": name}, "grpcweb")
    check([int(event["seq"]) for event in events] == list(range(1, len(events) + 1)), events)
    return f"{len(events)} events"


def refusals(fleet):
    code, _, said = curl(fleet, "/neuro.NeuroOrchestratorService/GetSessionStatus", {"sessionId": str(uuid.uuid4())})
    check(code != 0 and '"code": "not_found"' in said, said)
    code, _, said = curl(fleet, "/isaac_sim.IsaacSimService/StartSimulation", {"sessionId": "a b"})
    check(code != 0 and '"code": "invalid_argument"' in said and "session_id" in said, said)


ALL = (lists_services, health, session, refusals)
