"""Every service of the fleet from Python, without a contract: what reflection says is all the client knows."""

import queue
import time
import uuid

import grpc
import requests
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from .stock import check

CODE = grpc.StatusCode
NEURO = "neuro.NeuroOrchestratorService"
ISAAC = "isaac_sim.IsaacSimService"
TRAINING = "training.TrainingService"
RESOURCE = "resource.ResourceService"
SESSIONS = "neuro.ext.v1.SessionService"
POOLS = "neuro.ext.v1.PoolAdminService"
INSTANCES = "neuro.ext.v1.InstanceService"


class Client:
    """A channel and the types that its server describes."""

    def __init__(self, fleet):
        self.channel = grpc.insecure_channel(fleet.target)
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = DescriptorPool(self.database)
        self.sessions = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for session in self.sessions:
            try:
                self(RESOURCE, "ReleaseResources", session_id=session)
            except grpc.RpcError:
                pass
        self.channel.close()

    def session(self):
        """A name for a session that ends with the client, whatever becomes of the test."""
        self.sessions.append(str(uuid.uuid4()))
        return self.sessions[-1]

    def method(self, service, name, path=None):
        """How to call it, and the class of its request."""
        method = self.pool.FindServiceByName(service).FindMethodByName(name)
        asked, answered = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        kind = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
        stub = getattr(self.channel, kind)(
            f"/{path or service}/{name}", request_serializer=asked.SerializeToString,
            response_deserializer=answered.FromString)
        return stub, asked

    def __call__(self, service, name, /, path=None, timeout=60, **fields):
        stub, asked = self.method(service, name, path)
        return stub(asked(**fields), timeout=timeout)

    def refused(self, code, service, name, /, **fields):
        try:
            answer = self(service, name, **fields)
            # A stream says it with its first message.
            answer = next(iter(answer)) if hasattr(answer, "__next__") else answer
        except grpc.RpcError as error:
            check(error.code() == code, f"{name}: {error.code()} {error.details()}, expected {code}")
            check(error.details(), f"{name} does not say what was wrong")
            return error
        raise AssertionError(f"{name} was not refused: {answer}")

    def until(self, holds, session, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            status = self(NEURO, "GetSessionStatus", session_id=session)
            if holds(status):
                return status
            check(time.monotonic() < deadline, status)
            time.sleep(0.1)


def finds_everything_by_reflection(fleet):
    with Client(fleet) as client:
        names = set(client.database.get_services())
        for name in (NEURO, ISAAC, TRAINING, RESOURCE, SESSIONS, POOLS, INSTANCES, "grpc.health.v1.Health"):
            check(name in names, f"{name} is not among {names}")
        methods = sum(len(client.pool.FindServiceByName(name).methods)
                      for name in (NEURO, ISAAC, TRAINING, RESOURCE, SESSIONS, POOLS, INSTANCES))
        check(methods == 11 + 8 + 4 + 3 + 8 + 1 + 4, f"{methods} methods")
        health = client("grpc.health.v1.Health", "Check", service=NEURO)
        check(health.status == 1, health)
        return f"{len(names)} services, {methods} methods"


def manual_session(fleet):
    with Client(fleet) as client:
        session = client.session()
        made = client(NEURO, "CreateSession", session_id=session, mode=1)
        check(made.success and made.session_id == session, made)
        uuid.UUID(made.instance_id)
        check(made.stream_endpoint.protocol == "mjpeg" and made.stream_endpoint.port > 0, made.stream_endpoint)
        check(made.control_ws_url.startswith("ws://") and session in made.control_ws_url, made.control_ws_url)
        client(NEURO, "StartSimulation", session_id=session)
        status = client.until(lambda status: status.session_status.simulation_time > 0, session)
        check(status.session_status.status == 2 and status.mode == 1, status)
        listed = client(SESSIONS, "ListSessions").sessions
        check([one.session_id for one in listed] == [session], listed)
        check(client(SESSIONS, "GetQueuePosition", session_id=session).position == 0, "a running session waits")
        client(SESSIONS, "PauseSession", session_id=session)
        check(client(ISAAC, "GetSessionStatus", session_id=session).status == 3, "it is not paused")
        client(NEURO, "StartSimulation", session_id=session)
        stopped = client(NEURO, "StopSession", session_id=session, cleanup=True)
        check(list(stopped.released_instances) == [made.instance_id], stopped)
        check(client(RESOURCE, "ReleaseResources", session_id=session).success, "releasing twice is an error")
        events = list(client(SESSIONS, "WatchSession", session_id=session))
        check([event.seq for event in events] == list(range(1, len(events) + 1)), "the log is not dense")
        rest = list(client(SESSIONS, "WatchSession", session_id=session, resume_after=2))
        check(rest == events[2:], "resuming gives other events")
        return f"{len(events)} events"


def simulator_by_its_older_service(fleet):
    with Client(fleet) as client:
        session = client.session()
        for path in (ISAAC, "neuro.IsaacSimService"):
            made = client(ISAAC, "CreateSession", path=path, session_id=session)
            check(made.success and made.stream_endpoint.url, made)
        client(ISAAC, "StartSimulation", session_id=session, real_time=True, time_scale=1.0)
        added = client(ISAAC, "UpdateScene", session_id=session, obstacles_to_add=[
            {"type": 1, "position": {"x": 0.5, "y": 0.4, "z": 0.2}, "size": [0.1]}])
        path = added.message.removeprefix("added ")
        check(path.startswith("/"), added)
        client(ISAAC, "UpdateScene", session_id=session, obstacles_to_remove=[path])
        endpoint = client(ISAAC, "GetStreamEndpoint", session_id=session)
        with requests.get(endpoint.url, stream=True, timeout=20) as pictures:
            check(pictures.headers["content-type"].startswith("multipart/x-mixed-replace"), pictures.headers)
            seen = b""
            for chunk in pictures.iter_content(4096):
                seen += chunk
                if b"\xff\xd8\xff" in seen:
                    break
        states = drive(client, session)
        stopped = client(ISAAC, "StopSimulation", session_id=session, cleanup=True)
        check(stopped.success, stopped)
        return f"{states} states"


def drive(client, session, target=0.4):
    """Turns the first joint and waits until it is there."""
    stub, action = client.method(ISAAC, "StreamRobotControl")
    actions = queue.Queue()
    command = action(session_id=session, joint_commands=[
        {"type": "position", "names": ["panda_joint1"], "values": [target]}])
    actions.put(command)
    count, last = 0, 0
    for state in stub(iter(actions.get, None), timeout=60):
        check(state.session_id == session and state.timestamp >= last, state)
        count, last = count + 1, state.timestamp
        joints = dict(zip(state.joint_state.names, state.joint_state.positions))
        if abs(joints["panda_joint1"] - target) < 0.05:
            actions.put(None)
        else:
            actions.put(command)
    check(count > 0, "no state came")
    return count


def training_session(fleet):
    with Client(fleet) as client:
        session = client.session()
        manual = client(NEURO, "CreateSession", session_id=session, mode=1)
        made = client(NEURO, "CreateTrainingSession", session_id=session)
        uuid.UUID(made.training_instance_id)
        check(made.isaac_instance_ids[0] == manual.instance_id, "the simulator is another one now")
        check(len(made.zmq_channels) == 2, made.zmq_channels)
        check(all(channel.protocol == "REQ-REP" for channel in made.zmq_channels), made.zmq_channels)
        status = client.until(lambda status: status.training_status.current_episode > 0, session)
        check(status.mode == 0 and status.training_status.status == 1, status)
        pools = client(NEURO, "GetResourcePoolStatus", include_isaac_pool=True, include_training_pool=True)
        check(pools.training_pool.running_instances == 1, pools.training_pool)
        check(pools.isaac_pool.running_instances == 2, pools.isaac_pool)
        stopped = client(NEURO, "StopSession", session_id=session, cleanup=True)
        check(len(stopped.released_instances) == 3, stopped)
        return f"episode {status.training_status.current_episode}"


def training_by_its_older_service(fleet):
    with Client(fleet) as client:
        started = client(TRAINING, "StartTraining", path="neuro.TrainingService",
                         session_id=client.session(), epochs=20, learning_rate=0.001)
        points = list(client(TRAINING, "GetTrainingProgress", training_id=started.training_id, timeout=180))
        check(points and 0 < points[-1].current_epoch <= 20 + 2, points[-1:])
        check(points[-1].total_epochs == 20 and "steps" in points[-1].metrics, points[-1:])
        result = client(TRAINING, "GetTrainingResult", training_id=started.training_id)
        check(result.success and result.model_path and result.final_reward > 0, result)
        again = client(TRAINING, "StopTraining", training_id=started.training_id, save_checkpoint=True)
        check(again.success and again.checkpoint_path == result.checkpoint_path, again)
        return f"{len(points)} points, reward {result.final_reward:.1f}"


def hybrid_session_with_a_person(fleet):
    with Client(fleet) as client:
        session = client.session()
        made = client(NEURO, "CreateHybridSession", session_id=session, enable_human_demo=True)
        check(made.control_mode_switch_url.startswith("http://"), made)
        client.until(lambda status: status.training_status.current_episode > 0, session)
        lease = client(SESSIONS, "TakeControl", session_id=session, user="ada", ttl_ms=20_000, record=True)
        check(lease.fence > 0 and lease.holder == 2 and lease.token, lease)
        check(lease.ws_url.startswith("ws://"), lease)
        client.refused(CODE.FAILED_PRECONDITION, SESSIONS, "TakeControl", session_id=session, user="bob")
        renewed = client(SESSIONS, "RenewControl", session_id=session, fence=lease.fence, ttl_ms=30_000)
        check(renewed.expires_at_ms >= lease.expires_at_ms, renewed)
        client.refused(CODE.FAILED_PRECONDITION, SESSIONS, "RenewControl", session_id=session, fence=lease.fence + 7)
        time.sleep(2)
        released = client(SESSIONS, "ReleaseControl", session_id=session, fence=lease.fence, resume_policy=True)
        demonstrations = client(SESSIONS, "ListDemonstrations", session_id=session).demonstrations
        check([one.id for one in demonstrations] == [released.demonstration_id], demonstrations)
        check(demonstrations[0].user == "ada" and demonstrations[0].steps > 0, demonstrations)
        client(NEURO, "StopSession", session_id=session, cleanup=True)
        return f"{demonstrations[0].steps} steps"


def snapshots(fleet):
    with Client(fleet) as client:
        session = client.session()
        client(NEURO, "CreateSession", session_id=session)
        saved = client(NEURO, "SaveSessionSnapshot", session_id=session, metadata={"why": "test"}).snapshot_info
        check(saved.scene_snapshot_urls and saved.file_size_bytes > 0, saved)
        check(saved.metadata["why"] == "test" and saved.created_at > 0, saved)
        back = client(NEURO, "RestoreSessionSnapshot", session_id=session, snapshot_id=saved.snapshot_id)
        check(len(back.isaac_instance_ids) == 1, back)
        client.refused(CODE.NOT_FOUND, NEURO, "RestoreSessionSnapshot", session_id=session, snapshot_id=str(uuid.uuid4()))
        client(NEURO, "StopSession", session_id=session, cleanup=True)
        return f"{saved.file_size_bytes} bytes"


def operators(fleet):
    with Client(fleet) as client:
        client(POOLS, "SetQuota", owner="ada", max_sessions=3)
        client(POOLS, "Drain", deadline_s=30)
        error = client.refused(CODE.UNAVAILABLE, NEURO, "HealthCheck")
        details = dict(error.trailing_metadata())["grpc-status-details-bin"]
        check(b"google.rpc.RetryInfo" in details, details)
        client.refused(CODE.UNAVAILABLE, NEURO, "CreateSession", session_id=str(uuid.uuid4()))
        client(POOLS, "Undrain")
        check(client(NEURO, "HealthCheck", detailed=True).healthy, "it is still draining")
        client(RESOURCE, "GetGPUStatus")


def refusals(fleet):
    with Client(fleet) as client:
        session = client.session()
        error = client.refused(CODE.INVALID_ARGUMENT, NEURO, "CreateSession", session_id="a b")
        details = dict(error.trailing_metadata())["grpc-status-details-bin"]
        check(b"google.rpc.BadRequest" in details and b"session_id" in details, details)
        client.refused(CODE.INVALID_ARGUMENT, NEURO, "CreateSession", session_id=session, mode=2)
        client.refused(CODE.NOT_FOUND, NEURO, "GetSessionStatus", session_id=session)
        client.refused(CODE.NOT_FOUND, SESSIONS, "WatchSession", session_id=session)
        client.refused(CODE.NOT_FOUND, POOLS, "Preempt", session_id=session)
        client.refused(CODE.NOT_FOUND, NEURO, "GetOmniverseConnectionInfo", session_id=session)


ALL = (
    finds_everything_by_reflection, manual_session, simulator_by_its_older_service, training_session,
    training_by_its_older_service, hybrid_session_with_a_person, snapshots, operators, refusals,
)
