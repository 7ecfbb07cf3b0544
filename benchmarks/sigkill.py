"""Kill a real `evalkit ruler` run at random moments, continue it each time, and hold it against an undisturbed one.

python benchmarks/sigkill.py --ctx 1024 --kills 10

Prints the samples kept at each kill and whether scores and answers are the same; exits 1 if they are not.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from evalkit.records import SampleRecord
from evalkit.running.store import SAMPLES, read_run, read_samples

BREAK = b"\n"
EARLY_SHARE = 0.3
"""Of the kills that meet a run before its first new sample; the others come after one."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ctx", default="1024", help="context length of both runs")
    parser.add_argument("--samples", type=int, default=6, help="samples per task")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--replicas", type=int, help="run on so many Ray replicas, whose driver is killed")
    options = parser.parse_args()
    command = [sys.executable, "-m", "evalkit", "ruler", "--ctx", options.ctx, "--samples", str(options.samples)]
    command += [] if options.replicas is None else ["--replicas", str(options.replicas)]
    folder = Path(tempfile.mkdtemp(prefix="evalkit-sigkill-"))
    try:
        first_prompt, seconds = undisturbed(command, folder / "undisturbed")
        kill_and_resume(
            [*command, "--out", str(folder / "killed"), "--resume"],
            folder / "killed",
            early=[random.Random(options.seed + kill).random() < EARLY_SHARE for kill in range(options.kills)],
            moments=random.Random(options.seed),
            longest=(first_prompt, (seconds - first_prompt) / options.kills / 2),
        )
        return verdict(folder / "killed", folder / "undisturbed")
    finally:
        shutil.rmtree(folder)


def undisturbed(command: list[str], out: Path) -> tuple[float, float]:
    """Run to the end; returns the seconds to the first prompt and in all."""
    started = time.perf_counter()
    subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
    seconds = time.perf_counter() - started
    first_prompt = read_run(out).timing.first_prompt_seconds or 0.0
    print(f"undisturbed: {len(read_samples(out))} samples in {seconds:.1f} s, first prompt after {first_prompt:.1f} s")
    return first_prompt, seconds


def kill_and_resume(
    command: list[str], out: Path, *, early: list[bool], moments: random.Random, longest: tuple[float, float]
) -> None:
    """Start, kill and continue once for each of `early`, then run to the end.

    An early kill comes within `longest[0]` seconds of the start, another within `longest[1]` of a new sample.
    """
    for number, is_early in enumerate(early, start=1):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        if not is_early:
            wait_for_growth(out / SAMPLES, process)
        time.sleep(moments.uniform(0.0, longest[0 if is_early else 1]))
        ended = process.poll() is not None
        process.kill()
        process.wait()
        written = (out / SAMPLES).read_bytes() if (out / SAMPLES).exists() else b""
        half = ", a half-written line" if written and not written.endswith(b"\n") else ""
        late = ", after its end" if ended else ""
        print(f"kill {number}: {'early' if is_early else 'under way'}{late}, {written.count(BREAK)} samples kept{half}")
    subprocess.run(command, check=True, capture_output=True)


def wait_for_growth(samples: Path, process: subprocess.Popen[bytes]) -> None:
    before = samples.stat().st_size if samples.exists() else 0
    while process.poll() is None and not (samples.exists() and samples.stat().st_size > before):
        time.sleep(0.01)


def verdict(killed: Path, undisturbed: Path) -> int:
    """Print whether the two runs say the same."""
    same_scores = read_run(killed).results == read_run(undisturbed).results
    there, here = answers(killed), answers(undisturbed)
    print(f"scores equal: {same_scores}; answers equal: {there == here} ({len(here)} samples)")
    return 0 if same_scores and there == here else 1


def answers(folder: Path) -> dict[str, tuple[str, str, float | None]]:
    """Sample id -> prompt hash, prediction and score."""
    return {record.id: answer(record) for record in read_samples(folder)}


def answer(record: SampleRecord) -> tuple[str, str, float | None]:
    return record.prompt_sha256, record.prediction, record.score


if __name__ == "__main__":
    sys.exit(main())
