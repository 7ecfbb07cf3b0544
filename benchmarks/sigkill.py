"""Kill a real `evalkit ruler` run at random moments, continue it each time, and hold it against an undisturbed one.

python benchmarks/sigkill.py --ctx 1024 --kills 10

Prints what was kept at each kill and whether scores and answers are the same; exits 1 where they are not.
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
from evalkit.run_store import SAMPLES, read_run, read_samples


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ctx", default="1024", help="context length of both runs")
    parser.add_argument("--samples", type=int, default=6, help="samples a task")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    command = [sys.executable, "-m", "evalkit", "ruler", "--ctx", options.ctx, "--samples", str(options.samples)]
    folder = Path(tempfile.mkdtemp(prefix="evalkit-sigkill-"))
    try:
        latest = undisturbed(command, folder / "undisturbed", options.kills)
        kill_and_resume(command, folder / "killed", options.kills, random.Random(options.seed), latest)
        return verdict(folder / "killed", folder / "undisturbed")
    finally:
        shutil.rmtree(folder)


def undisturbed(command: list[str], out: Path, kills: int) -> float:
    """Run to the end; returns the seconds after which a run is killed at the latest.

    Late enough that half of the kills meet samples under way, and early enough that the run outlives all of them.
    """
    started = time.perf_counter()
    subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
    seconds = time.perf_counter() - started
    first_prompt = read_run(out).timing["first_prompt_seconds"] or 0.0
    print(f"undisturbed: {len(read_samples(out))} samples in {seconds:.1f} s, first prompt after {first_prompt:.1f} s")
    return first_prompt + 2 * (seconds - first_prompt) / kills


def kill_and_resume(command: list[str], out: Path, kills: int, moments: random.Random, latest: float) -> None:
    """Start, kill and continue `kills` times, then run to the end.

    A run that ended before its kill is started again from nothing, since there is nothing left to kill.
    """
    done = 0
    while done < kills:
        process = subprocess.Popen([*command, "--out", str(out), "--resume"], stderr=subprocess.DEVNULL)
        moment = moments.uniform(0.0, latest)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done += 1
            written = (out / SAMPLES).read_bytes() if (out / SAMPLES).exists() else b""
            half = ", a half-written line" if written and not written.endswith(b"\n") else ""
            print(f"kill {done}: after {moment:.1f} s, {len(read_samples(out))} samples kept{half}")
        else:
            print(f"ended by itself within {moment:.1f} s; started from nothing")
            shutil.rmtree(out)
    subprocess.run([*command, "--out", str(out), "--resume"], check=True, capture_output=True)


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
