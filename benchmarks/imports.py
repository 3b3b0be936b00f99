"""How long `import course_utils` takes in a fresh interpreter: the median of five, at most .4 s.

The package imports a room when one of its names is first used. The time is for the import
statement alone, without the start of the interpreter; the first run, which fills the disk's cache,
does not count. Ends with status 1 above the limit.

    python benchmarks/imports.py
"""

import statistics
import subprocess
import sys

LIMIT = 0.4
CODE = (
    "import sys, time; start = time.perf_counter(); import course_utils; "
    "print(time.perf_counter() - start, len(sys.modules))"
)


def measure():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    seconds, modules = done.stdout.split()
    return float(seconds), int(modules)


def main():
    measure()
    seconds, modules = zip(*(measure() for _ in range(5)), strict=True)
    median = statistics.median(seconds)
    print(f"import course_utils: {median * 1e3:.1f} ms, median of 5 (limit {LIMIT * 1e3:.0f} ms)")
    print(f"{modules[0]} modules loaded, the standard library's among them")
    return median > LIMIT


if __name__ == "__main__":
    sys.exit(main())
