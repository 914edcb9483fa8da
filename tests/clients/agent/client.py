"""The node agent from Python and from the shell, without a contract: what reflection says is all that is known. Its
instances have nothing behind them; those that do are in tests/agent."""

import json
import pathlib
import queue
import subprocess
import sys
import threading
import uuid

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ..fleet_reflection import Client
from ..stock import check

CODE = grpc.StatusCode
AGENT = "hypervisor.v1.AgentService"
BUF = pathlib.Path(sys.executable).parent / "buf"


class Target:
    def __init__(self, target):
        self.target = target


def wish(instance):
    return {
        "instance_id": instance, "name": "from python", "type": 2, "spec": {"image": "tool:1", "cpu_cores": 1},
        "labels": {"team": "arms"}, "annotations": {"hypervisor.io/tty": "true"},
    }


def refused(code, call, *arguments, **fields):
    try:
        call(*arguments, **fields)
    except grpc.RpcError as error:
        check(error.code() == code, f"{error.code()}, expected {code}: {error.details()}")
        return error.details()
    raise AssertionError(f"expected {code}")


def a_life_in_both_profiles(agent):
    instance = f"py-{uuid.uuid4().hex[:8]}"
    with Client(agent) as own, Client(Target(agent.upstream)) as upstream:
        made = own(AGENT, "CreateInstance", **wish(instance))
        check(made.state == 4 and made.id == instance, f"state {made.state} after its creation")
        check(own(AGENT, "CreateInstance", **wish(instance)).created_at == made.created_at, "made twice")
        refused(CODE.ALREADY_EXISTS, own, AGENT, "CreateInstance", **{**wish(instance), "name": "another"})
        refused(CODE.FAILED_PRECONDITION, own, AGENT, "GetInstanceStats", instance_id=instance)
        started = upstream(AGENT, "StartInstance", instance_id=instance)
        check(started.state == 3 and not hasattr(started, "error_message"), "upstream's message has our field")
        check(started.HasField("started_at"), "no started_at")
        stats = own(AGENT, "GetInstanceStats", instance_id=instance)
        check(stats.DESCRIPTOR.fields_by_name["cpu_usage_percent"].type == 2, "the document's percent is a float")
        other = upstream(AGENT, "GetInstanceStats", instance_id=instance)
        check(other.DESCRIPTOR.fields_by_name["cpu_usage_percent"].type == 1, "upstream's percent is a double")
        check(any(one.id == instance for one in own(AGENT, "ListInstances").instances), "not in the list")
        stopped = own(AGENT, "StopInstance", instance_id=instance, force=True)
        check(stopped.state == 4, f"state {stopped.state} after its end")
        own(AGENT, "DeleteInstance", instance_id=instance)
        refused(CODE.NOT_FOUND, own, AGENT, "DeleteInstance", instance_id=instance)
    return "created, started, measured, stopped and deleted"


def wrong_requests_name_their_field(agent):
    with Client(agent) as own:
        for field, fields in {
            "instance_id": {**wish("../etc"), "instance_id": "../etc"},
            "spec.cpu_cores": {**wish("a"), "spec": {"image": "tool:1", "cpu_cores": -1}},
            "hypervisor.io/autostrat": {**wish("a"), "annotations": {"hypervisor.io/autostrat": "true"}},
        }.items():
            said = refused(CODE.INVALID_ARGUMENT, own, AGENT, "CreateInstance", **fields)
            check(field in said, f"{said!r} does not name {field}")
        refused(CODE.NOT_FOUND, own, AGENT, "StartInstance", instance_id="nobody")
    return "three fields, and an instance that is not there"


def a_console_over_both_conventions(agent):
    instance = f"py-{uuid.uuid4().hex[:8]}"
    with Client(agent) as own:
        own(AGENT, "CreateInstance", **wish(instance))
        own(AGENT, "StartInstance", instance_id=instance)
        stub, asked = own.method(AGENT, "AttachConsole")
        heard = []
        for named in (False, True):
            typed = queue.Queue()
            typed.put(asked(resize={"width": 123, "height": 41}))
            if not named:
                typed.put(asked(data=instance.encode()))
            typed.put(asked(data=b"hello\n"))
            said = stub(iter(typed.get, None), metadata=[("instance-id", instance)] if named else None, timeout=30)
            stop = threading.Timer(2, said.cancel)
            stop.start()
            answers = b""
            try:
                for message in said:
                    answers += message.data
                    if b"hello" in answers:
                        said.cancel()
            except grpc.RpcError as error:
                check(error.code() == CODE.CANCELLED, f"{error.code()}: {error.details()}")
            stop.cancel()
            typed.put(None)
            heard.append(len(answers))
        nobody = stub(iter([asked(data=b"nobody")]), timeout=10)
        refused(CODE.NOT_FOUND, lambda: list(nobody))
        own(AGENT, "DeleteInstance", instance_id=instance, force=True)
    return f"{heard} bytes heard"


def health_is_served(agent):
    with grpc.insecure_channel(agent.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", AGENT):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            check(answer.status == health_pb2.HealthCheckResponse.SERVING, f"{service or 'the server'}: {answer.status}")
    return "serving"


def curl(agent, method, *flags, stdin=None):
    command = [BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", *flags, f"http://{agent.target}{method}"]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)


def buf_curl_lists_creates_and_attaches(agent):
    methods = curl(agent, "", "--list-methods").stdout
    for name in ("CreateInstance", "AttachConsole", "GetInstanceStats"):
        check(f"{AGENT}/{name}" in methods, f"{name} is not in {methods!r}")
    check("ClusterService" not in methods, "a service that is not served is shown")
    instance = f"buf-{uuid.uuid4().hex[:8]}"
    made = curl(agent, f"/{AGENT}/CreateInstance", "-d", json.dumps(wish(instance)))
    check(made.returncode == 0 and json.loads(made.stdout)["id"] == instance, made.stderr)
    curl(agent, f"/{AGENT}/StartInstance", "-d", json.dumps({"instance_id": instance}))
    attached = curl(agent, f"/{AGENT}/AttachConsole", "-H", "instance-id: nobody", "-d", "@-", stdin="{}")
    check("not_found" in attached.stderr, attached.stderr)
    gone = curl(agent, f"/{AGENT}/DeleteInstance", "-d", json.dumps({"instance_id": instance, "force": True}))
    check(gone.returncode == 0, gone.stderr)
    return "listed, created, refused, deleted"


ALL = (
    health_is_served, a_life_in_both_profiles, wrong_requests_name_their_field, a_console_over_both_conventions,
    buf_curl_lists_creates_and_attaches,
)
