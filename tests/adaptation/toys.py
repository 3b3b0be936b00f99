"""Texts of a small vocabulary, and short ways to train on them."""

import numpy as np
import pandas as pd
import torch

from course_utils.adaptation import PairsConfig, TSDAEConfig, train_pairs, train_tsdae
from course_utils.data import RetrievalTask
from course_utils.metrics import Evaluation

SUBJECTS = ["fever", "rash", "cough", "pain", "swelling", "bleeding", "fatigue", "numbness"]
PLACES = ["arm", "leg", "back", "neck", "chest", "hand", "foot", "head"]
TIMES = ["night", "morning", "noon", "evening", "winter", "summer"]
WORDS = [
    *SUBJECTS,
    *PLACES,
    *TIMES,
    *["the", "of", "a", "in", "at", "patient", "has", "and", "after", "long", "walks"],
]
PAIRS = [
    (f"{subject} of the {place}", f"the patient has {subject} in the {place} at night")
    for subject in SUBJECTS
    for place in PLACES
]
# In float32, whose digits are the same on every processor.
QUICK = TSDAEConfig(batch_size=8, max_steps=6, learning_rate=1e-3, bfloat16=False)
QUICK_PAIRS = PairsConfig(batch_size=8, max_steps=6, learning_rate=1e-3, bfloat16=False)


def sentences(count=64, seed=0):
    """Return different sentences of 4 to 14 words over a small vocabulary."""
    rng = np.random.default_rng(seed)
    found = {}
    while len(found) < count:
        subject, other = rng.choice(SUBJECTS, 2)
        text = f"the patient has {subject} in the {rng.choice(PLACES)}"
        if rng.random() < 0.5:
            text += f" and {other} of the {rng.choice(PLACES)} at {rng.choice(TIMES)}"
        found[f"{text} after {rng.choice(['long walks', 'noon', 'a walks'])}"] = True
    return list(found)


def tsdae(model, texts=None, config=QUICK, **options):
    options.setdefault("show_progress_bar", False)
    return train_tsdae(model, sentences() if texts is None else texts, config, **options)


def pairs(model, texts=None, config=QUICK_PAIRS, **options):
    options.setdefault("show_progress_bar", False)
    return train_pairs(model, PAIRS if texts is None else texts, config, **options)


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def lookup_task(name="toy"):
    corpus = {f"d{n}": f"{subject} of the {PLACES[n]}" for n, subject in enumerate(SUBJECTS)}
    queries = {f"q{n}": f"a {subject}" for n, subject in enumerate(SUBJECTS)}
    return RetrievalTask(name, corpus, queries, {f"q{n}": {f"d{n}": 1} for n in range(8)})


def scored(value):
    return Evaluation("toy", "retrieval", "scripted", pd.DataFrame({"mrr@10": [value, value]}))
