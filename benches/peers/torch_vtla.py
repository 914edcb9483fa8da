#!/usr/bin/env python3
"""The same network in PyTorch, step by step on request: the peer of `make bench-peers`.

Reads a model folder of this project and answers one line on stdin with one line on stdout:

    step VARIANT   ->   VARIANT cpu_seconds wall_seconds a0 a1 a2 a3 a4 a5 a6

VARIANT is `upstream` (the whole sequence with touch and text, every vision layer, logits of every token, as the
original server computes it) or `lean` (only what the read-out can see). The number format is an argument.
"""
import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

V = "model.vision_tower.vision_tower.vision_model"


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Network:
    def __init__(self, folder, dtype):
        self.config = json.loads((folder / "config.json").read_text())
        self.w = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor
                  for name, tensor in load_file(folder / "model.safetensors").items()}
        self.dtype = dtype
        llm = self.config["llm"]
        self.head_dim = llm["hidden_size"] // llm["num_attention_heads"]
        exponent = torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim
        angles = torch.outer(torch.arange(1024, dtype=torch.float64), llm["rope_theta"] ** -exponent)
        self.cos = torch.cat([angles.cos()] * 2, -1).to(dtype)
        self.sin = torch.cat([angles.sin()] * 2, -1).to(dtype)

    def linear(self, x, name, bias=True):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"] if bias else None)

    def norm(self, x, name, eps):
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], eps)

    def rms(self, x, name, eps):
        return F.rms_norm(x, x.shape[-1:], self.w[name], eps)

    def vision(self, pixels, layers):
        c = self.config["vision"]
        heads = c["num_attention_heads"]
        e = f"{V}.embeddings"
        x = F.conv2d(pixels, self.w[f"{e}.patch_embedding.weight"], self.w[f"{e}.patch_embedding.bias"],
                     stride=c["patch_size"]).flatten(2).transpose(1, 2) + self.w[f"{e}.position_embedding.weight"]
        states = [x]
        for i in range(layers):
            p = f"{V}.encoder.layers.{i}"
            h = self.norm(x, f"{p}.layer_norm1", c["layer_norm_eps"])
            q, k, v = (self.linear(h, f"{p}.self_attn.{n}_proj").unflatten(-1, (heads, -1)).transpose(1, 2) for n in "qkv")
            h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            x = x + self.linear(h, f"{p}.self_attn.out_proj")
            h = self.norm(x, f"{p}.layer_norm2", c["layer_norm_eps"])
            h = F.gelu(self.linear(h, f"{p}.mlp.fc1"), approximate="tanh")
            x = x + self.linear(h, f"{p}.mlp.fc2")
            states.append(x)
        return states

    def rotate(self, x, start):
        n = x.shape[2]
        cos, sin = self.cos[start:start + n], self.sin[start:start + n]
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat([-b, a], -1) * sin

    def layer(self, x, i, only_last):
        c = self.config["llm"]
        heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
        p = f"model.layers.{i}"
        h = self.rms(x, f"{p}.input_layernorm.weight", c["rms_norm_eps"])
        split = lambda t, n: t.unflatten(-1, (n, self.head_dim)).transpose(1, 2)
        k = self.rotate(split(self.linear(h, f"{p}.self_attn.k_proj"), kv), 0)
        v = split(self.linear(h, f"{p}.self_attn.v_proj"), kv)
        if only_last:
            x, h = x[:, -1:], h[:, -1:]
        q = self.rotate(split(self.linear(h, f"{p}.self_attn.q_proj"), heads), k.shape[2] - x.shape[1])
        h = F.scaled_dot_product_attention(q, k, v, is_causal=not only_last, enable_gqa=heads != kv)
        x = x + self.linear(h.transpose(1, 2).flatten(2), f"{p}.self_attn.o_proj", False)
        h = self.rms(x, f"{p}.post_attention_layernorm.weight", c["rms_norm_eps"])
        h = F.silu(self.linear(h, f"{p}.mlp.gate_proj", False)) * self.linear(h, f"{p}.mlp.up_proj", False)
        return x + self.linear(h, f"{p}.mlp.down_proj", False)

    def batch_norm(self, x, name):
        w = self.w
        return F.batch_norm(x, w[name + ".running_mean"], w[name + ".running_var"], w[name + ".weight"], w[name + ".bias"])

    def tactile(self, picture):
        p, w = "model.tactile_tower.encoder.resnet", self.w
        x = F.relu(self.batch_norm(F.conv2d(picture, w[f"{p}.conv1.weight"], stride=2, padding=3), f"{p}.bn1"))
        x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(1, 5):
            for block in range(2):
                n = f"{p}.layer{stage}.{block}"
                stride = 2 if stage > 1 and block == 0 else 1
                y = F.relu(self.batch_norm(F.conv2d(x, w[f"{n}.conv1.weight"], stride=stride, padding=1), f"{n}.bn1"))
                y = self.batch_norm(F.conv2d(y, w[f"{n}.conv2.weight"], padding=1), f"{n}.bn2")
                if stride == 2:
                    x = self.batch_norm(F.conv2d(x, w[f"{n}.downsample.0.weight"], stride=2), f"{n}.downsample.1")
                x = F.relu(x + y)
        return self.project(x.mean((2, 3)).unsqueeze(1), "model.tactile_tower.projector.projector") + w["model.tactile_pos_embedding"]

    def project(self, x, name):
        return self.linear(F.gelu(self.linear(x, f"{name}.0")), f"{name}.2")

    def head(self, x):
        x = F.gelu(self.linear(x, "action_head.mlp.0"))
        return self.linear(F.gelu(self.linear(x, "action_head.mlp.2")), "action_head.mlp.4")

    @torch.inference_mode()
    def step(self, variant, pixels):
        c = self.config
        layers = c["vision"]["num_hidden_layers"]
        lean = variant == "lean"
        image = self.project(self.vision(pixels, layers - 1 if lean else layers)[layers - 1], "model.mm_projector")
        read = image.shape[1] - 1
        if lean:
            x = image
        else:
            size = c["tactile"]["image_size"]
            touch = self.tactile(torch.zeros(1, 3, size, size, dtype=self.dtype))
            text = self.w["model.embed_tokens.weight"][torch.arange(1, 13)].unsqueeze(0)
            x = torch.cat([image, touch, text], 1)
        depth = c["llm"]["num_hidden_layers"]
        for i in range(depth):
            x = self.layer(x, i, lean and i == depth - 1)
        x = self.rms(x, "model.norm.weight", c["llm"]["rms_norm_eps"])
        if not lean:
            F.linear(x, self.w["lm_head.weight"]).float()
        return self.head(x[:, -1 if lean else read])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dtype = torch.float32 if arguments.dtype == "f32" else torch.bfloat16
    network = Network(arguments.folder, dtype)
    size = network.config["vision"]["image_size"]
    pixels = (torch.arange(3 * size * size, dtype=torch.float32) * 0.37).sin().reshape(1, 3, size, size).to(dtype)
    print(f"ready torch {torch.__version__}", flush=True)
    for line in sys.stdin:
        words = line.split()
        if len(words) != 2 or words[0] != "step":
            print("expected: step upstream|lean", flush=True)
            continue
        cpu, wall = cpu_seconds(), time.perf_counter()
        action = network.step(words[1], pixels)
        cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
        print(words[1], f"{cpu:.4f} {wall:.4f}", *(f"{value:.6f}" for value in action[0].float().tolist()), flush=True)


if __name__ == "__main__":
    main()
