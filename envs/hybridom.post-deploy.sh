#!/usr/bin/env bash
# Install the project, in the versions of constraints.txt, into the active environment. Run in the
# root of a clone; Snakemake runs its copy of this file in the working directory, and the workflow
# says where the clone is.
set -euo pipefail
cd "${HYBRIDOM_PROJECT:-.}"
if [[ ! -f pyproject.toml ]]; then
    echo "hybridom: error: $PWD holds no pyproject.toml; run this in the root of a clone" >&2
    exit 2
fi
python -m pip install --constraint envs/constraints.txt "${TORCH:-torch}"
python -m pip install --constraint envs/constraints.txt \
    --editable '.[animation,download,grib,twin,wandb]'
