#!/usr/bin/env python3
"""Makes the small tokenizers of this folder and texts.jsonl, what the Hugging Face `tokenizers` library does with them.

Usage: make_tiny.py (needs tokenizers; run it in this folder). Deterministic but for the library's version.
"""
import json, random
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
O200K = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

WORDS = ("the of and to in is was that it for on with as his they at be this from have or by one had not but what all were when we there can an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most know get through back much before go good new write our used me man too any day same right look think also around another came come work three word must because does part even place well such here take why things help put years different away again off went old number great tell men say small every found still between name should home big give air line set own under read last never us left end along while might next sound below saw something thought both few those always looked show large often together asked house world going want school important until form food keep children feet land side without boy once animals life enough took sometimes four head above kind began almost live page got earth need far hand high year mother light parts country father let night following picture being study second eyes soon times story boys since white days ever paper hard near sentence better best across during today others however sure means knew try told young miles sun ways thing whole hear example heard several change answer room sea against top turned learn point city play toward five using himself usually").split()


def corpus(rng):
    def sentence():
        s = " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 14)))
        return s[0].upper() + s[1:] + rng.choice([".", "!", "?", ",", ";", ":\n", "...", " -"])
    for _ in range(3000):
        yield " ".join(sentence() for _ in range(rng.randint(1, 6)))
        yield f"{rng.randint(0, 99999)} {rng.random():.3f}\n\n    return x[{rng.randint(0, 9)}]  # don't we'll I'm\n"
        yield rng.choice(["naïve café", "日本語のテキスト", "Привет, мир", "über straße", "العربية", "हिन्दी", "😀🎉", "안녕하세요", "ﬁ Å", "e\u0301"]) + " "


def byte_level(name, split, *, normalizer=None, prefix_space=False, use_regex=False, digits=False, ignore_merges=False, bos=None, specials=(), vocab=1000, pairs=True):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tok.normalizer = normalizer
    steps = ([pre_tokenizers.Digits(individual_digits=True)] if digits else []) + ([pre_tokenizers.Split(Regex(split), "isolated")] if split else [])
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=use_regex))
    tok.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(corpus(random.Random(7)), trainers.BpeTrainer(vocab_size=vocab, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    add(tok, specials)
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    if bos:
        tok.post_processor = processors.Sequence([tok.post_processor, processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tok.token_to_id(bos))])])
    save(name, tok, pairs)


def sentencepiece(name, *, metaspace):
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if metaspace:
        tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    else:
        tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    trainee = Tokenizer(models.BPE(unk_token="<unk>"))
    trainee.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    trainee.train_from_iterator(corpus(random.Random(8)), trainers.BpeTrainer(vocab_size=900, limit_alphabet=90, show_progress=False,
                                special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]))
    model = json.loads(trainee.to_str())["model"]
    tok.model = models.BPE(model["vocab"], [tuple(m) for m in model["merges"]], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    add(tok, [AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")] + [AddedToken("[INST]", special=True, normalized=False), AddedToken("<norm al>", normalized=True)])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B", special_tokens=[("<s>", 1), ("</s>", 2)])
    save(name, tok, True)


def add(tok, specials):
    tok.add_special_tokens([t for t in specials if t.special])
    tok.add_tokens([t for t in specials if not t.special])


def save(name, tok, pairs):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    data = json.loads(tok.to_str())
    if not pairs:
        data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]
    (folder / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def token(text, **flags):
    flags.setdefault("normalized", False)
    return AddedToken(text, **flags)


CHATML = [token(t, special=True) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")] + [token("<think>"), token("</think>"), token("<tool_call>")]
ODD = [token("<|end|>", special=True, rstrip=True), token("<mask>", special=True, lstrip=True), token("word", single_word=True), token("<both>", lstrip=True, rstrip=True), token("É", normalized=True), token("<|e"), token("<|end|>long"), token("   ")]

FIXED = ["", " ", "Hello, world!", "  leading and trailing  ", "tabs\tand\r\nCRLF\n\n\nblank lines   \n  x", "I'm you'll WE'VE don't 'S 'Re", "1234567890 3.14159 1e-5", "naïve café — “quotes” … e\u0301 vs \u00e9 a\u0323\u0307 \u1e69", "日本語のテキスト か\u3099 と中文", "العربية हिन्दी 안녕 \u1112\u1161\u11ab", "👩‍👩‍👧 🇫🇷",
         "<|im_start|>user\nhi<|im_end|>\n", "<|im_start|><|im_start|> x <|im_end|> <think>\nplan\n</think>", "a  <|end|>  \n b<|end|>long <mask>c  <mask>", "word words sword word, wordéword word", " <both> <both>x", "<|e <|en <|end|", "\u00c9 E\u0301 É", "[INST] hi [/INST]</s><s>", "<norm al> x<norm al>y", "a" * 300, " " * 37 + "x", "\u00a0\u2003\u200b\ufeff\u180e x", "\x00\x01\x7f", "𝔘𝔫𝔦 𠜎", "line\u2028sep\u2029para\x85nel", "<0x0A> ▁x ▁▁", "thethethe", "thequickbrownfoxjumpsoverthelazydogandrunsaway" * 4, "\n" * 100 + "wordsandwordswithoutanyspace", "ſ 'ſ K'LL", "x\u0300\u0301\u0302 \u0344", "     a    b   c  d", "\n\n \n  \n x"]


def random_text(rng):
    pools = ["abcdefghijklmnopqrstuvwxyz", "ABCDEF", "0123456789", " \t\n\r", ".,;:!?'\"()[]{}<>|/\\@#$%^&*-_=+~`", "éüñçøåßΩжд\u0301\u0323", "漢字仮名か\u3099文", "😀🎉🇯🇵", "한\u1100\u1161\u11a8"]
    body = [rng.choice(rng.choices(pools, weights=[30, 5, 5, 12, 6, 3, 3, 1, 1])[0]) for _ in range(rng.randint(1, 80))]
    for _ in range(rng.randint(0, 3)):
        body.insert(rng.randrange(len(body) + 1), rng.choice(["<|im_end|>", " word ", "<|end|>", "<mask>", " the ", "[INST]", "</s>", "É", "   "]))
    return "".join(body)


def main():
    byte_level("qwen", QWEN, normalizer=normalizers.NFC(), specials=CHATML)
    byte_level("llama3", LLAMA, ignore_merges=True, bos="<|begin_of_text|>", specials=[token(t, special=True) for t in ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")], pairs=False)
    byte_level("gpt2", None, prefix_space=True, use_regex=True, specials=[token("<|endoftext|>", special=True)], vocab=500, pairs=False)
    byte_level("smollm", None, use_regex=True, digits=True, specials=[token("<|im_end|>", special=True)], vocab=400)
    byte_level("odd", O200K, normalizer=normalizers.NFC(), specials=ODD, vocab=400)
    sentencepiece("llama2", metaspace=False)
    sentencepiece("metaspace", metaspace=True)
    rng = random.Random(5)
    rows = []
    for name in ("qwen", "llama3", "gpt2", "smollm", "odd", "llama2", "metaspace"):
        tok = Tokenizer.from_file(str(HERE / name / "tokenizer.json"))
        for text in FIXED + [random_text(rng) for _ in range(40)]:
            ids = tok.encode(text, add_special_tokens=False).ids
            row = dict(tokenizer=name, text=text, ids=ids)
            special, decoded, skipped = tok.encode(text).ids, tok.decode(ids, skip_special_tokens=False), tok.decode(ids, skip_special_tokens=True)
            # What is left out is equal to what stands before it.
            row |= {k: v for k, v, before in (("special", special, ids), ("decoded", decoded, text), ("skipped", skipped, decoded)) if v != before}
            rows.append(row)
    (HERE / "texts.jsonl").write_text("".join(json.dumps(r, separators=(",", ":")) + "\n" for r in rows))
    print(len(rows), "texts")


if __name__ == "__main__":
    main()
