#!/usr/bin/env bash
# From a folder of labelled faces to a bigger one, and to the question whether it helped.
#   examples/walk.sh FACES OUT        FACES/CLASS/NAME.jpg, with or without a metadata.csv
# STEPS and TRIAL_STEPS shorten it for a first look: STEPS=200 TRIAL_STEPS=50 examples/walk.sh faces /tmp/look
set -euo pipefail
command -v emoaug > /dev/null || { echo "no command emoaug here; make installs it: . .venv/bin/activate" >&2; exit 2; }
[ $# -eq 2 ] || { echo "usage: examples/walk.sh FACES OUT" >&2; exit 2; }
faces=$1 out=$2

emoaug audit "$faces"                                            # what is in it: counts, duplicates, bad files
emoaug align "$faces" "$out/aligned" --size 64                   # find, turn and crop every face
emoaug train --data "$out/aligned" --out "$out/lssl" --steps "${STEPS:-5000}"
emoaug generate --data "$out/aligned" --weights "$out/lssl" --out "$out/bigger" --policy balance
emoaug generate --data "$out/aligned" --weights "$out/lssl" --out "$out/twice" --policy multiply --factor 1 --include-real no
emoaug verify "$out/bigger"
emoaug gain --data "$out/aligned" --out "$out/gain" --folds 2 --seeds 1 \
  --training.steps "${STEPS:-2000}" --classifier.steps "${TRIAL_STEPS:-1000}"
echo "look at $out/twice/contact_sheet.png and $out/gain/report/index.html"
