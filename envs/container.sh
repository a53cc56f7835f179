#!/usr/bin/env bash
# What both recipes of the container run, as root in the folder of the project.
set -euo pipefail
apt-get update
# Triton and torch.compile call a compiler while a model runs
apt-get install --yes --no-install-recommends g++
rm -rf /var/lib/apt/lists/*
export PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
python -m pip install "pip==$(sed -n 's/^ *- pip=//p' envs/hybridom.yaml)"
bash envs/hybridom.post-deploy.sh
# nothing can be written there later
python -m compileall -q hybridom
