"""Published clients, unmodified."""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from .pictures import camera


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def finite_chunk(actions, columns=7):
    actions = np.asarray(actions)
    check(actions.ndim == 2 and actions.shape[1] == columns, f"actions of shape {actions.shape}")
    check(np.isfinite(actions).all(), "an action is not finite")
    return actions


def openpi_websocket_policy(server):
    from openpi_client import image_tools
    from openpi_client.websocket_client_policy import WebsocketClientPolicy

    policy = WebsocketClientPolicy(host=server.host, port=server.port)
    metadata = policy.get_server_metadata()
    check(metadata["action_dim"] == 7, metadata)
    picture = image_tools.resize_with_pad(camera(), 224, 224)
    observation = {"observation/image": picture, "prompt": "push the red block"}
    first, again = policy.infer(observation), policy.infer(observation)
    actions = finite_chunk(first["actions"])
    check(actions.dtype == np.float32, actions.dtype)
    check((again["actions"] == actions).all(), "the same observation gave another action")
    check("prev_total_ms" in again["server_timing"], again["server_timing"])
    chw = policy.infer({**observation, "observation/image": picture.transpose(2, 0, 1)})
    check((chw["actions"] == actions).all(), "channels first gave another action")
    floats = policy.infer({**observation, "observation/image": picture.astype(np.float32) / np.float32(255)})
    finite_chunk(floats["actions"])
    return f"{metadata['model']}, infer {again['server_timing']['infer_ms']:.1f} ms"


def openpi_error_then_a_new_connection(server):
    from openpi_client.websocket_client_policy import WebsocketClientPolicy

    policy = WebsocketClientPolicy(host=server.host, port=server.port)
    try:
        policy.infer({"prompt": "no picture", "observation/state": np.zeros(8)})
    except RuntimeError as error:
        check("no camera image" in str(error), error)
    else:
        raise AssertionError("an observation without a picture was answered")
    again = WebsocketClientPolicy(host=f"ws://{server.host}:{server.port}/openpi")
    finite_chunk(again.infer({"observation/image": camera(224, 224), "prompt": "go"})["actions"])
    return "RuntimeError with the reason, next connection answered"


def openpi_action_chunk_broker(server):
    from openpi_client.action_chunk_broker import ActionChunkBroker
    from openpi_client.websocket_client_policy import WebsocketClientPolicy

    policy = WebsocketClientPolicy(host=server.host, port=server.port)
    broker = ActionChunkBroker(policy, policy.get_server_metadata()["action_horizon"])
    for step in range(5):
        result = broker.infer({"observation/image": camera(224, 224, step), "prompt": "push the red block"})
        check(result["actions"].shape == (7,), result["actions"].shape)
    broker.reset()
    return "5 steps of shape (7,)"


def openpi_robot_dictionaries(server):
    from openpi_client.websocket_client_policy import WebsocketClientPolicy

    policy = WebsocketClientPolicy(host=server.host, port=server.port)
    view = camera(224, 224)
    dictionaries = {
        "droid": {
            "observation/exterior_image_1_left": view,
            "observation/wrist_image_left": camera(224, 224, 3),
            "observation/joint_position": np.zeros(7),
            "observation/gripper_position": np.zeros(1),
            "prompt": "go",
        },
        "libero": {
            "observation/image": view,
            "observation/wrist_image": camera(224, 224, 3),
            "observation/state": np.zeros(8),
            "prompt": "go",
        },
        "aloha": {
            "state": np.ones((14,)),
            "images": {name: view.transpose(2, 0, 1) for name in ("cam_high", "cam_low", "cam_left_wrist")},
            "prompt": "go",
        },
        "touch": {"observation/image": view, "observation/tactile": camera(32, 32, 5), "prompt": "go"},
    }
    actions = {name: finite_chunk(policy.infer(entry)["actions"]) for name, entry in dictionaries.items()}
    for name in ("libero", "aloha"):
        check((actions[name] == actions["droid"]).all(), f"{name} and droid show the same view but act differently")
    return ", ".join(dictionaries)


def inspect_robots_observation(state=None, **images):
    from inspect_robots.types import Observation

    return Observation(images=images, state=state or {}, instruction="push the red block")


def inspect_robots_scene():
    from inspect_robots.scene import Scene

    return Scene(id="tabletop", instruction="push the red block")


def widowx_openpi(server):
    from inspect_robots_widowx.policy import OpenpiPolicy

    policy = OpenpiPolicy(host=server.host, port=server.port)
    policy.reset(inspect_robots_scene())
    chunk = policy.act(inspect_robots_observation(external_cam=camera()))
    finite_chunk([action.data for action in chunk.actions])
    return f"a chunk of {len(chunk.actions)}, {chunk.inference_latency_s * 1e3:.1f} ms"


def widowx_openvla(server):
    from inspect_robots_widowx.policy import OpenVLAPolicy

    policy = OpenVLAPolicy(server_url=server.url)
    policy.reset(inspect_robots_scene())
    chunk = policy.act(inspect_robots_observation(external_cam=camera()))
    finite_chunk([action.data for action in chunk.actions])
    return f"unnorm_key {policy._cfg.unnorm_key} as by default, {chunk.inference_latency_s * 1e3:.1f} ms"


def franka_openpi_refuses_seven_columns(server):
    """pi05-DROID's client wants 7 joint velocities and a gripper: an end-effector policy is not for it, and it says so."""
    from inspect_robots_franka import packing
    from inspect_robots_franka.policy import OpenpiPolicy

    policy = OpenpiPolicy(host=server.host, port=server.port)
    policy.reset(inspect_robots_scene())
    state = {packing.STATE_KEY: np.zeros(packing.TOTAL_DIM)}
    try:
        policy.act(inspect_robots_observation(state, exterior_cam=camera(), wrist_cam=camera(seed=3)))
    except ValueError as error:
        check("(1, 7)" in str(error), error)
        return f"answered, and refused by the client as it must: {error}"
    raise AssertionError("the joint-velocity client took an end-effector action")


def openvla_double_encoded(server):
    import json_numpy
    import requests

    payload = {"image": camera(256, 256), "instruction": "push the red block", "unnorm_key": None}
    plain = json_numpy.loads(requests.post(f"{server.url}/act", data=json_numpy.dumps(payload), timeout=30).content)
    wrapped = requests.post(f"{server.url}/act", json={"encoded": json_numpy.dumps(payload)}, timeout=30).json()
    check(isinstance(wrapped, str), type(wrapped))
    check((json_numpy.loads(wrapped) == plain).all() and plain.shape == (7,), plain)
    return "the wrapped answer is the plain one"


def tether_client(server):
    from tether.client import TetherClient

    with TetherClient(server.url) as client:
        with client.episode() as episode:
            result = episode.act(image=camera(224, 224), instruction="push the red block", state=[0.0] * 7)
        finite_chunk(result["actions"])
        health = client.health()
    return f"health {health.get('state')}, {result['latency_ms']:.1f} ms"


def roboeval_preflight(server):
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "eval.yaml")
        config.write_text(f"name: preflight\nvla: neuro\nvla_url: {server.url}\nsim: libero\nsuite: libero_spatial\n")
        command = [pathlib.Path(sys.executable).with_name("roboeval"), "test", "--server", "--config", config]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    check(done.returncode == 0, done.stdout + done.stderr)
    return done.stdout.strip().splitlines()[-1]


def roboeval_predict(server):
    """What roboeval's `SimWrapper` posts each step."""
    import requests

    from .pictures import base64_of

    check(requests.post(f"{server.url}/reset", json={}, timeout=5).ok, "/reset")
    payload = {
        "obs": {
            "instruction": "push the red block",
            "images": {"primary": base64_of(camera(128, 128), "PNG"), "wrist": base64_of(camera(128, 128, 3), "PNG")},
            "state": {"flat": [0.0] * 8},
        }
    }
    answer = requests.post(f"{server.url}/predict", json=payload, timeout=30)
    check(answer.ok, answer.text)
    finite_chunk(answer.json()["actions"])
    info = requests.get(f"{server.url}/info", timeout=5).json()
    check(info["action_space"]["dim"] == 7, info)
    return f"action space {info['action_space']}"


ALL = [
    openpi_websocket_policy,
    openpi_error_then_a_new_connection,
    openpi_action_chunk_broker,
    openpi_robot_dictionaries,
    widowx_openpi,
    widowx_openvla,
    franka_openpi_refuses_seven_columns,
    openvla_double_encoded,
    tether_client,
    roboeval_preflight,
    roboeval_predict,
]
