"""The `tokenizers` library on the lines of a file, to compare with `bench_text encode`.

    RAYON_NUM_THREADS=2 python peer_tokenizers.py TOKENIZER_FOLDER FILE [REPEATS]
"""

import sys
import time

import tokenizers

folder, path = sys.argv[1:3]
repeats = int(sys.argv[3]) if len(sys.argv) > 3 else 1
text = open(path, encoding="utf-8").read()
lines = text.split("\n")
if not lines[-1]:
    lines.pop()
tokenizer = tokenizers.Tokenizer.from_file(folder + "/tokenizer.json")
# encode_batch_fast leaves out offsets, as our encode does
for _ in range(repeats):
    begin = time.perf_counter()
    encoded = tokenizer.encode_batch_fast(lines, add_special_tokens=False)
    seconds = time.perf_counter() - begin
    tokens = sum(len(e) for e in encoded)
    print(f"tokenizers {tokenizers.__version__}: {len(lines)} lines, {tokens} tokens: {seconds:.3f} s, "
          f"{len(text.encode()) * 1e-6 / seconds:.1f} MB/s")
