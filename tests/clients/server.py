"""The built binary on a free loopback port, ended with its block."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading


class Running:
    """A subcommand of the binary that says its address; `said` gets each line until it returns true."""

    def __init__(self, command, said, env=None):
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, **(env or {})},
        )
        for line in self.process.stdout:
            if said(line.strip()):
                break
        else:
            raise RuntimeError(f"{' '.join(command)} ended with {self.process.wait()}")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Server(Running):
    def __init__(self, binary, *flags, env=None):
        self.url = None
        super().__init__([binary, "serve", "--host", "127.0.0.1", "--port", "0", *flags], self.hears, env)
        self.host, port = self.url.removeprefix("http://").split(":")
        self.port = int(port)

    def hears(self, line):
        if line.startswith("neuro listening on "):
            self.url = line.removeprefix("neuro listening on ")
        return line.startswith("neuro ready")


class Renderer(Running):
    """`neuro render`; `target` is its host and port."""

    def __init__(self, binary, *flags, env=None):
        self.target = None
        super().__init__([binary, "render", "--host", "127.0.0.1", "--port", "0", *flags], self.hears, env)

    def hears(self, line):
        if line.startswith("neuro render listening on "):
            self.target = line.removeprefix("neuro render listening on ")
        return self.target is not None


class Agent(Running):
    """`neuro agent` whose instances have nothing behind them; `target` and `upstream` are host and port of each profile."""

    def __init__(self, binary, *flags, env=None):
        self.target = self.upstream = None
        self.data = tempfile.TemporaryDirectory()
        root = pathlib.Path(self.data.name, "root")
        root.mkdir()
        root.joinpath("sh").write_text("#!")
        subprocess.run([binary, "agent", "image", "import", "tool:1", root, "--format", "rootfs", "--data", self.data.name],
                       check=True, stdout=subprocess.DEVNULL)
        super().__init__([binary, "agent", "--fake", "--listen", "127.0.0.1:0", "--listen-upstream", "127.0.0.1:0",
                          "--data", self.data.name, *flags], self.hears, env)

    def __exit__(self, *error):
        super().__exit__(*error)
        self.data.cleanup()

    def hears(self, line):
        prefix = "neuro agent listening on "
        if line.startswith(prefix):
            addresses = dict(part.split("://") for part in line.removeprefix(prefix).split())
            self.target, self.upstream = addresses["grpc"], addresses["upstream"]
        return self.target is not None


class Orchestrator(Running):
    """`neuro orchestrate` over simulators and trainers of the same binary; `target` is host and port of gRPC."""

    SETTINGS = """
[sessions]
parallel_envs = 2
[[pool]]
name = "isaac-sim"
role = "simulator"
warm = 1
max = 3
[[pool]]
name = "trainer"
role = "trainer"
warm = 1
max = 1
"""

    def __init__(self, binary, settings=SETTINGS):
        self.folder = tempfile.TemporaryDirectory()
        self.target = self.url = None
        root = pathlib.Path(self.folder.name)
        (root / "fleet.toml").write_text(settings)
        self.data = root / "data"
        super().__init__([binary, "orchestrate", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
                          "--data", str(self.data), "--config", str(root / "fleet.toml")], self.hears)

    def hears(self, line):
        if line.startswith("neuro orchestrate listening on grpc://"):
            self.target, self.url = line.removeprefix("neuro orchestrate listening on grpc://").split(" ")
        return self.target is not None

    def __exit__(self, *_):
        super().__exit__()
        # Instances outlive their orchestrator by design.
        for record in (self.data / "processes").glob("*.json"):
            try:
                os.kill(json.loads(record.read_text())["pid"], signal.SIGTERM)
            except (OSError, ValueError, KeyError):
                pass
        self.folder.cleanup()
