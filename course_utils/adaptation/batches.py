"""Which texts form the batch of a step: a function of the seed and the step, of nothing else.

So a run that was killed goes on with exactly the batches that it would have seen, several processes
agree on them without talking, and no state of a generator needs saving.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

# Batches drawn together and sorted by length: enough to leave almost no padding, few enough that
# the texts of a batch differ from epoch to epoch.
_POOL = 32


class Batches:
    """The batches of every epoch over texts of ``lengths`` (n,), ``batch_size`` at a time.

    ``len()`` is the number of batches in an epoch. Batches hold texts of like length and differ in
    size by one at the most, so that none is a small remainder.

    >>> batches = Batches([3, 9, 3, 9], batch_size=2, seed=0)
    >>> sorted(sorted(rows.tolist()) for rows in (batches.rows(0), batches.rows(1)))
    [[0, 2], [1, 3]]
    """

    def __init__(self, lengths: ArrayLike, batch_size: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.seed = seed
        self.count = -(-len(self.lengths) // batch_size)
        self._epoch = -1  # none drawn yet
        self._order: list[np.ndarray] = []

    def __len__(self) -> int:
        return self.count

    def epoch(self, step: int) -> int:
        """Return how many times all texts have been through before ``step`` (counted from 0)."""
        return step // self.count

    def rows(self, step: int) -> np.ndarray:
        """Return the row numbers of the texts of a step, counted from 0 at the first epoch."""
        if self._epoch != self.epoch(step):
            self._epoch, self._order = self.epoch(step), self._draw(self.epoch(step))
        return self._order[step % self.count]

    def _draw(self, epoch):
        rng = np.random.default_rng([self.seed, epoch])
        batches = []
        texts = rng.permutation(len(self.lengths))
        # Cut where batches end, so that no batch holds the long of one pool and the short of another.
        ends = np.linspace(0, len(texts), self.count + 1).astype(np.int64)
        for first in range(0, self.count, _POOL):
            inside = ends[first : first + _POOL + 1]
            pool = texts[inside[0] : inside[-1]]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += np.split(pool, inside[1:-1] - inside[0])
        return [batches[place] for place in rng.permutation(self.count)]


def share(rows: np.ndarray, process: int, processes: int) -> tuple[np.ndarray, int]:
    """Return one process's part of a batch, and where that part begins.

    >>> share(np.array([7, 8, 9]), 1, 2)
    (array([8, 9]), 1)
    """
    begin, end = (len(rows) * part // processes for part in (process, process + 1))
    return rows[begin:end], begin


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """Return the seed of all that torch draws in a step, dropout above all (31 bits)."""
    return int(np.random.SeedSequence([seed, step, process]).generate_state(1)[0] >> 1)
