"""Exports, opened with other people's readers: the mcap package, Foxglove's published schemas, Rerun's command line."""

import importlib
import io
import os
import pathlib
import subprocess
import sysconfig
import tempfile

import requests
from google.protobuf import descriptor_pb2, descriptor_pool
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory
from PIL import Image

from .stock import check

SCENE = "scenes/town.usdz"
START_S, SECONDS, RATE_HZ, SCALE = 1, 2, 5, 0.1
SAMPLES = SECONDS * RATE_HZ + 1
ONCE = ("/tf_static", "/ego/path", "/map")
EACH = ("/tf", "/tracks", "/ego/location")


def exported(binary, folder, *flags, name="town.mcap", kind="mcap"):
    out = pathlib.Path(folder) / name
    command = [binary, "scene", "export", SCENE, "--format", kind, "--out", str(out), *flags]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    check(ended.returncode == 0, ended.stderr)
    check(ended.stderr == "", f"standard error is no terminal, yet has {ended.stderr!r}")
    check(sorted(os.listdir(folder)) == [name], os.listdir(folder))
    return out


def two_seconds(binary, folder):
    return exported(binary, folder, "--start", str(START_S), "--end", str(START_S + SECONDS),
                    "--rate-hz", str(RATE_HZ), "--scale", str(SCALE))


def messages(data):
    """(log time in ns, message) by topic, and the reader."""
    reader = make_reader(io.BytesIO(data), validate_crcs=True, decoder_factories=[DecoderFactory()])
    topics = {}
    for schema, channel, message, decoded in reader.iter_decoded_messages():
        check(type(decoded).DESCRIPTOR.full_name == schema.name, schema.name)
        topics.setdefault(channel.topic, []).append((message.log_time, decoded))
    return topics, reader


def nanos(stamp):
    return stamp.seconds * 1_000_000_000 + stamp.nanos


def whole(data):
    """What every export of those two seconds has to have."""
    topics, reader = messages(data)
    summary = reader.get_summary()
    check(summary.statistics.message_count == sum(map(len, topics.values())), summary.statistics)
    check(summary.statistics.chunk_count == len(summary.chunk_indexes) > 0, summary.statistics)
    times = [time for time, _ in topics["/tf"]]
    check(len(times) == SAMPLES, times)
    check([time - times[0] for time in times] == [n * 1_000_000_000 // RATE_HZ for n in range(SAMPLES)], times)
    for topic in EACH:
        check([time for time, _ in topics[topic]] == times, topic)
    for topic in ONCE:
        check(len(topics[topic]) == 1, topic)
    images = [topic for topic in topics if topic.endswith("/image")]
    check(images, sorted(topics))
    for topic in images:
        [(_, calibration)] = topics[topic.removesuffix("image") + "calibration"]
        check((len(calibration.K), len(calibration.R), len(calibration.P)) == (9, 9, 12), calibration)
        check(len(topics[topic]) == SAMPLES, topic)
        for time, image in topics[topic]:
            check(image.frame_id == calibration.frame_id, image.frame_id)
            check(abs(nanos(image.timestamp) - time) < 50_000_000, f"{topic}: {image.timestamp} at {time}")
            picture = Image.open(io.BytesIO(image.data))
            picture.load()
            check(picture.format.lower() == image.format == "jpeg", picture.format)
            check(picture.size == (calibration.width, calibration.height), picture.size)
    cuboids = sum(len(update.entities) for _, update in topics["/tracks"])
    check(cuboids > 0, "no tracks")
    [record] = list(reader.iter_metadata())
    check(record.name == "neuro.export" and record.metadata["missing"] == "0", record)
    return f"{summary.statistics.message_count} messages, {len(images)} cameras, {cuboids} cuboids"


def from_the_command_line(binary, _):
    with tempfile.TemporaryDirectory() as folder:
        return whole(two_seconds(binary, folder).read_bytes())


def over_http(_, server):
    loaded = requests.post(f"{server.url}/api/load", json={"usdz_path": SCENE}, timeout=60)
    check(loaded.status_code == 200, loaded.text)
    start_us = requests.get(f"{server.url}/api/scene", timeout=60).json()["start_us"] + START_S * 1_000_000
    asked = {"format": "mcap", "start_us": start_us, "end_us": start_us + SECONDS * 1_000_000,
             "rate_hz": RATE_HZ, "scale": SCALE}
    answer = requests.get(f"{server.url}/api/export", params=asked, timeout=300)
    check(answer.status_code == 200, answer.text[:300])
    check(".mcap\"" in answer.headers["Content-Disposition"], answer.headers)
    refused = requests.get(f"{server.url}/api/export", params={**asked, "cameras": "nose"}, timeout=60)
    check(refused.status_code == 422 and refused.json()["detail"][0]["loc"] == ["query", "cameras"], refused.text)
    return whole(answer.content)


def shape(message):
    """Names, numbers and types of everything below a message, by full name."""
    found, waiting = {}, [message]
    while waiting:
        message = waiting.pop()
        if message.full_name in found or message.full_name.startswith("google."):
            continue
        kinds = [field.message_type or field.enum_type for field in message.fields]
        found[message.full_name] = (
            {(field.number, field.name, field.type, field.is_repeated, field.has_presence, kind and kind.full_name)
             for field, kind in zip(message.fields, kinds)},
            {enum.name: [(value.name, value.number) for value in enum.values] for enum in message.enum_types},
        )
        waiting.extend(field.message_type for field in message.fields if field.message_type)
    return found


def schemas_are_the_published_ones(binary, _):
    with tempfile.TemporaryDirectory() as folder:
        data = two_seconds(binary, folder).read_bytes()
    schemas = make_reader(io.BytesIO(data)).get_summary().schemas.values()
    for schema in schemas:
        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(schema.data).file:
            pool.Add(file)
        name = schema.name.removeprefix("foxglove.")
        published = importlib.import_module(f"foxglove_schemas_protobuf.{name}_pb2")
        ours, theirs = pool.FindMessageTypeByName(schema.name), published.DESCRIPTOR.message_types_by_name[name]
        check(shape(ours) == shape(theirs), f"{schema.name} differs from the published one")
    return ", ".join(sorted(schema.name.removeprefix("foxglove.") for schema in schemas))


def rerun_opens_it(binary, _):
    rerun = pathlib.Path(sysconfig.get_path("scripts")) / "rerun"
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as folder:
        file = two_seconds(binary, folder)
        env = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home}

        def said(*arguments):
            ended = subprocess.run([rerun, *arguments], env=env, capture_output=True, text=True, timeout=120)
            check(ended.returncode == 0, ended.stdout + ended.stderr)
            return ended.stdout + ended.stderr

        said("analytics", "disable")
        checked = said("mcap", "check", "--full", str(file))
        check("warning" not in checked.lower() and "error" not in checked.lower(), checked)
        told = said("mcap", "info", str(file))
        check("foxglove.CompressedImage" in told, told)
        converted = pathlib.Path(home) / "town.rrd"
        said("mcap", "convert", str(file), "-o", str(converted))
        size = converted.stat().st_size
        check(size > 10_000, "Rerun's own recording of it is empty")
    topics = sum(line.startswith("ok ") for line in checked.splitlines())
    check(topics > 10, checked)
    return f"{topics} topics without issues, {size} bytes as its own recording"


def tables_and_pictures(binary, _):
    flags = ("--end", "1", "--rate-hz", "4", "--scale", "0.05")
    with tempfile.TemporaryDirectory() as folder:
        lines = exported(binary, folder, *flags, name="poses.csv", kind="csv").read_text().splitlines()
    egos = [line for line in lines if line.split(",")[1] == "ego"]
    check(len(egos) == 5 and len(lines) > 6, lines[:3])
    with tempfile.TemporaryDirectory() as folder:
        place = exported(binary, folder, *flags, name="pictures", kind="png")
        files = sorted(place.glob("*/*.png"))
        check(len(files) == 5 * len([entry for entry in place.iterdir() if entry.is_dir()]) > 0, files)
        for file in files:
            Image.open(file).load()
        again = subprocess.run(
            [binary, "scene", "export", SCENE, "--format", "png", "--out", str(place), *flags],
            capture_output=True, text=True, timeout=60)
        check(again.returncode == 2 and "--overwrite" in again.stderr, again.stderr)
    return f"{len(lines) - 1} rows, {len(files)} pictures"


ALL = (from_the_command_line, over_http, schemas_are_the_published_ones, rerun_opens_it, tables_and_pictures)
