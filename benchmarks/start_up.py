"""How long `evalkit --help` and one command's help take: the quickest of five runs, in seconds.

python benchmarks/start_up.py
"""

import subprocess
import sys
import time

RUNS = 5


def seconds(*arguments: str) -> float:
    durations = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "evalkit", *arguments], capture_output=True, check=True)
        durations.append(time.perf_counter() - started)
    return min(durations)


if __name__ == "__main__":
    for command in ((), ("ruler",), ("compare",)):
        print(f"evalkit {' '.join((*command, '--help'))}: {seconds(*command, '--help'):.2f} s")
