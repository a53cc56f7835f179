#!/usr/bin/env bash
# Install the project into the active environment. Run in the root of a clone, which is where
# Snakemake runs its copy of this file.
set -euo pipefail
if [[ ! -f pyproject.toml ]]; then
    echo "hybridom: error: $PWD holds no pyproject.toml; run this in the root of a clone" >&2
    exit 2
fi
python -m pip install "${TORCH:-torch==2.13.0}"
python -m pip install --constraint envs/constraints.txt --editable '.[twin]'
