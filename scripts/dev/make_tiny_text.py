#!/usr/bin/env python3
"""Everything that the tiny model is made from, out of one seed: text, tokenizer, random weights, chat rows.

Usage: make_tiny_text.py --work DIR --chat DIR

Writes into --work
  pretrain.jsonl, pretrain_validation.jsonl   {"text": …}: stories of an invented world (tiny_world.py)
  init/                                       a Hugging Face folder: Qwen3 with random weights, its tokenizer
and into --chat
  train.jsonl, heldout.jsonl                  {"messages": …}: questions about that world and their answers

train.jsonl asks nothing about the people and towns that heldout.jsonl asks about: what the model answers there, it can
only know from the stories.
Needs numpy and tokenizers; the engine itself needs no Python.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import tiny_world
from bf16_safetensors import save_bf16

END, TURN, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\\n' }}\n"
    "{%- endif %}"
)
# How Qwen's tokenizers split text into words, digits and the rest.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")

SHAPE = dict(hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=2,
             head_dim=32, max_position_embeddings=512, rms_norm_eps=1e-6)
ROPE_THETA = 10000.0
INITIALIZER_RANGE = 0.05


def write_rows(path, rows):
    with open(path, "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def make_chats(world, rng, heldout_share):
    """Chat rows of training and held-out ones: each subject's questions all go to one side."""
    sides = {"train": [], "heldout": []}
    for group in (world.people, world.towns):
        group = rng.sample(group, len(group))
        heldout = round(len(group) * heldout_share)
        sides["heldout"] += group[:heldout]
        sides["train"] += group[heldout:]
    chats = {}
    for side, subjects in sides.items():
        chats[side] = []
        for subject in subjects:
            chats[side] += [tiny_world.question(rng, subject, a) for a in subject.attributes]
            chats[side].append(tiny_world.two_questions(rng, subject, *rng.sample(subject.attributes, 2)))
        rng.shuffle(chats[side])
    return chats


def train_tokenizer(texts, vocabulary):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    specials = [END, TURN, TURN_END]
    trainer = trainers.BpeTrainer(vocab_size=vocabulary - len(specials), min_frequency=2, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in specials])
    return tokenizer


def write_tokenizer(tokenizer, folder):
    tokenizer.save(str(folder / "tokenizer.json"))
    added = {str(tokenizer.token_to_id(t)): dict(content=t, lstrip=False, normalized=False, rstrip=False,
                                                  single_word=False, special=True) for t in (END, TURN, TURN_END)}
    config = dict(add_bos_token=False, add_prefix_space=False, added_tokens_decoder=added, bos_token=None,
                  additional_special_tokens=[TURN, TURN_END], chat_template=CHAT_TEMPLATE,
                  clean_up_tokenization_spaces=False, eos_token=TURN_END, errors="replace",
                  model_max_length=SHAPE["max_position_embeddings"], pad_token=END, split_special_tokens=False,
                  tokenizer_class="Qwen2Tokenizer", unk_token=None)
    write_json(folder / "tokenizer_config.json", config)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_model(tokenizer, folder, seed):
    """config.json and random weights: normal, those that write into the residual stream smaller by √(2·layers)."""
    vocabulary = tokenizer.get_vocab_size()
    end, turn_end = tokenizer.token_to_id(END), tokenizer.token_to_id(TURN_END)
    write_json(folder / "config.json", dict(
        architectures=["Qwen3ForCausalLM"], model_type="qwen3", vocab_size=vocabulary, **SHAPE, hidden_act="silu",
        attention_bias=False, attention_dropout=0.0, tie_word_embeddings=True, rope_theta=ROPE_THETA, rope_scaling=None,
        sliding_window=None, use_sliding_window=False, initializer_range=INITIALIZER_RANGE, bos_token_id=None,
        eos_token_id=turn_end, pad_token_id=end, torch_dtype="bfloat16", use_cache=True))
    write_json(folder / "generation_config.json", dict(do_sample=False, eos_token_id=[turn_end, end], pad_token_id=end))

    rng = np.random.default_rng(seed)
    hidden, ffn, dim = SHAPE["hidden_size"], SHAPE["intermediate_size"], SHAPE["head_dim"]
    q, kv = SHAPE["num_attention_heads"] * dim, SHAPE["num_key_value_heads"] * dim
    residual = (2 * SHAPE["num_hidden_layers"]) ** -0.5
    weights = {}

    def normal(name, shape, scale=1.0):
        weights[name] = (rng.standard_normal(shape) * INITIALIZER_RANGE * scale).astype(np.float32)

    def ones(name, size):
        weights[name] = np.ones(size, np.float32)

    normal("model.embed_tokens.weight", (vocabulary, hidden))
    for i in range(SHAPE["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        ones(layer + "input_layernorm.weight", hidden)
        normal(layer + "self_attn.q_proj.weight", (q, hidden))
        normal(layer + "self_attn.k_proj.weight", (kv, hidden))
        normal(layer + "self_attn.v_proj.weight", (kv, hidden))
        normal(layer + "self_attn.o_proj.weight", (hidden, q), residual)
        ones(layer + "self_attn.q_norm.weight", dim)
        ones(layer + "self_attn.k_norm.weight", dim)
        ones(layer + "post_attention_layernorm.weight", hidden)
        normal(layer + "mlp.gate_proj.weight", (ffn, hidden))
        normal(layer + "mlp.up_proj.weight", (ffn, hidden))
        normal(layer + "mlp.down_proj.weight", (hidden, ffn), residual)
    ones("model.norm.weight", hidden)
    save_bf16(weights, folder / "model.safetensors")
    return sum(w.size for w in weights.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--chat", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--documents", type=int, default=60000)
    parser.add_argument("--vocabulary", type=int, default=1280)
    parser.add_argument("--heldout", type=int, default=200, help="rows of heldout.jsonl")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    args.chat.mkdir(parents=True, exist_ok=True)

    world = tiny_world.World(args.seed, args.people)
    rng = random.Random(args.seed + 1)
    stories = [world.story(rng) for _ in range(args.documents)]
    write_rows(args.work / "pretrain.jsonl", [dict(text=s) for s in stories])
    write_rows(args.work / "pretrain_validation.jsonl", [dict(text=world.story(rng)) for _ in range(400)])

    chats = make_chats(world, random.Random(args.seed + 2), heldout_share=0.2)
    chats["heldout"] = chats["heldout"][:args.heldout]
    for side, rows in chats.items():
        write_rows(args.chat / f"{side}.jsonl", [dict(messages=chat) for chat in rows])

    folder = args.work / "init"
    folder.mkdir(exist_ok=True)
    spoken = [message["content"] for chat in chats["train"] for message in chat]
    tokenizer = train_tokenizer(stories[:20000] + spoken, args.vocabulary)
    write_tokenizer(tokenizer, folder)
    parameters = write_model(tokenizer, folder, args.seed)
    tokens = sum(len(e.ids) for e in tokenizer.encode_batch(stories[:1000])) / 1000
    print(f"{len(stories)} documents of {tokens:.1f} tokens; {len(chats['train'])} chats to train on and "
          f"{len(chats['heldout'])} held out; {parameters} parameters")


if __name__ == "__main__":
    main()
