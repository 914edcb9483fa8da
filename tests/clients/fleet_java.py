"""The fleet from the JVM: grpc-java over netty with the channel options of the published client. Installs Debian's
packages where they are missing; TEST_SKIP_JAVA=1 leaves it out."""

import glob
import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
PROTOS = HERE.parents[1] / "proto" / "neuro"
PACKAGES = ("openjdk-17-jdk-headless", "protobuf-compiler", "protobuf-compiler-grpc-java-plugin", "libgrpc-java",
            "libprotobuf-java", "libguava-java", "libgeronimo-annotation-1.3-spec-java", "libperfmark-java", "libnetty-java")
JARS = ("grpc-api", "grpc-context", "grpc-core", "grpc-netty", "grpc-protobuf", "grpc-protobuf-lite", "grpc-stub",
        "protobuf", "guava", "perfmark*", "netty*", "geronimo-annotation*")
FILES = ("common.proto", "neuro.proto")


def skipped():
    return os.environ.get("TEST_SKIP_JAVA") == "1"


def jars():
    found = []
    for name in JARS:
        matches = sorted(glob.glob(f"/usr/share/java/{name}.jar"))
        if not matches:
            return None
        found += matches
    return found


def tools():
    needed = ("javac", "java", "protoc", "grpc_java_plugin")
    return all(shutil.which(tool) for tool in needed)


def install():
    if tools() and jars():
        return
    command = [*(["sudo", "-n"] if os.geteuid() else []), "apt-get", "install", "-y", "-qq", "--no-install-recommends",
               *PACKAGES]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    if ended.returncode or not (tools() and jars()):
        raise RuntimeError("THE JAVA CLIENT DID NOT RUN: grpc-java is not here and apt-get did not bring it "
                           f"({' '.join(PACKAGES)}); TEST_SKIP_JAVA=1 leaves it out. {ended.stderr.strip()[-300:]}")


def build(folder):
    """The client's classes, in `folder`; its class path."""
    sources, classes = folder / "sources", folder / "classes"
    sources.mkdir()
    classes.mkdir()
    plugin = shutil.which("grpc_java_plugin")
    # The published client's contracts put every message into a class of its own in this package.
    for name in FILES:
        text = (PROTOS / name).read_text()
        package = next(line for line in text.splitlines() if line.startswith("package "))
        options = "option java_multiple_files = true;\noption java_package = \"fleet\";\n"
        (folder / name).write_text(text.replace(package, f"{package}\n{options}", 1))
    run(["protoc", f"-I{folder}", f"--java_out={sources}", f"--grpc-java_out={sources}",
         f"--plugin=protoc-gen-grpc-java={plugin}", *FILES])
    path = ":".join([str(classes), *jars()])
    files = [str(HERE / "fleet_client.java"), *map(str, sources.rglob("*.java"))]
    run(["javac", "-nowarn", "-d", str(classes), "-cp", path, *files])
    return path


def run(command):
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if ended.returncode:
        raise RuntimeError(f"{command[0]} ended with {ended.returncode}: {(ended.stderr or ended.stdout)[-2000:]}")
    return ended.stdout


def published_client(fleet):
    import tempfile

    install()
    with tempfile.TemporaryDirectory() as folder:
        path = build(pathlib.Path(folder))
        said = run(["java", "-cp", path, "FleetClient", *fleet.target.split(":")])
    last = said.strip().splitlines()[-1]
    if last != "all is well":
        raise AssertionError(said)
    return said.strip().splitlines()[-2]


ALL = () if skipped() else (published_client,)
