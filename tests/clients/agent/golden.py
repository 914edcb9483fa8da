#!/usr/bin/env python3
"""Writes tests/fixtures/agent/golden.json: every message of hypervisor.v1 with every field set, as Python's protobuf
encodes it, in both profiles.

The tables are written down from the published documents, not from proto/: numbers and types that the proto files got
wrong would show. Every value follows from its field's name, so that the test in src/grpc/agent/golden_tests.rs knows it.

Usage: python3 tests/clients/agent/golden.py   (needs protobuf)
"""

import json
import pathlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

TYPES = {"string": 9, "bytes": 12, "bool": 8, "int32": 5, "int64": 3, "double": 1, "float": 2}
ENUMS = {"NodeRole": 3, "NodeStatus": 5, "InstanceType": 4, "InstanceState": 7}

SHARED = """
AgentCreateInstanceRequest: string instance_id 1, string name 2, InstanceType type 3, InstanceSpec spec 4, map labels 5, map annotations 6
AgentDeleteInstanceRequest: string instance_id 1, bool force 2
AgentInstanceRequest: string instance_id 1
AgentStopInstanceRequest: string instance_id 1, bool force 2, int32 timeout_seconds 3
AgentRestartInstanceRequest: string instance_id 1, bool force 2
AgentListInstancesResponse: *Instance instances 1
AgentConsoleInput: bytes data 1
AgentConsoleResize: int32 width 1, int32 height 2
AgentConsoleOutput: bytes data 1
InstanceSpec: string image 1, int32 cpu_cores 2, int64 memory_bytes 3, *DiskSpec disks 4, NetworkSpec network 5, string kernel 6, string initrd 7, string kernel_args 8, *string command 10, *string args 11, map env 12, *VolumeMount volume_mounts 13, ResourceLimits limits 14
ResourceLimits: int64 cpu_quota 1, int64 cpu_period 2, int64 memory_limit 3, int64 memory_swap 4, int64 io_read_bps 5, int64 io_write_bps 6
VolumeMount: string name 1, string mount_path 2, bool read_only 3
Resources: int32 cpu_cores 1, int64 memory_bytes 2, int64 disk_bytes 3, int32 gpu_count 4
NodeCondition: string type 1, string status 2, string reason 3, string message 4, Timestamp last_transition_time 5
NetworkSpec: string network_id 1, string subnet_id 2, *string security_groups 3, bool assign_public_ip 4
DiskSpec: string name 1, int64 size_bytes 2, string type 3, bool boot 4
Metadata: map labels 1, map annotations 2
Node: string id 1, string hostname 2, string ip 3, int32 port 4, NodeRole role 5, NodeStatus status 6, string region 7, string zone 8, Resources capacity 9, Resources allocatable 10, Resources allocated 11, *NodeCondition conditions 12, Metadata metadata 13, *string supported_instance_types 14, Timestamp created_at 15, Timestamp last_seen 16
RegisterNodeRequest: string hostname 1, string ip 2, int32 port 3, NodeRole role 4, string region 5, string zone 6, Resources capacity 7, Metadata metadata 8, *string supported_instance_types 9
RegisterNodeResponse: string node_id 1, int64 heartbeat_interval_seconds 2, int64 lease_ttl_seconds 3
DeregisterNodeRequest: string node_id 1
UpdateNodeStatusRequest: string node_id 1, NodeStatus status 2, *NodeCondition conditions 3, Resources allocated 4
HeartbeatRequest: string node_id 1, NodeStatus status 2, *NodeCondition conditions 3, Resources allocated 4
HeartbeatResponse: bool accepted 1, int64 next_heartbeat_seconds 2, *NodeCommand commands 3
NodeCommand: string id 1, string type 2, map parameters 3
"""

DOCUMENT = """
Instance: string id 1, string name 2, InstanceType type 3, InstanceState state 4, InstanceSpec spec 5, string node_id 6, string ip_address 7, Metadata metadata 8, string error_message 9, Timestamp created_at 10, Timestamp updated_at 11, Timestamp started_at 20, Timestamp ended_at 21, int32 exit_code 22, int32 restarts 23, bool ready 24, *string devices 25
InstanceStats: string instance_id 1, float cpu_usage_percent 2, int64 memory_usage_bytes 3, int64 disk_read_bytes 4, int64 disk_write_bytes 5, int64 network_rx_bytes 6, int64 network_tx_bytes 7, int64 cpu_time_ns 20, int64 memory_cache_bytes 21, Timestamp collected_at 22, int64 disk_usage_bytes 23, *GpuStats gpus 24, int64 cpu_throttled_periods 25, int32 processes 26
GpuStats: string device 1, float utilization_percent 2, int64 memory_used_bytes 3, int64 memory_total_bytes 4
"""

UPSTREAM = """
Instance: string id 1, string name 2, InstanceType type 3, InstanceState state 4, InstanceSpec spec 5, string node_id 6, string ip_address 7, Metadata metadata 8, string state_reason 9, Timestamp created_at 10, Timestamp started_at 11
InstanceStats: string instance_id 1, double cpu_usage_percent 2, int64 cpu_time_ns 3, int64 memory_used_bytes 4, int64 memory_cache_bytes 5, int64 disk_read_bytes 6, int64 disk_write_bytes 7, int64 network_rx_bytes 8, int64 network_tx_bytes 9, Timestamp collected_at 10
"""


def camel(name):
    return "".join(part.capitalize() for part in name.split("_")) + "Entry"


def compiled(text):
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="golden.proto", package="hypervisor.v1", syntax="proto3", dependency=["google/protobuf/timestamp.proto"]
    )
    for name, count in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number in range(count):
            enum.value.add(name=f"{name}_{number}", number=number)
    names = []
    for line in text.strip().splitlines():
        name, fields = line.split(": ")
        names.append(name)
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            kind, field_name, number = field.split(" ")
            many = kind.startswith("*") or kind == "map"
            entry = message.field.add(name=field_name, number=int(number), label=3 if many else 1)
            kind = kind.removeprefix("*")
            if kind in TYPES:
                entry.type = TYPES[kind]
            elif kind in ENUMS:
                entry.type, entry.type_name = 14, f".hypervisor.v1.{kind}"
            elif kind == "map":
                pair = message.nested_type.add(name=camel(field_name))
                pair.options.map_entry = True
                pair.field.add(name="key", number=1, label=1, type=9)
                pair.field.add(name="value", number=2, label=1, type=9)
                entry.type, entry.type_name = 11, f".hypervisor.v1.{name}.{pair.name}"
            elif kind == "Timestamp":
                entry.type, entry.type_name = 11, ".google.protobuf.Timestamp"
            else:
                entry.type, entry.type_name = 11, f".hypervisor.v1.{kind}"
    pool.Add(file)
    return pool, names


def number(name):
    return 1000 + sum(name.encode())


def fill(message):
    for field in message.DESCRIPTOR.fields:
        name = f"{message.DESCRIPTOR.name}.{field.name}"
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            # No empty value: Python writes those out and other encoders leave them away, which reads the same.
            getattr(message, field.name).update({"a": name, "b.c/d": "x"})
        elif inner is not None and inner.name == "Timestamp":
            getattr(message, field.name).seconds = number(name)
            getattr(message, field.name).nanos = 500_000_000
        elif inner is not None:
            one = getattr(message, field.name)
            fill(one.add() if hasattr(one, "add") else one)
        elif field.type == field.TYPE_STRING and hasattr(getattr(message, field.name), "append"):
            getattr(message, field.name).extend([name, ""])
        else:
            value = {
                field.TYPE_STRING: lambda: name,
                field.TYPE_BYTES: lambda: name.encode(),
                field.TYPE_BOOL: lambda: True,
                field.TYPE_DOUBLE: lambda: number(name) + 0.25,
                field.TYPE_FLOAT: lambda: number(name) + 0.25,
                field.TYPE_ENUM: lambda: field.enum_type.values[-1].number,
            }.get(field.type, lambda: number(name))()
            setattr(message, field.name, value)
    return message


def main():
    golden = {}
    for profile, text in {"document": SHARED + DOCUMENT, "upstream": SHARED + UPSTREAM}.items():
        lines = "\n".join(line for line in text.splitlines() if line)
        pool, names = compiled(lines)
        golden[profile] = {}
        for name in sorted(names):
            make = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"hypervisor.v1.{name}"))
            golden[profile][name] = fill(make()).SerializeToString(deterministic=True).hex()
    path = pathlib.Path(__file__).parents[2] / "fixtures/agent/golden.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
