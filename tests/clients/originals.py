"""Clients that ask and read as the published ones of the server this one replaces do."""

import numpy as np
import requests

from .pictures import base64_of, camera, encoded
from .stock import check

ACTION_KEYS = {
    "translation": ("dx", "dy", "dz"),
    "rotation": ("droll", "dpitch", "dyaw"),
    "gripper": ("value",),
}


def post_picture(server, picture, kind="JPEG", instruction="pick up the red cube"):
    suffix = kind.lower()
    files = {"image": (f"image.{suffix}", encoded(picture, kind), f"image/{suffix}")}
    data = {"instruction": instruction, "use_dummy_tactile": True}
    response = requests.post(f"{server.url}/predict", files=files, data=data, timeout=30)
    check(response.status_code == 200, f"{response.status_code}: {response.text}")
    return response


def seven_numbers(result):
    check(result["success"], result.get("error"))
    action = np.array(result["action"], dtype=np.float32)
    check(action.shape == (7,) and np.isfinite(action).all(), action)
    check(np.any(action != 0), "the action is all zero")
    return action


def example_api_client(server):
    """`--test` and `--sim-loop`: a red picture, then five steps."""
    red = np.full((384, 384, 3), (255, 0, 0), dtype=np.uint8)
    actions = [seven_numbers(post_picture(server, red).json())]
    actions += [seven_numbers(post_picture(server, camera(384, 384, step)).json()) for step in range(5)]
    return f"{len(actions)} actions"


def test_vtla_api(server):
    """Health, statistics, and a PNG of a camera's size."""
    health = requests.get(f"{server.url}/health", timeout=30).json()
    check(health["model_loaded"] is True, health)
    stats = requests.get(f"{server.url}/stats", timeout=30).json()
    check(len(stats["mean"]) == len(stats["std"]) == 7 and stats["description"], stats)
    result = post_picture(server, camera(640, 480), "PNG").json()
    seven_numbers(result)
    check(result["metadata"]["image_size"] == [640, 480], result["metadata"])
    return "health, stats, predict"


def test_api_response_format(server):
    """Content type, every key of the breakdown, and that both tell the same."""
    response = post_picture(server, camera(384, 384))
    check(response.headers["Content-Type"].startswith("application/json"), response.headers)
    result = response.json()
    check({"success", "action", "action_breakdown", "metadata"} <= set(result), sorted(result))
    flat = [float(result["action_breakdown"][part][key]) for part, keys in ACTION_KEYS.items() for key in keys]
    check(flat == result["action"], f"{flat} is not {result['action']}")
    return f"keys {', '.join(sorted(result))}"


def debug_simulation_parsing(server):
    """The keys a simulation reads are there, and the ones it must not mistake for them are not."""
    result = post_picture(server, camera(384, 384)).json()
    seven_numbers(result)
    check(result.get("error") is None, result.get("error"))
    check("data" not in result and "prediction" not in result, sorted(result))
    return "no `data`, no `prediction`"


def ask_isaac(server, picture, pose, prompt):
    payload = {"image": base64_of(picture), "current_pose": pose, "text_prompt": prompt}
    response = requests.post(f"{server.url}/predict_isaac", json=payload, timeout=30)
    response.raise_for_status()
    result = response.json()
    check(result["success"] and result["error"] is None, result.get("error"))
    delta = np.array(result["delta_pose"])
    check(delta.shape == (6,) and np.isfinite(delta).all(), delta)
    return delta


def healthy(server):
    health = requests.get(f"{server.url}/health", timeout=5)
    health.raise_for_status()
    body = health.json()
    check(body["status"] == "healthy" and body["model_loaded"], body)
    check({"cuda_available", "gpu_memory"} <= set(body), body)


def test_isaac_api_simple(server):
    """Health, one prediction, then five of five."""
    healthy(server)
    pose = [0.5, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0]
    for step in range(6):
        ask_isaac(server, camera(384, 384, step), pose, "pick up the red cube")
    return "6 of 6"


def isaac_sim_loop(server, steps=20):
    """The arm follows the answers: position added, orientation sent as it comes."""
    healthy(server)
    position = np.array([0.4, 0.0, 0.4])
    for step in range(steps):
        pose = [*position.tolist(), 1.0, 0.0, 0.0, 0.0]
        position = position + ask_isaac(server, camera(384, 384, step), pose, "pick up the red cube")[:3]
    check(np.isfinite(position).all(), position)
    return f"{steps} steps, moved {np.linalg.norm(position - [0.4, 0.0, 0.4]) * 1e3:.1f} mm"


def isaac_sim_standalone(server):
    """One flat picture all the time: the answers must not drift."""
    flat = np.full((384, 384, 3), 128, dtype=np.uint8)
    deltas = [ask_isaac(server, flat, [0.3, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0], "reach") for _ in range(5)]
    check(all((delta == deltas[0]).all() for delta in deltas), "the same picture gave different answers")
    return "5 equal answers"


def robosuite_loop(server, steps=20):
    """The wrist camera upside down, deltas times 50 into a controller, the gripper fixed."""
    healthy(server)
    for step in range(steps):
        picture = np.ascontiguousarray(camera(384, 384, step)[::-1])
        pose = [0.1, 0.0, 1.0, 0.7071, 0.7071, 0.0, 0.0]
        delta = ask_isaac(server, picture, pose, "lift the cube")
        command = np.clip(np.concatenate([delta * 50, [-1.0]]), -1, 1)
        check(command.shape == (7,), command)
    return f"{steps} steps"


def a_broken_picture_is_not_the_end(server):
    """What a client sees when its camera hiccups, and that the next frame is answered."""
    bad = {"image": base64_of(camera(64, 64))[:80], "current_pose": [0.0] * 6 + [1.0], "text_prompt": "x"}
    response = requests.post(f"{server.url}/predict_isaac", json=bad, timeout=30)
    check(response.status_code == 400 and response.json()["success"] is False, response.text)
    files = {"image": ("x.jpg", b"not a picture", "image/jpeg")}
    response = requests.post(f"{server.url}/predict", files=files, timeout=30)
    check(response.status_code == 400 and response.json()["success"] is False, response.text)
    seven_numbers(post_picture(server, camera(384, 384)).json())
    return "400 with a reason, then 200"


ALL = [
    example_api_client,
    test_vtla_api,
    test_api_response_format,
    debug_simulation_parsing,
    test_isaac_api_simple,
    isaac_sim_loop,
    isaac_sim_standalone,
    robosuite_loop,
    a_broken_picture_is_not_the_end,
]
