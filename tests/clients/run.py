"""Runs every client against every model that ships; one line a client, and a count at the end."""

import logging
import sys
import time

from . import originals, stock
from .server import Server

MODELS = ("models/tabletop", "models/tiny")


def main(binary):
    logging.disable(logging.CRITICAL)
    passed, failed = 0, 0
    for model in MODELS:
        with Server(binary, "--model", model) as server:
            for group in (stock, originals):
                for client in group.ALL:
                    started = time.monotonic()
                    try:
                        verdict, said = "ok  ", client(server)
                        passed += 1
                    except Exception as error:  # whatever a client dies of is its verdict
                        verdict, said = "FAIL", f"{type(error).__name__}: {error}"
                        failed += 1
                    where = f"{model.removeprefix('models/')} {group.__name__.rsplit('.', 1)[-1]}"
                    print(f"{verdict} {where}.{client.__name__} ({time.monotonic() - started:.2f} s): {said}", flush=True)
            if server.process.poll() is not None:
                print(f"FAIL {model}: the server ended with {server.process.returncode}")
                failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
