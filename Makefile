# Liên Thông: the commands of the house. `make run` and `make test` are all a newcomer needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
DATA ?= $(or $(LT_DATA_DIR),.data)
LOCK_DATE := 2026-11-15
PYTEST_ARGS ?=

.PHONY: help setup system system-test run test check clean-data lock bench chaos

help: ## Các lệnh / The commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## Tạo môi trường Python đã khóa / Make the locked Python environment
	@deploy/setup.sh

system:
	@deploy/system.sh mosquitto redis-server

system-test:
	@deploy/system.sh mosquitto redis-server chromium

run: setup system ## Chạy tất cả và diễn một buổi sáng; ONCE=1: dừng sau đó / Run everything and play the morning; ONCE=1: then stop
	@exec $(PY) -m hub.cli run --morning $(if $(ONCE),--once)

test: setup system-test check ## Kiểm tra tất cả / Check and test everything
	@exec $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=15 $(PYTEST_ARGS)

check: setup ## Định dạng, kiểu, phụ thuộc, tài liệu / Format, types, imports, docs
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports --no-cache
	@$(PY) -m hub.cli docs --check

clean-data: setup ## Xóa dữ liệu / Delete all data
	@$(PY) -m hub.embedded.clean "$(DATA)"

lock: setup ## Khóa lại phiên bản / Lock versions again
	@.venv/bin/uv pip compile --no-header --python-version 3.11 --generate-hashes --exclude-newer $(LOCK_DATE) requirements.in -o requirements.lock
	@echo uv | .venv/bin/uv pip compile --no-header --no-annotate --python-version 3.11 --generate-hashes --exclude-newer $(LOCK_DATE) - -o requirements-bootstrap.txt

bench: setup system ## Đo hiệu năng / Measure
	@exec $(PY) -m benchmarks

chaos: export CHAOS_MINUTES := $(or $(CHAOS_MINUTES),5)
chaos: setup system ## Thử phá hỏng; CHAOS_MINUTES=5 (phút chịu tải; cả thảy khoảng 20) CHAOS_SEED=1 / Break things on purpose; minutes under fire, about 20 in all
	@exec $(PY) -m pytest tests/chaos -s --durations=15 $(PYTEST_ARGS)
