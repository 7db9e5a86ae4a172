#!/usr/bin/env python3
"""GPU peer on real rows: transformers + PEFT + Liger kernels train LoRA on a Qwen3 shape with random weights.

    peer_gpu_rows.py ROWS MODE [--model qwen3-8b] [--steps 16] [--warmup 10] [--recompute]

ROWS are JSON lines {"input_ids", "labels"} (labels aligned with input_ids, -100: not trained), the file that
`primus benchmark train --dataset.path` takes too. MODE is one of
    padded:N                  N rows a step, padded to the longest of them
    grouped:N                 the same, of like lengths (transformers' group_by_length: less padding, another order)
    packed:LENGTH:ATTENTION   rows packed up to LENGTH (first fit, longest first), with positions that begin again in each
                              row, from which transformers makes a mask of blocks; ATTENTION: sdpa, flex_attention, or any
                              other name that transformers knows
Lengths are rounded up to a multiple of 64 (pad_to_multiple_of), a pack is filled up to LENGTH, and every shape of the timed
steps is run once before the warm-up, so that no kernel is compiled while time is taken. A step is forward, backward,
clipping and AdamW. LoRA: rank 32 on all seven projections, everything in bf16; --recompute: gradient checkpointing. Prints
one line of JSON: tokens and trained tokens a second, without padding, as medians of the steps (tok_s_of_all: all timed
steps together), and the share of padding. Run each mode in a process of its own. Needs torch, transformers, peft and
liger_kernel.
"""

import argparse
import json
import random
import statistics
import sys
import time

import torch
from liger_kernel.transformers import apply_liger_kernel_to_qwen3
from peft import LoraConfig, get_peft_model
from transformers import Qwen3Config, Qwen3ForCausalLM

SHAPES = {  # hidden, layers, heads, key and value heads, intermediate, tied embeddings
    "qwen3-0.6b": (1024, 28, 16, 8, 3072, True),
    "qwen3-4b": (2560, 36, 32, 8, 9728, True),
    "qwen3-8b": (4096, 36, 32, 8, 12288, False),
}
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
NOT_TRAINED = -100
MULTIPLE = 64  # of padded lengths


def make_model(name, attention):
    hidden, layers, heads, kv_heads, intermediate, tied = SHAPES[name]
    config = Qwen3Config(vocab_size=151936, hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers,
                         num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=128, tie_word_embeddings=tied,
                         max_position_embeddings=40960, use_cache=False, attn_implementation=attention)
    torch.manual_seed(0)
    with torch.device("meta"):
        model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    rotary = type(model.model.rotary_emb)
    model.to_empty(device="cuda")
    model.model.rotary_emb = rotary(config).to("cuda")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.02) if parameter.dim() > 1 else parameter.fill_(1.0)
    if tied:
        model.tie_weights()
    lora = LoraConfig(r=32, lora_alpha=32, lora_dropout=0.0, task_type="CAUSAL_LM", target_modules=PROJECTIONS)
    return get_peft_model(model, lora, autocast_adapter_dtype=False).train()


def rounded(length):
    return -(-length // MULTIPLE) * MULTIPLE


def padded_batch(rows):
    length = rounded(max(len(ids) for ids, _ in rows))
    fill = lambda values, filler: values + [filler] * (length - len(values))
    return dict(input_ids=torch.tensor([fill(ids, 0) for ids, _ in rows]),
                attention_mask=torch.tensor([fill([1] * len(ids), 0) for ids, _ in rows]),
                labels=torch.tensor([fill(labels, NOT_TRAINED) for _, labels in rows]))


def padded_batches(rows, size, grouped):
    """Batches of `size` rows in random order; grouped: of rows next to each other in 50 batches sorted by length."""
    random.Random(0).shuffle(rows)
    if grouped:
        whole = 50 * size
        rows = [row for i in range(0, len(rows), whole) for row in sorted(rows[i:i + whole], key=lambda row: -len(row[0]))]
    batches = [rows[begin:begin + size] for begin in range(0, len(rows) - size + 1, size)]
    random.Random(1).shuffle(batches)
    return [padded_batch(batch) for batch in batches]


def packed_batches(rows, length):
    """One pack a step: first fit, longest rows first; packs in random order."""
    packs, room = [], []
    for row in sorted(rows, key=lambda row: -len(row[0])):
        place = next((i for i, left in enumerate(room) if left >= len(row[0])), None)
        if place is None:
            place = len(packs)
            packs.append([])
            room.append(length)
        packs[place].append(row)
        room[place] -= len(row[0])
    packs = packs[:-1]  # the last one holds what is left
    random.Random(0).shuffle(packs)
    return [packed_batch(pack, length) for pack in packs]


def packed_batch(rows, length):
    filler = length - sum(len(ids) for ids, _ in rows)
    # a row's first token is not to be predicted from the row before it
    rows = [(ids, [NOT_TRAINED] + labels[1:]) for ids, labels in rows] + [([0] * filler, [NOT_TRAINED] * filler)]
    return dict(input_ids=torch.tensor([[i for ids, _ in rows for i in ids]]),
                position_ids=torch.tensor([[t for ids, _ in rows for t in range(len(ids))]]),
                labels=torch.tensor([[label for _, labels in rows for label in labels]]),
                tokens=length - filler)


class Training:
    def __init__(self, model):
        self.model = model
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-5, fused=True)

    def step(self, batch):
        """Seconds of one step, and its loss."""
        torch.cuda.synchronize()
        begin = time.perf_counter()
        tensors = {name: value.cuda(non_blocking=True) for name, value in batch.items() if name != "tokens"}
        loss = self.model(**tensors).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        return time.perf_counter() - begin, loss.item()


def real_tokens(batch):
    return batch["tokens"] if "tokens" in batch else int(batch["attention_mask"].sum())


def measure(model, batches, args):
    training = Training(model)
    timed, before = batches[:args.steps], batches[args.steps:args.steps + args.warmup]
    shapes = {batch["input_ids"].shape: batch for batch in timed}
    for batch in [*shapes.values(), *before]:
        seconds, _ = training.step(batch)
        print(f"warm-up {tuple(batch['input_ids'].shape)}: {1e3 * seconds:.0f} ms", file=sys.stderr)
    times, losses = zip(*(training.step(batch) for batch in timed))
    print("steps, ms:", *(f"{1e3 * t:.0f}" for t in times), file=sys.stderr)
    tokens = [real_tokens(batch) for batch in timed]
    trained = sum(int((batch["labels"][:, 1:] != NOT_TRAINED).sum()) for batch in timed)
    laid_out = sum(batch["input_ids"].numel() for batch in timed)
    median = statistics.median(n / seconds for n, seconds in zip(tokens, times))
    return dict(tok_s=round(median, 1), trained_tok_s=round(median * trained / sum(tokens), 1),
                tok_s_of_all=round(sum(tokens) / sum(times), 1), padding=round(1 - sum(tokens) / laid_out, 4),
                shapes=len(shapes), tokens_a_step=sum(tokens) // len(timed),
                step_ms=round(1e3 * statistics.median(times), 1), slowest_ms=round(1e3 * max(times), 1),
                peak_gib=round(torch.cuda.max_memory_allocated() / 2**30, 2), loss=round(losses[-1], 4))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows")
    parser.add_argument("mode")
    parser.add_argument("--model", choices=SHAPES, default="qwen3-8b")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--recompute", action="store_true")
    args = parser.parse_args()
    with open(args.rows, encoding="utf-8") as file:
        rows = [(row["input_ids"], row["labels"]) for row in map(json.loads, file)]
    kind, size, *attention = args.mode.split(":")
    batches = packed_batches(rows, int(size)) if kind == "packed" else padded_batches(rows, int(size), kind == "grouped")
    apply_liger_kernel_to_qwen3()
    model = make_model(args.model, attention[0] if attention else "sdpa")
    if args.recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    result = dict(peer="transformers+peft+liger", model=args.model, mode=args.mode, recompute=args.recompute)
    print(json.dumps(result | measure(model, batches, args)), flush=True)


if __name__ == "__main__":
    main()
