"""``make bench``: run every benchmark, print one table, write ``bench/results.json``."""

from __future__ import annotations

from pathlib import Path

from bench.results import as_table, write_results
from bench.updates import measure_updates


def main() -> None:
    """Run everything."""
    results = measure_updates()
    print(as_table(results))
    write_results(results, Path(__file__).parent / "results.json")


if __name__ == "__main__":
    main()
