"""Batches hold every text once an epoch, of like length, and follow from seed and step alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.adaptation.batches import Batches, share, step_seed


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=300), st.integers(1, 40), st.integers(0, 9)
)
def test_an_epochs_batches_hold_every_text_once_and_are_of_one_size(lengths, batch_size, seed):
    batches = Batches(lengths, batch_size, seed)
    for epoch in range(2):
        rows = [batches.rows(epoch * len(batches) + place) for place in range(len(batches))]
        assert sorted(np.concatenate(rows).tolist()) == list(range(len(lengths)))
        sizes = {len(part) for part in rows}
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1


def test_a_batch_depends_on_seed_and_step_alone():
    lengths = np.random.default_rng(0).integers(3, 60, 500)
    forwards, jumping = Batches(lengths, 16, 3), Batches(lengths, 16, 3)
    wanted = [forwards.rows(step).tolist() for step in range(70)]
    assert jumping.rows(69).tolist() == wanted[69]
    assert jumping.rows(5).tolist() == wanted[5]
    assert Batches(lengths, 16, 4).rows(5).tolist() != wanted[5]
    epochs = [
        sorted(map(tuple, wanted[: len(forwards)])),
        sorted(map(tuple, wanted[len(forwards) :])),
    ]
    assert epochs[0] != epochs[1]


def test_texts_of_a_batch_are_of_like_length():
    lengths = np.random.default_rng(0).integers(3, 60, 3000)
    batches = Batches(lengths, 32, 0)
    parts = [lengths[batches.rows(step)] for step in range(len(batches))]
    padded = sum(part.max() * len(part) for part in parts)
    assert padded < 1.05 * lengths.sum()


@given(st.integers(0, 50), st.integers(1, 8))
def test_the_shares_of_the_processes_make_up_the_batch(size, processes):
    rows = np.arange(size)
    parts = [share(rows, process, processes) for process in range(processes)]
    assert np.concatenate([part for part, _ in parts]).tolist() == rows.tolist()
    assert all(begin == (part[0] if len(part) else begin) for part, begin in parts)


def test_steps_and_processes_have_seeds_of_their_own():
    seeds = {step_seed(0, step, process) for step in range(200) for process in range(4)}
    assert len(seeds) == 800
