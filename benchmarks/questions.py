"""How long a small language model writes at a question, and what a kill costs: nothing twice.

    python benchmarks/questions.py

SmolLM2-135M-Instruct writes four questions for each of 256 clinical terms with their definitions, twelve
examples in the prompt, which are read once for all texts. Then another run is killed in the middle
(SIGKILL) and called again: what was kept is not asked again, and the questions are those of a run that
nobody disturbed. Every claim is checked; the exit status says whether all hold. Run it on a quiet machine.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 0.08  # seconds a question, on two cores


def some_texts(number):
    from course_utils.data import load_medical_definitions

    definitions = list(load_medical_definitions().items())
    step = len(definitions) // number
    return {key: f"{name}. {text}" for key, (name, text) in definitions[::step][:number]}


def write(texts, path=None, writer=None):
    from course_utils.adaptation import generate_questions
    from course_utils.data import load_examples

    return generate_questions(
        texts, load_examples("terms"), writer=writer, path=path, show_progress_bar=False
    )


def killed_run(path, number):
    """Write in a process of its own, and kill it as soon as a second batch has been kept."""
    child = subprocess.Popen([sys.executable, __file__, "--child", path, "--texts", str(number)])
    while child.poll() is None:
        if Path(path).exists() and Path(path).read_bytes().count(b"\n") > 2:
            child.send_signal(signal.SIGKILL)
            child.wait()
        time.sleep(0.05)
    return child.returncode


def main():
    import torch

    from course_utils.models.processor import has_bfloat16
    from course_utils.models.writer import SmolLM2

    class Counting(SmolLM2):
        asked = 0

        def write(self, instruction, examples, texts, **options):
            self.asked += len(texts)
            return super().write(instruction, examples, texts, **options)

    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads, bfloat16: {has_bfloat16('cpu')}")  # fmt: skip
    writer = Counting()
    texts = some_texts(256)
    write(dict(list(texts.items())[:8]), writer=writer)  # warm
    began = time.perf_counter()
    whole = write(texts, writer=writer)
    each = (time.perf_counter() - began) / (4 * len(texts))
    print(f"{each:.3f} s a question, {4 * len(texts):,} asked, "
          f"{sum(map(len, whole.values())):,} of them different and not blank")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "questions.jsonl")
        status = killed_run(path, len(texts))
        kept = Path(path).read_bytes().count(b"\n") - 1
        writer.asked = 0
        resumed = write(texts, path, writer)
    print(f"killed with {kept} batches of 64 kept; {writer.asked} texts asked for afterwards")
    claims = {
        f"at most {LIMIT} s a question": each <= LIMIT,
        "the run was killed, with something kept": status == -signal.SIGKILL and 0 < kept < 4,
        "nothing was asked twice": writer.asked == len(texts) - 64 * kept,
        "the same questions as undisturbed, by the same seed": resumed == whole,
    }
    for claim, holds in claims.items():
        print("[OK]" if holds else "[!] ", claim)
    return all(claims.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--child", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--texts", type=int, default=256, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        write(some_texts(options.texts), options.child)
    else:
        sys.exit(0 if main() else 1)
