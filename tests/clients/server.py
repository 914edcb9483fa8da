"""The built binary on a free loopback port, ended with its block."""

import os
import subprocess
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
