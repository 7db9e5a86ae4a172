#!/usr/bin/env python3
"""GPU peer on real rows: transformers + PEFT + Liger kernels train LoRA on a Qwen3 shape with random weights.

    peer_gpu_rows.py ROWS [--model qwen3-8b] [--steps 8] [--warmup 3] MODE…

ROWS are JSON lines {"input_ids", "labels"} (labels aligned with input_ids, -100: not trained), the file that
`primus benchmark train --dataset.path` takes too. A MODE is one of
    padded:N                  N rows a step, padded to the longest of them
    packed:LENGTH:ATTENTION   rows packed up to LENGTH (first fit, longest first), with positions that begin again in each
                              row, from which transformers makes a mask of blocks; ATTENTION: sdpa, flex_attention, or any
                              other name that transformers knows
A step is forward, backward, clipping and AdamW. LoRA: rank 32 on all seven projections, everything in bf16. For each mode
one line of JSON: tokens and trained tokens a second over all timed steps together, without padding, and the share of
padding. Needs torch, transformers, peft and liger_kernel.
"""

import argparse
import json
import random
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


def make_model(name):
    hidden, layers, heads, kv_heads, intermediate, tied = SHAPES[name]
    config = Qwen3Config(vocab_size=151936, hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers,
                         num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=128, tie_word_embeddings=tied,
                         max_position_embeddings=40960, use_cache=False, attn_implementation="sdpa")
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


def padded_batches(rows, size):
    """Batches of `size` rows in random order."""
    random.Random(0).shuffle(rows)
    for begin in range(0, len(rows) - size + 1, size):
        batch = rows[begin:begin + size]
        longest = max(len(ids) for ids, _ in batch)
        fill = lambda values, filler: values + [filler] * (longest - len(values))
        yield dict(input_ids=torch.tensor([fill(ids, 0) for ids, _ in batch]),
                   attention_mask=torch.tensor([fill([1] * len(ids), 0) for ids, _ in batch]),
                   labels=torch.tensor([fill(labels, NOT_TRAINED) for _, labels in batch]))


def packed_batches(rows, length):
    """One pack a step: first fit, longest rows first; packs in random order."""
    packs, room = [], []
    for ids, labels in sorted(rows, key=lambda row: -len(row[0])):
        place = next((i for i, left in enumerate(room) if left >= len(ids)), None)
        if place is None:
            place = len(packs)
            packs.append([])
            room.append(length)
        packs[place].append((ids, labels))
        room[place] -= len(ids)
    random.Random(0).shuffle(packs)
    for pack in packs:
        # a row's first token is not to be predicted from the row before it
        yield dict(input_ids=torch.tensor([[i for ids, _ in pack for i in ids]]),
                   position_ids=torch.tensor([[t for ids, _ in pack for t in range(len(ids))]]),
                   labels=torch.tensor([[l for _, labels in pack for l in [NOT_TRAINED] + labels[1:]]]))


def real_tokens(batch):
    return int(batch["attention_mask"].sum()) if "attention_mask" in batch else batch["input_ids"].numel()


def measure(model, batches, args):
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    torch.cuda.reset_peak_memory_stats()
    seconds = tokens = trained = laid_out = 0
    for step in range(args.warmup + args.steps):
        batch = next(batches)
        torch.cuda.synchronize()
        begin = time.perf_counter()
        loss = model(**{name: tensor.cuda(non_blocking=True) for name, tensor in batch.items()}).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        if step < args.warmup:
            continue
        seconds += time.perf_counter() - begin
        tokens += real_tokens(batch)
        trained += int((batch["labels"][:, 1:] != NOT_TRAINED).sum())
        laid_out += batch["input_ids"].numel()
    return dict(tok_s=round(tokens / seconds, 1), trained_tok_s=round(trained / seconds, 1),
                padding=round(1 - tokens / laid_out, 4), tokens_a_step=tokens // args.steps,
                step_ms=round(1e3 * seconds / args.steps, 1),
                peak_gib=round(torch.cuda.max_memory_allocated() / 2**30, 2), loss=round(loss.item(), 4))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows")
    parser.add_argument("modes", nargs="+")
    parser.add_argument("--model", choices=SHAPES, default="qwen3-8b")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=3)
    args = parser.parse_args()
    with open(args.rows, encoding="utf-8") as file:
        rows = [(row["input_ids"], row["labels"]) for row in map(json.loads, file)]
    apply_liger_kernel_to_qwen3()
    model = make_model(args.model)
    for mode in args.modes:
        kind, size, *attention = mode.split(":")
        result = dict(peer="transformers+peft+liger", model=args.model, mode=mode)
        try:
            model.base_model.model.set_attn_implementation(attention[0] if attention else "sdpa")
            batches = padded_batches(list(rows), int(size)) if kind == "padded" else packed_batches(rows, int(size))
            result |= measure(model, batches, args)
        except Exception as error:  # one mode that this library cannot do takes no other with it
            result["error"] = str(error)[:300]
        print(json.dumps(result), flush=True)
        model.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
