# make demo      set up, then the whole study on simulated archives, below demo/
# make studies   set up, then the demo of every study, below demo-studies/, with a report to look at
# make test      set up, then ruff and every test
# make install   set up only: .venv with what the commands need
PYTHON ?= python3
BIN := .venv/bin
DEMO := --study studies/demo.toml --out demo

TABLES := demo-studies/tables
EFFECTS := demo-studies/effects

.PHONY: demo studies test install clean

demo: .venv/installed
	rm -rf demo
	$(BIN)/python dataset_prep.py $(DEMO)
	$(BIN)/python test_models.py $(DEMO)
	$(BIN)/python grad_cams.py $(DEMO)
	$(BIN)/python test_models.py $(DEMO)  # everything is trained: prints the score table
	@echo "Chips: demo/prepared  Heatmaps and attention.csv: demo/Exp_images  What was run: demo/results.txt"

studies: .venv/installed
	$(BIN)/python dataset_prep.py --study studies/demo_unbalanced.toml --out $(TABLES)
	$(BIN)/python test_models.py --study studies/demo_unbalanced.toml --out $(TABLES)
	$(BIN)/python test_models.py --study studies/demo_transfer.toml --out $(TABLES)
	$(BIN)/python compare_scores.py --study studies/demo_transfer.toml --out $(TABLES)
	$(BIN)/python dataset_prep.py --study studies/demo_losses.toml --out $(EFFECTS)
	$(BIN)/python test_models.py --study studies/demo_losses.toml --out $(EFFECTS)
	$(BIN)/python test_models.py --study studies/demo_flaws.toml --out $(EFFECTS)
	$(BIN)/python compare_scores.py --study studies/demo_flaws.toml --out $(EFFECTS)
	@echo "Reports: $(TABLES)/report.html  $(EFFECTS)/report.html"

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
	rm -rf .venv demo demo-studies
