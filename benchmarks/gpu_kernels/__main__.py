"""Check the Triton kernels on a CUDA device, then time them; every job in a process of its own.

    python -m benchmarks.gpu_kernels --only check --budget-seconds 120 --json check.json
    python -m benchmarks.gpu_kernels --only time --budget-seconds 120 --json time.json

An illegal access ends one job and leaves the others their rows. Several checks share the GPU; timings have it
to themselves. A short table comes last.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

PARALLEL_CHECKS = 5
LEAST_SECONDS = 5.0
"""Seconds that must be left to start a job."""
ROOT = Path(__file__).resolve().parents[2]

Job = Callable[["Rows"], None]  # type: ignore[name-defined]  # noqa: F821 - imported by the job's process alone


def jobs() -> dict[str, dict[str, Job]]:
    """All jobs by kind and name, most important first; imports torch."""
    import torch

    from benchmarks.gpu_kernels import attention, elementwise, gated_delta, models, state_space

    return {
        "check": {
            "gdn-bf16": partial(gated_delta.check_prefill, dtype=torch.bfloat16),
            "hybrid": partial(models.check_models, make=models.hybrid),
            "attention": attention.check_attention,
            "elementwise": elementwise.check_elementwise,
            "windowed": partial(models.check_models, make=models.windowed),
            "gdn-fp32": partial(gated_delta.check_prefill, dtype=torch.float32),
            "gdn-decode": gated_delta.check_decode,
            "gdn-sizes": gated_delta.check_sizes,
            "gdn-far": gated_delta.check_far,
            "ssm": state_space.check_scan,
            "kda": state_space.check_kda,
        },
        "time": {
            "gdn": gated_delta.time_prefill,
            "hybrid": partial(models.time_models, make=models.hybrid),
            "windowed": partial(models.time_models, make=models.windowed),
            "attention": attention.time_attention,
            "elementwise": elementwise.time_elementwise,
            "ssm": state_space.time_scan,
            "kda": state_space.time_kda,
        },
    }


# Only names, so that the parent need not import torch.
NAMES = {
    "check": (
        "gdn-bf16",
        "hybrid",
        "attention",
        "elementwise",
        "windowed",
        "gdn-fp32",
        "gdn-decode",
        "gdn-sizes",
        "gdn-far",
        "ssm",
        "kda",
    ),
    "time": ("gdn", "hybrid", "windowed", "attention", "elementwise", "ssm", "kda"),
}


class Running:
    """The process of one job, which imports, reports that it is ready, and starts on request."""

    def __init__(self, kind: str, name: str, log: Path) -> None:
        self.kind, self.name = kind, name
        self._path = log / f"{kind}-{name}.jsonl"
        with self._path.open("w", encoding="utf-8") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu_kernels", "--job", kind, name],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=(log / f"{kind}-{name}.err").open("w", encoding="utf-8"),
                text=True,
            )

    def go(self) -> None:
        assert self._process.stdin is not None  # a pipe, as asked
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it died while importing; its rows and error show why

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def rows(self) -> list[dict[str, object]]:
        """The rows of the job, with another one if it did not finish."""
        lines = self._path.read_text(encoding="utf-8").splitlines()
        found = [{"job": self.name, **json.loads(line)} for line in lines if line.startswith("{") and line[-1] == "}"]
        code = self._process.poll()
        if code != 0:
            error = self._path.with_suffix(".err").read_text(encoding="utf-8").strip().splitlines()
            reason = "no time left" if code in (None, -9) else f"exit {code}: {(error or ['no message'])[-1][:200]}"
            found.append({"job": self.name, "kind": self.kind, "kernel": self.name, "case": "job", "failure": reason})
        return found


def run_all(kind: str, names: tuple[str, ...], deadline: float, log: Path) -> list[dict[str, object]]:
    """All jobs of a kind until the deadline; the next ones import while one works."""
    parallel = PARALLEL_CHECKS if kind == "check" else 1
    waiting, ready, working, found = list(names), [], [], []
    while waiting or ready or working:
        left = deadline - time.monotonic()
        while waiting and len(ready) + len(working) < parallel + 1 and left > LEAST_SECONDS:
            ready.append(Running(kind, waiting.pop(0), log))
        while ready and len(working) < parallel:
            ready[0].go()
            working.append(ready.pop(0))
        for job in [job for job in working if job.ended or left <= 0]:
            if not job.ended:
                job.stop()
            working.remove(job)
            rows = job.rows()
            found += rows
            print(f"# {kind} {job.name}: {len(rows)} rows, {left:.0f} s left", flush=True)
        if left <= LEAST_SECONDS and not working:
            for job in ready:
                job.stop()
            left_out = [*(job.name for job in ready), *waiting]
            found += [
                {"job": name, "kind": kind, "kernel": name, "case": "job", "failure": "no time left"}
                for name in left_out
            ]
            break
        time.sleep(0.2)
    return found


def line_of(row: dict[str, object]) -> str:
    """One row of the table."""
    what = f"{row['kernel']!s:34.34} {row['case']!s:74.74}"
    if "failure" in row:
        return f"RED {what} {row['failure']}"
    if row["kind"] == "check":
        errors = row["errors"]
        assert isinstance(errors, dict)
        shown = " ".join(f"{name} {value:.1e}" for name, value in errors.items())
        return f"{'ok ' if row['passed'] else 'RED'} {what} {shown}"
    if row["kind"] == "time":
        milliseconds, floor = float(str(row["ms"])), float(str(row["floor_ms"]))
        return f"    {what} {milliseconds:9.3f} ms  floor {floor:8.3f}  x{milliseconds / floor:.2f}"
    if row["kind"] == "part":
        return f"    {row['kernel']!s:34.34} {row['part']!s:74.74} {float(str(row['ms'])):9.3f} ms"
    return f"    {what} {row['value']}"


def work(kind: str, name: str) -> None:
    """The job's process."""
    job = jobs()[kind][name]
    from benchmarks.gpu_kernels.rows import Rows

    if sys.stdin.readline().strip() == "go":
        job(Rows())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("check", "time"), default=None)
    parser.add_argument("--jobs", nargs="*", default=None, help="names of jobs; all by default")
    parser.add_argument("--budget-seconds", type=float, default=240.0)
    parser.add_argument("--json", type=Path, default=None, help="file for all rows")
    parser.add_argument("--log", type=Path, default=Path("/tmp/gpu-kernels"), help="folder for what jobs print")
    parser.add_argument("--job", nargs=2, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job is not None:
        work(*arguments.job)
        return
    arguments.log.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + arguments.budget_seconds
    rows = []
    for kind in ("check", "time") if arguments.only is None else (arguments.only,):
        names = tuple(name for name in NAMES[kind] if arguments.jobs is None or name in arguments.jobs)
        rows += run_all(kind, names, deadline, arguments.log)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print("\n".join(line_of(row) for row in rows))
    red = sorted({str(row["job"]) for row in rows if "failure" in row or row.get("passed") is False})
    print(f"red: {', '.join(red) or 'none'}")


if __name__ == "__main__":
    main()
