#!/usr/bin/env python3
"""CPU peer: how fast transformers (+ PEFT for LoRA) on PyTorch trains the SmolLM2-135M shape on this machine.

Usage: peer_cpu.py lora|sft fp32|bf16 [--seq 512] [--micro-batch 1] [--steps 8] [--warmup 2] [--threads N]
                   [--variant pure|autocast] [--compile]

One step is forward, backward, clipping and AdamW on random tokens, every one of them trained; weights are random, so no
files are needed. LoRA: rank and alpha 32 on all seven projections. bf16 is measured in two ways, with all weights in bf16
("pure") and with fp32 weights under torch.autocast ("autocast"), and the faster one is reported. Prints one JSON line with
the median step; peak_gib is the process's over all that it measured. `benchmark train` of the engine does the same work.
Needs torch, transformers and peft.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

CONFIG = dict(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
              num_key_value_heads=3, head_dim=64, max_position_embeddings=8192, rms_norm_eps=1e-5,
              tie_word_embeddings=True, use_cache=False)
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_model(method, dtype):
    torch.manual_seed(0)
    config = LlamaConfig(**CONFIG, rope_theta=100000.0, attn_implementation="sdpa")
    model = LlamaForCausalLM(config).to(dtype)
    if method == "lora":
        from peft import LoraConfig, get_peft_model
        lora = LoraConfig(r=32, lora_alpha=32, lora_dropout=0.0, task_type="CAUSAL_LM", target_modules=PROJECTIONS)
        model = get_peft_model(model, lora, autocast_adapter_dtype=False)
    return model.train()


def measure(args, variant):
    """Seconds of each step after the warm-up, and the last loss."""
    model = make_model(args.method, torch.bfloat16 if variant == "pure" else torch.float32)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    forward = torch.compile(model) if args.compile else model
    ids = torch.randint(0, CONFIG["vocab_size"], (args.micro_batch, args.seq))
    precision = (lambda: torch.autocast("cpu", torch.bfloat16)) if variant == "autocast" else contextlib.nullcontext
    seconds = []
    for _ in range(args.warmup + args.steps):
        start = time.perf_counter()
        with precision():
            loss = forward(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    return seconds[args.warmup:], loss.item()


def model_flops_per_token(method, seq):
    """Forward 2 a matrix parameter, backward twice that, or once where weights are frozen; causal attention on top."""
    c = CONFIG
    kv = c["num_key_value_heads"] * c["head_dim"]
    layer = c["hidden_size"] * (2 * c["hidden_size"] + 2 * kv + 3 * c["intermediate_size"])
    matrices = c["num_hidden_layers"] * layer + c["vocab_size"] * c["hidden_size"]
    attention = 4 * seq / 2 * c["num_attention_heads"] * c["head_dim"] * c["num_hidden_layers"]
    return (3 if method == "sft" else 2) * 2 * matrices + 3 * attention


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=["lora", "sft"])
    parser.add_argument("precision", choices=["fp32", "bf16"])
    parser.add_argument("--seq", type=int, default=512)
    parser.add_argument("--micro-batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--variant", choices=["pure", "autocast"], help="only this one of bf16's two ways")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    variants = ["fp32"] if args.precision == "fp32" else [args.variant] if args.variant else ["pure", "autocast"]
    tokens = args.micro_batch * args.seq
    results = {}
    for variant in variants:
        seconds, loss = measure(args, variant)
        results[variant] = (statistics.median(seconds), loss)
    best = min(results, key=lambda v: results[v][0])
    step, loss = results[best]
    print(json.dumps(dict(
        peer="transformers+peft" if args.method == "lora" else "transformers", model="smollm2-135m", method=args.method,
        precision=args.precision, variant=best, compiled=args.compile, seq=args.seq, micro_batch=args.micro_batch,
        threads=args.threads, tok_s=round(tokens / step, 1), step_s=round(step, 4),
        model_tflops=round(model_flops_per_token(args.method, args.seq) * tokens / step / 1e12, 4),
        peak_gib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2), loss=round(loss, 4),
        all_tok_s={v: round(tokens / s, 1) for v, (s, _) in results.items()}, torch=torch.__version__)), flush=True)


if __name__ == "__main__":
    main()
