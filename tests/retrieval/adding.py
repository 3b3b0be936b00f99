"""Adds to a store until somebody kills it: ``python adding.py FOLDER FIRST``; no test of its own.

Each batch brings four new texts and another text for the id "newest"; what ``add`` has returned from
is told on a line of its own.
"""

import sys
from itertools import count


class Lengths:
    """An embedder that counts letters and words."""

    fingerprint, dimension = "lengths", 2

    def encode(self, texts):
        return [[len(text), len(text.split())] for text in texts]


def batch(number):
    texts = {f"{number}-{place}": f"text {place} of batch{number}" for place in range(4)}
    return {**texts, "newest": f"batch{number}"}


if __name__ == "__main__":
    from course_utils.retrieval.store import Store

    store = Store.open(sys.argv[1])
    for number in count(int(sys.argv[2])):
        columns = {"batch": [number] * 5}
        store.add(Lengths(), batch(number), columns=columns, show_progress_bar=False)
        print(f"acknowledged {number}", flush=True)
