"""Reads what W&B wrote offline: records of LevelDB's log format, which hold its own protocol buffers."""

import json
import struct
import time
import zlib

BLOCK = 32768
FULL, LAST = 1, 4


def records(path):
    """The records of a .wandb file, checksums checked."""
    from wandb.proto import wandb_internal_pb2

    content = path.read_bytes()
    assert content[:4] == b":W&B"[: len(content)]
    position, whole = 7, b""
    while position + 7 <= len(content):  # it may be under way
        left = BLOCK - position % BLOCK
        if left < 7:
            position += left
            continue
        checksum, size, kind = struct.unpack("<IHB", content[position : position + 7])
        if position + 7 + size > len(content):
            break
        part = content[position + 7 : position + 7 + size]
        if kind == 0:
            break
        assert checksum == zlib.crc32(bytes([kind]) + part) & 0xFFFFFFFF
        whole, position = whole + part, position + 7 + size
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def tracked(folder):
    """id, config, [(step, values)] and summary of the one offline run below a run folder."""
    (path,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    ended = time.monotonic() + 60
    while "exit" not in [record.WhichOneof("record_type") for record in records(path)]:
        assert time.monotonic() < ended, "W&B's service, which writes beside this process, has not written the end"
        time.sleep(0.02)
    config, history, summary, name = {}, [], {}, None
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            name = record.run.run_id
            config |= read(record.run.config.update)
        elif kind == "config":
            config |= read(record.config.update)
        elif kind == "history":
            history.append((record.history.step.num, read(record.history.item)))
        elif kind == "summary":
            summary |= read(record.summary.update)
    return name, config, history, summary


def artifacts(folder):
    """What `tracked` leaves out: the files that the run logged as its own."""
    (path,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    return [record.artifact for record in records(path) if record.WhichOneof("record_type") == "artifact"]


def read(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
