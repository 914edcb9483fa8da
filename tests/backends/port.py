"""A free port of this machine; one above the argument, if there is one (Ray keeps those up to 19999 for itself)."""

import random
import socket
import sys

floor = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
while True:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", random.randint(floor + 1, 32000)))
        except OSError:
            continue
        print(one.getsockname()[1])
        break
