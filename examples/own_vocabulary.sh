#!/usr/bin/env bash
# Classes of one's own: the same faces as "calm", "pleased" and "other", in this order.
#   examples/own_vocabulary.sh FACES OUT       FACES has neutral, happy, sad and angry
set -euo pipefail
command -v emoaug > /dev/null || { echo "no command emoaug here; make installs it: . .venv/bin/activate" >&2; exit 2; }
faces=$1 out=$2

emoaug align "$faces" "$out/aligned" --vocabulary calm pleased other \
  --labels neutral=calm happy=pleased sad=other angry=other
emoaug train --data "$out/aligned" --out "$out/lssl" --steps "${STEPS:-5000}"
emoaug generate --data "$out/aligned" --weights "$out/lssl" --out "$out/bigger" --policy per-class --count 20
emoaug verify "$out/bigger"
