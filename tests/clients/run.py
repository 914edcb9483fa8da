"""Runs every client against every model that ships, every reader on exports, NuRec's clients on scenes, and clients of
the fleet; one line a client, and a count at the end. Names after the binary choose groups."""

import logging
import sys
import time

from . import fleet_buf, fleet_java, fleet_reflection, mcap_check, nurec, originals, steps, stock
from .agent import client as agent_client
from .server import Agent, Orchestrator, Renderer, Server

MODELS = ("models/tabletop", "models/tiny")


class Tally:
    def __init__(self):
        self.passed, self.failed = 0, 0

    def run(self, name, client, *arguments):
        started = time.monotonic()
        try:
            verdict, said = "ok  ", client(*arguments)
            self.passed += 1
        except Exception as error:  # whatever a client dies of is its verdict
            verdict, said = "FAIL", f"{type(error).__name__}: {error}"
            self.failed += 1
        print(f"{verdict} {name}.{client.__name__} ({time.monotonic() - started:.2f} s): {said}", flush=True)

    def still_runs(self, name, server):
        if server.process.poll() is not None:
            print(f"FAIL {name}: the server ended with {server.process.returncode}")
            self.failed += 1


def policies(tally, binary):
    for model in MODELS:
        with Server(binary, "--model", model) as server:
            for group in (stock, originals):
                for client in group.ALL:
                    tally.run(f"{model.removeprefix('models/')} {group.__name__.rsplit('.', 1)[-1]}", client, server)
            tally.still_runs(model, server)


def exports(tally, binary):
    with Server(binary, "--model", MODELS[0], "--scenes", "scenes") as server:
        for client in mcap_check.ALL:
            tally.run("export", client, binary, server)
        tally.still_runs("export", server)


def scenes(tally, binary):
    with Renderer(binary, "--scenes", nurec.SCENES) as renderer:
        for client in nurec.ALL:
            tally.run("nurec", client, renderer)
        tally.still_runs("nurec", renderer)
    tally.run("nurec", nurec.serve_in_front_of_another_renderer, binary)


def fleet(tally, binary):
    with Orchestrator(binary) as server:
        for group in (fleet_reflection, fleet_buf, fleet_java):
            for client in group.ALL:
                tally.run(group.__name__.rsplit(".", 1)[-1], client, server)
        tally.still_runs("fleet", server)
    if fleet_java.skipped():
        print("THE JAVA CLIENT WAS LEFT OUT: TEST_SKIP_JAVA=1")


def agents(tally, binary):
    with Agent(binary) as server:
        for client in agent_client.ALL:
            tally.run("agent", client, server)
        tally.still_runs("agent", server)


def trainers(tally, binary):
    for client in steps.ALL:
        tally.run("steps", client, binary)


GROUPS = {group.__name__: group for group in (policies, exports, scenes, fleet, agents, trainers)}


def main(binary, *chosen):
    logging.disable(logging.CRITICAL)
    tally = Tally()
    for name in chosen or GROUPS:
        GROUPS[name](tally, binary)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
