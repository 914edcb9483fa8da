"""The built binary on a free loopback port, ended with its block."""

import os
import subprocess
import threading


class Server:
    def __init__(self, binary, *flags, env=None):
        command = [binary, "serve", "--host", "127.0.0.1", "--port", "0", *flags]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, **(env or {})},
        )
        self.url = None
        for line in self.process.stdout:
            if line.startswith("neuro listening on "):
                self.url = line.removeprefix("neuro listening on ").strip()
            if line.startswith("neuro ready"):
                break
        else:
            raise RuntimeError(f"{' '.join(command)} ended with {self.process.wait()}")
        self.host, port = self.url.removeprefix("http://").split(":")
        self.port = int(port)
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
