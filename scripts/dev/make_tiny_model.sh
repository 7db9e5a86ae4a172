#!/usr/bin/env bash
# Makes the bundled tiny model (models/tiny) and the quickstart's chat rows again: generates the text, trains the
# tokenizer, pretrains the model from random weights with this engine, and puts the result in its place.
#
#   PYTHON=… scripts/dev/make_tiny_model.sh [WORK]
#
# WORK (output/tiny) takes what is only needed on the way. PYTHON (python3) needs the packages numpy and tokenizers. The
# text, the tokenizer, the random weights and the chat rows hang on the seed alone; the pretrained weights also on the
# processor's rounding.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:-output/tiny}

"${PYTHON:-python3}" scripts/dev/make_tiny_text.py --work "$work" --chat examples/quickstart
rm -rf "$work/run"
TINY_WORK=$work runner/primus-cli direct -- train posttrain --config examples/quickstart/pretrain.yaml --workspace "$work/run"
mkdir -p models/tiny
install -m 644 "$work"/run/quickstart/tiny/pretrain/hf/* models/tiny/
for file in tokenizer.json tokenizer_config.json generation_config.json; do
  install -m 644 "$work/init/$file" models/tiny/
done
du -sh models/tiny
