"""`python -m tests.benchmarks [NAME ...]` measures and prints a table; without names, everything.

Each benchmark runs in a process of its own, one after the other: what one leaves in memory must not weigh on the next.
"""

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.benchmarks.measuring import Figure, table
from tests.benchmarks.registry import BENCHMARKS, measure


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", action="store_true", help="print one list of JSON objects instead of the table")
    parser.add_argument("--tiny", action="store_true", help="only prove that they still run")
    parser.add_argument("--seconds", type=float, metavar="S", help="how long to watch the pacing (default: 60)")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")

    everything: list[Figure] = []
    for name in options.names or BENCHMARKS:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            figures = process.submit(measure, name, options.tiny, options.seconds).result()
        if not options.json:
            print(table(figures), end="\n\n", flush=True)
        everything += figures
    if options.json:
        print(json.dumps([figure.as_json() for figure in everything], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
