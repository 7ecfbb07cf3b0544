#!/usr/bin/env bash
# A gate for any CI system: evaluates CHECKPOINT, and judges it against BASELINE (a folder, or hub:ORG/NAME@REVISION/FOLDER).
# Run again after an interruption, it continues. Exit codes are those of `evalkit gate`.
set -euo pipefail
: "${CHECKPOINT:?a folder or hub id}" "${BASELINE:?a folder of runs, or hub:ORG/NAME@REVISION/FOLDER}"
runs=${RUNS:-runs/new}
# Only the extension of a context fails the evaluation itself with 1; samples that errored exit with 3.
evalkit ruler --ctx "${CTX:-4096,65536}" --model "$CHECKPOINT" --out "$runs" --resume
evalkit gate --policy "${POLICY:-gate.yaml}" --junit evalkit-gate.xml --markdown evalkit-gate.md -- "$BASELINE" "$runs"
