# make demo runs the main job, make test the tests; both make .venv when it is needed.
PYTHON ?= python3
BIN := .venv/bin
DATA ?=
# What to install besides the package: dev,ray for the tests of Ray clusters too.
EXTRAS ?= dev
OUT ?= demo
# On your own faces: make demo DATA=faces, with what tells people apart where names of files do:
# make demo DATA=faces READING='--subject-pattern "([0-9]+)"'; fewer steps for a first look: STEPS=200 TRIAL_STEPS=50
READING ?=
STEPS ?= 1000
TRIAL_STEPS ?= 500

.PHONY: demo test test-fast check clean

# The stamp is newer than pyproject.toml when the environment fits it.
$(BIN)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "emoaug needs Python 3.11 or newer; set PYTHON="'
	$(PYTHON) -m venv .venv
	@echo "installing what emoaug needs into .venv; PyTorch and MediaPipe are large, so this takes some minutes"
	# A plain entry of the path: beside a folder of the clone's name, here emoaug/, other editable installs are not found.
	$(BIN)/python -m pip install --quiet --config-settings editable_mode=compat --editable '.[$(EXTRAS)]'
	touch $@

# Without DATA, on a small world of rendered faces.
demo: $(BIN)/.installed
ifeq ($(DATA),)
	$(BIN)/emoaug demo --out "$(OUT)"
else
	$(BIN)/emoaug align "$(DATA)" "$(OUT)/aligned" --size 64 $(READING)
	$(BIN)/emoaug train --data "$(OUT)/aligned" --out "$(OUT)/lssl" --steps $(STEPS)
	$(BIN)/emoaug generate --data "$(OUT)/aligned" --weights "$(OUT)/lssl" --out "$(OUT)/bigger" --policy multiply --factor 1
	$(BIN)/emoaug verify "$(OUT)/bigger"
	$(BIN)/emoaug gain --data "$(OUT)/aligned" --out "$(OUT)/gain" --folds 3 --seeds 1 \
	  --training.steps $(STEPS) --classifier.steps $(TRIAL_STEPS)
	@echo "look: $(OUT)/bigger/contact_sheet.png and $(OUT)/gain/report/index.html"
endif

test: $(BIN)/.installed
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-fast: $(BIN)/.installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not real"

check: $(BIN)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build dist *.egg-info
