#!/usr/bin/env python3
"""Writes a checkpoint of Qwen3-4B's shape with random bf16 weights (8.0 GB in four files), to measure how fast it loads.

    random_checkpoint.py FOLDER [--layers N]      needs numpy
"""

import argparse
import json
from pathlib import Path

import numpy as np

HIDDEN, INTERMEDIATE, VOCABULARY, HEADS, KV_HEADS, HEAD_DIM = 2560, 9728, 151936, 32, 8, 128
FILES = 4


def tensors(layers):
    """Names and shapes in the order of the files."""
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (HIDDEN,)
        yield prefix + "self_attn.q_proj.weight", (HEADS * HEAD_DIM, HIDDEN)
        yield prefix + "self_attn.k_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN)
        yield prefix + "self_attn.v_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN)
        yield prefix + "self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD_DIM)
        yield prefix + "self_attn.q_norm.weight", (HEAD_DIM,)
        yield prefix + "self_attn.k_norm.weight", (HEAD_DIM,)
        yield prefix + "post_attention_layernorm.weight", (HIDDEN,)
        yield prefix + "mlp.gate_proj.weight", (INTERMEDIATE, HIDDEN)
        yield prefix + "mlp.up_proj.weight", (INTERMEDIATE, HIDDEN)
        yield prefix + "mlp.down_proj.weight", (HIDDEN, INTERMEDIATE)
    yield "model.norm.weight", (HIDDEN,)


def bf16_block(generator, count):
    """Normal numbers of deviation 0.02, cut to bf16."""
    return (generator.standard_normal(count, dtype=np.float32) * np.float32(0.02)).view(np.uint32).astype(np.uint32) >> 16


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=36)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    # one block of numbers serves all: what matters is that the bytes are read, not that they differ
    block = bf16_block(np.random.default_rng(1), 1 << 24).astype(np.uint16).tobytes()

    all_tensors = list(tensors(args.layers))
    total = sum(2 * int(np.prod(shape)) for _, shape in all_tensors)
    files, filled = [[]], 0
    for name, shape in all_tensors:
        if filled >= total / FILES:
            files.append([])
            filled = 0
        files[-1].append((name, shape))
        filled += 2 * int(np.prod(shape))
    index = {}
    for number, content in enumerate(files, 1):
        file_name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        header, offset = {}, 0
        for name, shape in content:
            size = 2 * int(np.prod(shape))
            header[name] = dict(dtype="BF16", shape=shape, data_offsets=[offset, offset + size])
            index[name] = file_name
            offset += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(args.folder / file_name, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            while offset > 0:
                offset -= file.write(block[:offset])
    (args.folder / "model.safetensors.index.json").write_text(
        json.dumps(dict(metadata=dict(total_size=total), weight_map=index)))
    (args.folder / "config.json").write_text(json.dumps(dict(
        architectures=["Qwen3ForCausalLM"], model_type="qwen3", vocab_size=VOCABULARY, hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE, num_hidden_layers=args.layers, num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, max_position_embeddings=40960, rope_theta=1000000,
        rms_norm_eps=1e-6, hidden_act="silu", tie_word_embeddings=True, attention_bias=False)))
    print(f"{args.folder}: {len(index)} tensors, {total} bytes in {len(files)} files")


if __name__ == "__main__":
    main()
