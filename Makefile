# make demo      set up, then the whole study on simulated archives, below demo/
# make studies   set up, then the demo of every study, below demo-studies/, with a report to look at
# make change    set up, then the change study on a simulated series, below demo-change/
# make test      set up, then ruff and every test, in two processes of one thread; then what of the code they reached
# make install   set up only: .venv with what the commands need
PYTHON ?= python3
BIN := .venv/bin
DEMO := --study studies/demo.toml --out demo

TABLES := demo-studies/tables
EFFECTS := demo-studies/effects
CHANGE := --study studies/demo_change_detection.toml --out demo-change
# Forks of the process that runs it are measured, so that must be one that has done nothing else.
ALONE := tests/benchmarks/test_damaged_archives.py
CONDITIONS := temperature snow precipitation incidence orbit satellite

.PHONY: demo studies change test install clean

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

change: .venv/installed
	$(BIN)/python detect_changes.py simulate $(CHANGE)
	$(BIN)/python detect_changes.py import $(CHANGE)
	$(BIN)/python detect_changes.py train $(CHANGE) & told=$$!; \
	$(BIN)/python detect_changes.py train --without $(CONDITIONS) $(CHANGE); untold=$$?; wait $$told && exit $$untold
	$(BIN)/python detect_changes.py inject $(CHANGE)
	$(BIN)/python detect_changes.py evaluate $(CHANGE)
	$(BIN)/python detect_changes.py conditions $(CHANGE)
	@echo "Series: demo-change/change/series  Scores, ROC curves, pictures: demo-change/change"

install: .venv/installed

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report= --ignore $(ALONE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(ALONE) --cov --cov-append --cov-report=term

.venv/installed: requirements.txt constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.txt -c constraints.txt
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(BIN)/pip install --quiet -r requirements-dev.txt -c constraints.txt
	touch $@

clean:
	rm -rf .venv demo demo-studies demo-change
