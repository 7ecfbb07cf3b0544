"""The files for Slurm run as they are, on a stand-in for sbatch that runs the tasks of an array one after another."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.running.store import read_run, read_samples
from tests.evalkit.scripts import asked, write_script
from tests.support import REPOSITORY, run_shell

FILES = REPOSITORY / "docs" / "slurm"
SBATCH = """#!/bin/bash
# Options as Slurm reads them: first the script's own lines, then those of the command line.
set -u
parse() {
  case $1 in
    --array=*) array=${1#*=} ;;
    --dependency=afterok:*) dependency=${1#*:} ;;
    --wrap=*) wrap=${1#*=} ;;
    --parsable) parsable=1 ;;
    --*=*|--requeue) ;;
    *) echo "sbatch: unrecognized option $1" >&2; exit 1 ;;
  esac
}
array= dependency= wrap= parsable= given=()
while [ $# -gt 0 ] && [[ $1 == --* ]]; do given+=("$1"); shift; done
if [ $# -gt 0 ]; then
  script=$1; shift
  while read -r option; do parse "${option%% *}"; done < <(sed -n 's/^#SBATCH //p' "$script")
fi
for option in "${given[@]}"; do parse "$option"; done
id=$((1 + $(ls -d "$JOBS"/* 2>/dev/null | wc -l)))
mkdir -p "$JOBS/$id"
[ -n "$parsable" ] && echo "$id" || echo "Submitted batch job $id"
[ -n "$dependency" ] && [ -e "$JOBS/$dependency/failed" ] && exit 0
if [ -n "$wrap" ]; then bash -c "$wrap" >"$JOBS/$id/log" 2>&1 || touch "$JOBS/$id/failed"; exit 0; fi
first=${array%-*} last=${array#*-}
for ((task = first; task <= last; task++)); do
  SLURM_ARRAY_JOB_ID=$id SLURM_ARRAY_TASK_ID=$task SLURM_ARRAY_TASK_COUNT=$((last - first + 1)) \\
    bash "$script" "$@" >"$JOBS/$id/log-$task" 2>&1 || touch "$JOBS/$id/failed"
done
"""
SRUN = '#!/bin/bash\nshift\nexec "$@"\n'
TRACK = "track --tasks parity --updates 4 --samples 6 --shots 1 --model scripted:model"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in (
        ("sbatch", SBATCH),
        ("srun", SRUN),
        ("evalkit", f'#!/bin/bash\nexec {sys.executable} -m evalkit "$@"\n'),
    ):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(tmp_path / "jobs"))
    write_script(tmp_path / "model", {"text": "even"}, log="asked")
    return tmp_path


def submit(cluster: Path, folder: str, line: str = TRACK) -> "subprocess.CompletedProcess[str]":
    return run_shell(f"bash {FILES / 'submit.sh'} 2 '{folder}' {line}", folder=cluster)


def test_an_array_runs_its_shards_and_merges_them(cluster: Path) -> None:
    done = submit(cluster, "my runs")
    assert done.stdout.splitlines() == ["array 1: shards in my runs/shards", "Submitted batch job 2"], done.stderr
    record = read_run(cluster / "my runs" / "run")
    assert (record.merged_shards, record.counts.n) == (2, 6)
    # Submitted again after a task was killed and its last sample lost, only that sample is asked.
    killed = cluster / "my runs" / "shards" / "2"
    (killed / "run.json").unlink()
    lines = (killed / "samples.jsonl").read_text().splitlines(keepends=True)
    (killed / "samples.jsonl").write_text("".join(lines[:2]) + lines[2][:40])
    shutil.rmtree(cluster / "my runs" / "run")
    submit(cluster, "my runs")
    assert len(read_samples(cluster / "my runs" / "run")) == 6
    assert len(asked(cluster / "asked")) == 7


def test_a_failed_task_leaves_the_merge_undone_and_an_errored_sample_does_not(cluster: Path) -> None:
    write_script(cluster / "model", {"match": "*/0/42", "error": "out of memory"}, {"text": "even"})
    (cluster / "plan.yaml").write_text(
        "{models: ['scripted:model'], suites: {track: {tasks: [parity], updates: [4], samples: 6, shots: 1}}}"
    )
    submit(cluster, "runs", "run plan.yaml")
    assert read_run(cluster / "runs" / "run" / "scripted-model" / "track").counts.errors == 1
    submit(cluster, "other", TRACK.replace("parity", "party"))
    assert (cluster / "jobs" / "3" / "failed").exists()
    assert not (cluster / "other" / "run").exists()
