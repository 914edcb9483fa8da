"""NuRec's wire from Python, with stubs that grpcio-tools makes of proto/nurec: `neuro render` as its clients use it,
and `neuro serve` in front of a renderer that is not ours."""

import importlib
import io
import pathlib
import sys
import tempfile
from concurrent import futures

import grpc
import numpy as np
import requests
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc
from PIL import Image

from .server import Server
from .stock import check

PROTOS = pathlib.Path(__file__).resolve().parents[2] / "proto" / "nurec"
SCENES = "tests/fixtures/scenario/data"
AUTOMOBILE = "23"  # a controllable track of the first scene
SERVICE = "nre.grpc.protos.sensorsim.SensorsimService"
MESSAGE_LIMIT = 100 << 20
OPTIONS = [("grpc.max_send_message_length", MESSAGE_LIMIT), ("grpc.max_receive_message_length", MESSAGE_LIMIT)]
CODE = grpc.StatusCode


def stubs():
    with tempfile.TemporaryDirectory() as folder:
        ended = protoc.main(["protoc", f"-I{PROTOS}", f"--python_out={folder}", f"--grpc_python_out={folder}",
                             "common.proto", "sensorsim.proto"])
        check(ended == 0, f"protoc ended with {ended}")
        sys.path.insert(0, folder)
        try:
            return [importlib.import_module(name) for name in ("common_pb2", "sensorsim_pb2", "sensorsim_pb2_grpc")]
        finally:
            sys.path.remove(folder)


common, sim, sim_grpc = stubs()


class Client:
    """What CARLA's NuRec client keeps of a scene, and how it asks."""

    def __init__(self, target, scene_id=None):
        self.channel = grpc.insecure_channel(target, options=OPTIONS)
        self.stub = sim_grpc.SensorsimServiceStub(self.channel)
        self.scenes = list(self.stub.get_available_scenes(common.Empty(), timeout=10).scene_ids)
        self.scene_id = scene_id or self.scenes[0]
        answer = self.stub.get_available_cameras(sim.AvailableCamerasRequest(scene_id=self.scene_id))
        self.cameras = {camera.logical_id: camera for camera in answer.available_cameras}
        answer = self.stub.get_available_trajectories(sim.AvailableTrajectoriesRequest(scene_id=self.scene_id))
        [trajectory] = answer.available_trajectories
        self.poses = trajectory.trajectory.poses
        self.middle = self.poses[len(self.poses) // 2]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def request(self, camera=None, rig=None, ratio=0.25, **more):
        """One frame of a camera where the rig stands; `more` replaces fields."""
        camera, rig = camera or next(iter(self.cameras.values())), rig or self.middle
        spec, pose = camera.intrinsics, pose_of(matrix_of(rig.pose) @ matrix_of(camera.rig_to_camera))
        fields = {
            "scene_id": self.scene_id, "camera_intrinsics": spec,
            "resolution_h": int(spec.resolution_h * ratio), "resolution_w": int(spec.resolution_w * ratio),
            "frame_start_us": rig.timestamp_us, "frame_end_us": rig.timestamp_us + 1,
            "sensor_pose": sim.PosePair(start_pose=pose, end_pose=pose),
            "image_format": sim.JPEG, "image_quality": 95,
        }
        return sim.RGBRenderRequest(**{**fields, **more})

    def picture(self, request):
        """The answer's pixels, and the name of its format."""
        image = Image.open(io.BytesIO(self.stub.render_rgb(request, timeout=60).image_bytes))
        check((image.width, image.height) == (request.resolution_w, request.resolution_h), image.size)
        return np.asarray(image.convert("RGB")).astype(float), image.format


def matrix_of(pose):
    w, x, y, z = pose.quat.w, pose.quat.x, pose.quat.y, pose.quat.z
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = pose.vec.x, pose.vec.y, pose.vec.z
    return matrix


def pose_of(matrix):
    """By the eigenvector of the rotation's quaternion matrix: no branches on signs."""
    [[a, b, c], [d, e, f], [g, h, i]] = matrix[:3, :3]
    form = np.array([[a + e + i, h - f, c - g, d - b], [h - f, a - e - i, b + d, c + g],
                     [c - g, b + d, e - a - i, f + h], [d - b, c + g, f + h, i - a - e]])
    w, x, y, z = np.linalg.eigh(form)[1][:, -1]
    return common.Pose(vec=common.Vec3(x=matrix[0, 3], y=matrix[1, 3], z=matrix[2, 3]),
                       quat=common.Quat(w=w, x=x, y=y, z=z))


def asks_what_there_is(renderer):
    with Client(renderer.target) as client:
        version = client.stub.get_version(common.Empty()).version_id
        check(version, "no version")
        for scene in client.scenes:
            with Client(renderer.target, scene) as one:
                times = [pose.timestamp_us for pose in one.poses]
                check(len(times) > 1 and times == sorted(times), times)
                for name, camera in one.cameras.items():
                    spec = camera.intrinsics
                    check(spec.logical_id == name and spec.WhichOneof("camera_param"), name)
                    check(spec.resolution_w > 0 and spec.resolution_h > 0, name)
        loaded = {scene.scene_id for scene in client.stub.get_loaded_scenes(common.Empty()).scenes}
        check(loaded == set(client.scenes), loaded)
        return f"{version}, {len(client.scenes)} scenes"


def every_camera_in_both_formats(renderer):
    with Client(renderer.target) as client:
        for name, camera in client.cameras.items():
            for width, height in ((480, 270), (333, 77), (1, 1)):
                size = {"resolution_w": width, "resolution_h": height}
                png, kind = client.picture(client.request(camera, image_format=sim.PNG, **size))
                check(kind == "PNG", kind)
                jpeg, kind = client.picture(client.request(camera, image_format=sim.JPEG, **size))
                check(kind == "JPEG", kind)
                check(np.abs(png - jpeg).mean() < 4, f"{name} at {width}x{height}: the formats show different pictures")
                check((width, height) == (1, 1) or png.std() > 10, f"{name} shows nothing")
        return f"{len(client.cameras)} cameras"


def carla_replay(renderer):
    """A render at the world's origin to warm up, then a drive with the time held before the end, then an actor."""
    with Client(renderer.target) as client:
        origin = sim.PosePair(start_pose=pose_of(np.eye(4)), end_pose=pose_of(np.eye(4)))
        client.picture(client.request(rig=client.poses[0], sensor_pose=origin))
        seen = set()
        for rig in [*client.poses[::20], client.poses[-1]]:
            time = min(rig.timestamp_us, client.poses[-1].timestamp_us - 1)
            seen.add(client.picture(client.request(rig=rig, frame_start_us=time, frame_end_us=time + 1))[0].tobytes())
        check(len(seen) > 5, f"{len(seen)} different pictures on the whole drive")

        def with_actor(metres):
            ahead = matrix_of(client.middle.pose)
            ahead[:3, 3] += ahead[:3, :3] @ [metres, 0, 1]
            pair = sim.PosePair(start_pose=pose_of(ahead), end_pose=pose_of(ahead))
            actor = sim.DynamicObject(track_id=AUTOMOBILE, pose_pair=pair)
            return client.picture(client.request(dynamic_objects=[actor], image_format=sim.PNG))[0]

        near, far = with_actor(8), with_actor(5000)
        check((np.abs(near - far).sum(axis=2) > 30).mean() > 0.01, "an actor 8 m ahead is not seen")
        return f"{len(seen)} pictures, and an actor"


def batch_is_the_single_pictures(renderer):
    with Client(renderer.target) as client:
        wanted = {name: client.request(camera) for name, camera in client.cameras.items()}
        wanted["wrong"] = client.request(scene_id="nowhere")
        items = [sim.BatchRGBRenderRequestItem(camera_name=name, request=one) for name, one in wanted.items()]
        answer = client.stub.batch_render_rgb(sim.BatchRGBRenderRequest(items=items), timeout=60)
        check([item.camera_name for item in answer.items] == list(wanted), answer.items)
        for item in answer.items[:-1]:
            check(item.success and not item.error_message, item.error_message)
            single = client.stub.render_rgb(wanted[item.camera_name], timeout=60)
            check(item.result.image_bytes == single.image_bytes, f"{item.camera_name} differs from the single picture")
        check(not answer.items[-1].success and "nowhere" in answer.items[-1].error_message, answer.items[-1])
        return f"{len(wanted)} pictures, one of them refused"


def refusals_say_what_was_wrong(renderer):
    with Client(renderer.target) as client:
        camera, end_us = next(iter(client.cameras.values())), client.poses[-1].timestamp_us
        lensless = sim.CameraSpec(logical_id="x", resolution_h=1080, resolution_w=1920)
        nan = common.Pose(vec=common.Vec3(x=float("nan")), quat=common.Quat(w=1))
        wrong = [
            (CODE.NOT_FOUND, "nowhere", {"scene_id": "nowhere"}),
            (CODE.OUT_OF_RANGE, str(end_us), {"frame_start_us": end_us, "frame_end_us": end_us + 1}),
            (CODE.OUT_OF_RANGE, "frame 0", {"frame_start_us": 0, "frame_end_us": 1}),
            (CODE.INVALID_ARGUMENT, "frame_end_us", {"frame_end_us": client.middle.timestamp_us - 1}),
            (CODE.INVALID_ARGUMENT, "4294967295x4294967295", {"resolution_w": 2**32 - 1, "resolution_h": 2**32 - 1}),
            (CODE.INVALID_ARGUMENT, "8192x8192", {"resolution_w": 8192, "resolution_h": 8192}),
            (CODE.INVALID_ARGUMENT, "0x270", {"resolution_w": 0, "resolution_h": 270}),
            (CODE.INVALID_ARGUMENT, "camera_param", {"camera_intrinsics": lensless}),
            (CODE.INVALID_ARGUMENT, "camera_intrinsics", {"camera_intrinsics": None}),
            (CODE.INVALID_ARGUMENT, "sensor_pose", {"sensor_pose": None}),
            (CODE.INVALID_ARGUMENT, "finite", {"sensor_pose": sim.PosePair(start_pose=nan, end_pose=nan)}),
            (CODE.INVALID_ARGUMENT, "AV1", {"image_format": sim.AV1}),
            (CODE.INVALID_ARGUMENT, "image_quality", {"image_quality": 101}),
        ]
        for code, word, fields in wrong:
            request = client.request(camera, **fields)
            try:
                client.stub.render_rgb(request, timeout=10)
            except grpc.RpcError as error:
                check(error.code() is code and word in error.details(), f"{fields}: {error.code()} {error.details()}")
            else:
                raise AssertionError(f"{fields} was drawn")
        try:
            client.stub.shut_down(common.Empty(), timeout=10)
        except grpc.RpcError as error:
            check(error.code() is CODE.PERMISSION_DENIED, error)
        else:
            raise AssertionError("a client ended the server")
        client.picture(client.request(camera))
        return f"{len(wrong)} requests refused, the next one drawn"


def contract(fields):
    return [(field.name, field.number, field.type) for field in fields]


def health_and_reflection(renderer):
    with grpc.insecure_channel(renderer.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICE):
            status = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status
            check(status == health_pb2.HealthCheckResponse.SERVING, f"{service!r}: {status}")
        database = ProtoReflectionDescriptorDatabase(channel)
        check(SERVICE in database.get_services(), database.get_services())
        told, ours = DescriptorPool(database), sim.DESCRIPTOR.services_by_name["SensorsimService"]
        methods = [method.name for method in told.FindServiceByName(SERVICE).methods]
        check(methods == [method.name for method in ours.methods], methods)
        for name, message in sim.DESCRIPTOR.message_types_by_name.items():
            fields = told.FindMessageTypeByName(message.full_name).fields
            check(contract(fields) == contract(message.fields), name)
        return f"{len(methods)} methods"


class Elsewhere(sim_grpc.SensorsimServiceServicer):
    """A renderer of one colour that can be told to fail by camera."""

    def __init__(self, port=0):
        self.asked, self.fails = [], {}
        self.server = grpc.server(futures.ThreadPoolExecutor(8), options=OPTIONS)
        sim_grpc.add_SensorsimServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        self.server.start()

    def get_version(self, request, context):
        return common.VersionId(version_id="elsewhere")

    def render_rgb(self, request, context):
        self.asked.append(request)
        fail = self.fails.get(request.camera_intrinsics.logical_id)
        if isinstance(fail, CODE):
            context.abort(fail, "told to fail")
        data = io.BytesIO()
        Image.new("RGB", (request.resolution_w, request.resolution_h), (90, 110, 130)).save(data, "JPEG")
        return sim.RGBRenderReturn(image_bytes=b"" if fail == "empty" else data.getvalue())

    def stop(self):
        self.server.stop(None).wait()


def serve_in_front_of_another_renderer(binary):
    elsewhere = Elsewhere()
    flags = ("--model", "models/tiny", "--scenes", SCENES, "--renderer", "external")
    try:
        with Server(binary, *flags, "--nurec", f"127.0.0.1:{elsewhere.port}") as server:
            def post(path, **body):
                answer = requests.post(f"{server.url}/api/{path}", json=body, timeout=60)
                check(answer.status_code == 200, answer.text)
                return answer.json()

            [path] = [path for path in requests.get(f"{server.url}/api/usdz-files", timeout=10).json()["files"]
                      if path.endswith("/drive.usdz")]
            check(post("nurec/restart", usdz_path=path)["grpc_ready"] is True, "the renderer is not seen")
            sequence = post("load", usdz_path=path)["sequence_id"]
            scenario = requests.get(f"{server.url}/api/scenario", timeout=10).json()
            times = iter(range(scenario["time_range"]["start_us"] + 500_000, scenario["time_range"]["end_us"], 500_000))
            names = [camera["logical_name"] for camera in scenario["cameras"]][:3]

            def draw():
                answer = post("render", timestamp_us=next(times), camera_ids=names)
                return set(answer["images"]), answer.get("errors", {})

            check(draw() == (set(names), {}), "not every camera has a picture")
            check({request.camera_intrinsics.logical_id for request in elsewhere.asked} == set(names), elsewhere.asked)
            for request in elsewhere.asked:
                size = (request.resolution_w, request.resolution_h)
                check(request.scene_id == sequence and size == (480, 270), (request.scene_id, size))
                check(request.image_format == sim.JPEG and request.frame_end_us > request.frame_start_us, request)
            elsewhere.fails = {names[0]: CODE.RESOURCE_EXHAUSTED, names[1]: "empty"}
            images, errors = draw()
            check(images == {names[2]} and set(errors) == set(names[:2]), (images, errors))
            check("RESOURCE_EXHAUSTED" in errors[names[0]] and "empty" in errors[names[1]], errors)
            elsewhere.stop()
            images, errors = draw()
            check(not images and set(errors) == set(names), (images, errors))
            elsewhere = Elsewhere(elsewhere.port)
            check(draw() == (set(names), {}), "it did not come back")
    finally:
        elsewhere.stop()
    return f"{len(names)} cameras drawn, failed, gone and back"


ALL = [
    asks_what_there_is,
    every_camera_in_both_formats,
    carla_replay,
    batch_is_the_single_pictures,
    refusals_say_what_was_wrong,
    health_and_reflection,
]
