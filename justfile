# What developers do, by name. `uv run just` lists it.

# The paths that linters read.
code := "packages examples benchmarks docs conftest.py"

_list:
    @just --list --unsorted

# Install everything that the workspace needs
setup:
    uv sync

# Start a registry at http://127.0.0.1:5000; arguments go to `serve`
run *arguments:
    uv run --directory packages/registry python registry_service.py {{ arguments }}

# Run all tests, or those in a path
test *arguments:
    uv run pytest {{ arguments }}

# Run the tests that start no process and listen on no port
test-unit *arguments:
    uv run pytest packages/registry/tests/unit {{ arguments }}

# Check lint, format and types
check: lint types

# Check lint and format
lint:
    uv run ruff check .
    uv run black --check --quiet .
    uv run flake8 --config packages/registry/.flake8 {{ code }}
    uv run bandit --quiet --configfile pyproject.toml --recursive packages/registry/src packages/client/src

# Check types
types:
    uv run --group bench mypy packages/registry examples/01-hello-world
    uv run mypy packages/client examples/02-weather-system
    uv run --group bench mypy benchmarks docs

# Repair what linters can repair
fix:
    uv run ruff check --fix .
    uv run black --quiet .

# Measure, beside Consul, etcd and nginx; `just bench report` writes docs/benchmarks.md
bench *arguments:
    uv run --group bench python -m benchmarks {{ arguments }}

# Break stores and replicas for as many seconds; the figures go into a table
faults seconds="1800" table="benchmarks/results/faults.md":
    mkdir -p {{ parent_directory(table) }}
    FAULTS_SECONDS={{ seconds }} FAULTS_TABLE={{ table }} uv run pytest -rP packages/registry/tests/faults

# Fuzz with coverage, so many inputs a target; `just fuzz 10000 --target dns` for one
fuzz *arguments:
    PYTHONPATH=packages/registry/tests uv run --group fuzz python -m fuzzing {{ arguments }}

# Change the code in one place at a time: does a test notice? `just mutants status`
mutants *arguments:
    PYTHONPATH=packages/registry/tests uv run --group mutants python -m mutation {{ arguments }}

# Load a registry for as many seconds, and fail if it needs more and more for it
soak seconds="3600" *arguments:
    uv run --group bench python -m benchmarks.soak {{ seconds }} {{ arguments }}

# Simulate up to a million services; `just simulate --docs` writes docs/scale.md
simulate *arguments:
    uv run --group bench python -m benchmarks.simulator {{ arguments }}

# Build the documentation's site in site/, to open site/index.html
site *arguments:
    uv run python docs/site/build.py {{ arguments }}

# Set the version of everything that is released, such as 0.2.0
version number:
    #!/usr/bin/env bash
    set -euo pipefail
    file=packages/registry/src/modularity_registry/__init__.py
    old=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$file")
    sed -i "s/${old//./\\.}/{{ number }}/" "$file" \
        packages/client/src/modularity_client/__init__.py packages/registry/README.md \
        deploy/docker/Dockerfile deploy/compose.yaml \
        deploy/helm/modularity-registry/Chart.yaml docs/cli.md docs/replicas.md

# Build and check both packages into dist; set MODULARITY_HOME and MODULARITY_CONTACT
dist folder="dist":
    uv build --all-packages --out-dir {{ folder }}
    uv run twine check {{ folder }}/*.whl {{ folder }}/*.gz

# Draw the picture of the architecture, and run the commands in the documentation
docs:
    uv run python docs/draw_architecture.py
    uv run pytest packages/registry/tests/e2e/docs

# Take the documentation's pictures again; needs Chromium, pngquant, and free ports
pictures:
    uv run python docs/quick_start_pictures.py
    PYTHONPATH=packages/registry/tests uv run python -m e2e.dashboard.pictures docs/images
    pngquant --ext .png --force docs/images/*.png
