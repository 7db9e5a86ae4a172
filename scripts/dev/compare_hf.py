#!/usr/bin/env python3
"""What transformers and PEFT compute for a model folder (and adapter), to hold against this engine's numbers.

    compare_hf.py logits MODEL [--adapter DIR] --ids 1,2,3            logits of one sequence
    compare_hf.py logits MODEL [--adapter DIR] --chat TEXT            of a user's message, as the chat template renders it
    compare_hf.py file MODEL [--adapter DIR] --file logits.safetensors  against those of `generate --logits`
    compare_hf.py loss MODEL [--adapter DIR] --rows rows.jsonl        mean loss over all trained tokens
    compare_hf.py greedy MODEL [--adapter DIR] --rows rows.jsonl      exact match of the last assistant turns

Rows of `loss` are {"input_ids", "labels"} (labels aligned with input_ids, -100: not trained) or {"messages"}: then every
assistant turn is trained with its <|im_end|>, the ChatML templates' way. All in float32; prints JSON lines.
Needs torch, transformers, peft and safetensors.
"""

import argparse
import json

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TURN_END = "<|im_end|>"


def load(args):
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    if args.adapter:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, args.adapter)
    return model.eval()


def read_rows(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def chat_ids_and_labels(tokenizer, messages):
    """A conversation's ids; labels are the ids of what the assistant writes, up to the token that ends its turn."""
    ids, labels = [], []
    for i, message in enumerate(messages):
        before = tokenizer.apply_chat_template(messages[:i], tokenize=False) if i else ""
        if message["role"] == "assistant":
            opened = tokenizer.apply_chat_template(messages[:i], tokenize=False, add_generation_prompt=True)
        else:
            opened = before
        whole = tokenizer.apply_chat_template(messages[:i + 1], tokenize=False)
        end = whole.index(TURN_END, len(opened)) + len(TURN_END)
        trained = message["role"] == "assistant"
        for text, train in ((opened[len(before):], False), (whole[len(opened):end], trained), (whole[end:], False)):
            piece = tokenizer(text, add_special_tokens=False)["input_ids"]
            ids += piece
            labels += piece if train else [-100] * len(piece)
    return ids, labels


def show_logits(args, model):
    if args.chat is not None:
        chat = [dict(role="user", content=args.chat)]
        tokenizer = AutoTokenizer.from_pretrained(args.model)
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    else:
        ids = [int(i) for i in args.ids.split(",")]
    logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    for position in (0, len(ids) - 1):
        row = logits[position]
        print(json.dumps(dict(position=position, first=[round(v, 6) for v in row[:args.show].tolist()],
                              max=round(row.max().item(), 6), argmax=row.argmax().item(),
                              logsumexp=round(row.logsumexp(0).item(), 6))))
    print(json.dumps(dict(ids=ids, shape=list(logits.shape), sum=logits.sum().item(),
                          sum_of_squares=logits.square().sum().item())))


def show_difference(args, model):
    stored = load_file(args.file)
    ids, ours = stored["input_ids"].long(), stored["logits"].double()
    theirs = model(input_ids=ids[None]).logits[0].double()
    difference = (ours - theirs).abs().max().item()
    print(json.dumps(dict(tokens=len(ids), vocab=ours.shape[1], largest_logit=theirs.abs().max().item(),
                          largest_difference=difference, relative=difference / theirs.abs().max().item(),
                          same_argmax=bool((ours.argmax(1) == theirs.argmax(1)).all()))))


def show_loss(args, model):
    tokenizer = None
    total, trained = 0.0, 0
    for row in read_rows(args.rows):
        if "messages" in row:
            tokenizer = tokenizer or AutoTokenizer.from_pretrained(args.model)
            ids, labels = chat_ids_and_labels(tokenizer, row["messages"])
        else:
            ids, labels = row["input_ids"], row["labels"]
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].double()
        targets = torch.tensor(labels[1:])
        total += torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum").item()
        trained += int((targets != -100).sum())
    loss = total / trained
    print(json.dumps(dict(validation_loss=loss, validation_tokens=trained, perplexity=float(torch.tensor(loss).exp()))))


def show_greedy(args, model):
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    rows, matches = read_rows(args.rows), 0
    for row in rows:
        prompt = tokenizer.apply_chat_template(row["messages"][:-1], tokenize=False, add_generation_prompt=True)
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        out = model.generate(**ids, max_new_tokens=args.max_new_tokens, do_sample=False)
        answer = tokenizer.decode(out[0][ids["input_ids"].shape[1]:], skip_special_tokens=True)
        matches += answer.strip() == row["messages"][-1]["content"].strip()
    print(json.dumps(dict(rows=len(rows), matches=matches, exact_match=matches / len(rows))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["logits", "file", "loss", "greedy"])
    parser.add_argument("model")
    parser.add_argument("--adapter")
    parser.add_argument("--ids", help="token ids, separated by commas")
    parser.add_argument("--chat", help="a user's message instead of ids")
    parser.add_argument("--rows", help="JSONL file")
    parser.add_argument("--file", help="safetensors with input_ids and logits")
    parser.add_argument("--show", type=int, default=8, help="logits shown of a row")
    parser.add_argument("--max-new-tokens", type=int, default=32)
    args = parser.parse_args()
    if args.what == "logits" and args.ids is None and args.chat is None:
        parser.error("logits needs --ids or --chat")
    if args.what == "file" and args.file is None:
        parser.error("file needs --file")
    if args.what in ("loss", "greedy") and args.rows is None:
        parser.error(f"{args.what} needs --rows")
    with torch.no_grad():
        {"logits": show_logits, "file": show_difference, "loss": show_loss, "greedy": show_greedy}[args.what](args, load(args))


if __name__ == "__main__":
    main()
