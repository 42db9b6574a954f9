# make demo      set up, then the whole study on simulated archives, below demo/
# make test      set up, then ruff and every test
# make install   set up only: .venv with what the commands need
PYTHON ?= python3
BIN := .venv/bin
DEMO := --study studies/demo.toml --out demo

.PHONY: demo test install clean

demo: .venv/installed
	rm -rf demo
	$(BIN)/python dataset_prep.py $(DEMO)
	$(BIN)/python test_models.py $(DEMO)
	$(BIN)/python grad_cams.py $(DEMO)
	$(BIN)/python test_models.py $(DEMO)  # everything is trained: prints the score table
	@echo "Chips: demo/prepared  Heatmaps and attention.csv: demo/Exp_images  What was run: demo/results.txt"

install: .venv/installed

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

.venv/installed: requirements.txt constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.txt -c constraints.txt
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(BIN)/pip install --quiet -r requirements-dev.txt -c constraints.txt
	touch $@

clean:
	rm -rf .venv demo
