"""Writes safetensors files in bf16 from numpy arrays; numpy itself has no bf16."""

import json

import numpy as np


def to_bf16_bits(values):
    """Rounds f32 to the nearest bf16, ties to even; the bits travel as uint16."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def save_bf16(weights, path):
    """{name: f32 array} to `path`: eight bytes of header size, the header, the tensors one after another."""
    header, blobs, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(weights):
        blob = to_bf16_bits(weights[name]).tobytes()
        header[name] = dict(dtype="BF16", shape=list(weights[name].shape), data_offsets=[offset, offset + len(blob)])
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        out.writelines(blobs)
