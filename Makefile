# `make` explains itself; every target sets up what it needs first. A virtual environment in
# .venv holds everything, PyPI's ROS 2 Jazzy included.

PYTHON ?= python3
TRIALS ?= 1
SEED ?= 0
CAP ?= present
TEACH ?= each
MODE ?= both
OBJECT ?= cap
JOBS ?= 2
PORT ?= 8080

# Of each seed: what another one left is not gone on from.
TRAINING := output/training/$(SEED)
PICTURES := $(TRAINING)/pictures
FIRST_HALF := $(TRAINING)/objects_first.safetensors
TRAINED := $(TRAINING)/objects.safetensors
BENCHMARKS := $(filter-out __init__ database_files database_fleet database_node exported grasp_trials grasping_page hostile_requests kept_trials oracle pictured postgresql_server refinement_baselines rendered report running_nodes studies,$(basename $(notdir $(wildcard benchmarks/*.py))))

VENV := .venv
BIN := $(VENV)/bin
# Both stamps lie in the environment: without it, they are gone too.
REQUIREMENTS := $(VENV)/.requirements
PACKAGE := $(VENV)/.package

PINS := $(wildcard requirements/*.txt)
ALONE := requirements/peers.txt requirements/without_dependencies.txt
PACKAGE_SOURCES := setup.py pyproject.toml package.xml CMakeLists.txt \
	$(wildcard cmake/*/* cmake/*/*/* scripts/*.in msg/*.msg srv/*.srv action/*.action) \
	$(wildcard launch/* config/* config/*/* models/*)

ifneq ($(AMENT_PREFIX_PATH)$(ROS_DISTRO),)
$(info ROS $(ROS_DISTRO) is sourced; make leaves it aside and uses its own environment in $(VENV).)
unexport LD_LIBRARY_PATH
endif
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH PYTHONPATH PYTHONHOME VIRTUAL_ENV
unexport ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION RMW_IMPLEMENTATION
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo grasp train bench test lint clean

help:
	@echo 'make install                  set up everything in $(VENV)'
	@echo 'make demo [PORT=8080]         simulate the robot, and serve the page to teach it and to grasp'
	@echo 'make grasp [TRIALS=n] [SEED=n] [CAP=absent] [TEACH=once] [MODE=pinch] [OBJECT=mug] [MODEL=file]'
	@echo '                              teach a point, find it again and grasp it, in simulation;'
	@echo '                              then hold the moved object by name as was taught by that'
	@echo 'make train [SEED=n]           render objects and train a model of them, to $(TRAINING),'
	@echo '                              where it goes on; anew: remove that folder first'
	@echo 'make bench NAME=name [DATA=folder]'
	@echo '                              run one of: $(BENCHMARKS)'
	@echo 'make test [JOBS=n]            lint, check types and run the tests, in n processes'
	@echo 'make lint                     lint and check types only'
	@echo 'make clean                    remove $(VENV) and everything built; output/ stays'
	@echo 'ARGS=... goes to the command as it is, e.g. make grasp ARGS="--others 0"'
	@echo 'PYTHON=python3.13 chooses the Python (3.10 to 3.13) for $(VENV).'

install: $(PACKAGE)

demo: $(PACKAGE)
	@$(BIN)/don_kp demo --port $(PORT) $(ARGS)

grasp: $(PACKAGE)
	@$(BIN)/don_kp grasp --object $(OBJECT) --trials $(TRIALS) --seed $(SEED) --cap $(CAP) --teach $(TEACH) --mode $(MODE) $(if $(MODEL),--model '$(MODEL)') $(ARGS)

# Every part goes on where an interrupted run stopped. The second half has larger views, and other pairs.
train: $(FIRST_HALF)
	@$(BIN)/don_kp train $(PICTURES) --config config/training/objects.yaml --weights=$(FIRST_HALF) --views.size=160 --optimiser.learning_rate=0.003 --optimiser.warmup=0.05 --cpu-minutes 60 --seed $$(($(SEED) + 1)) --output $(TRAINED) $(ARGS)

$(FIRST_HALF): | $(PACKAGE) $(PICTURES)/.complete
	@$(BIN)/don_kp train $(PICTURES) --config config/training/objects.yaml --cpu-minutes 55 --seed $(SEED) --output $@

$(PICTURES)/.complete: | $(PACKAGE)
	@$(BIN)/don_kp render $(PICTURES) --views 1000 --instances 330 --negatives 200 --tilt 0 45 --distance 0.35 0.8 --seed $(SEED)
	@touch $@

bench: $(PACKAGE)
	$(if $(NAME),,$(error Name a benchmark: make bench NAME=..., one of $(BENCHMARKS)))
	@DATA='$(DATA)' $(BIN)/python -m benchmarks.$(NAME) $(ARGS)

test: lint
	@MUJOCO_GL=egl OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

lint: $(PACKAGE)
	@$(BIN)/ruff check .
	@$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(REQUIREMENTS): $(PINS) scripts/check_system.sh
	@sh scripts/check_system.sh $(PYTHON)
	@echo 'Installing into $(VENV): about 2 GB, some minutes'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q $(addprefix -r ,$(filter-out $(ALONE),$(PINS)))
	$(BIN)/python -m pip install -q --no-deps --ignore-requires-python $(addprefix -r ,$(ALONE))
	@touch $@

# Editable: the code runs from don_kp_ros/ as it is; only what is built or copied is done again.
$(PACKAGE): $(REQUIREMENTS) $(PACKAGE_SOURCES)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install -q --no-build-isolation --no-deps --editable .
	@touch $@
