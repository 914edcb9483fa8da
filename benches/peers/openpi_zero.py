#!/usr/bin/env python3
"""openpi's own Python server around a policy that does nothing: the floor that `benches/server.rs` is compared with."""
import sys

import numpy as np
from openpi_server.websocket_policy_server import WebsocketPolicyServer


class Zero:
    def infer(self, obs):
        assert obs["observation/image"].shape == (224, 224, 3)
        return {"actions": np.zeros((1, 7), np.float32)}

    def reset(self):
        pass


WebsocketPolicyServer(Zero(), host="127.0.0.1", port=int(sys.argv[1]), metadata={}).serve_forever()
