"""The dev task decides which weights are kept and how far to go from the start."""

import pandas as pd
import pytest
import torch

from course_utils import evaluate
from course_utils.adaptation import TSDAEConfig
from course_utils.adaptation.dev import DevScores
from course_utils.data import SimilarityTask

from .toys import QUICK, QUICK_PAIRS, lookup_task, pairs, same, scored, tsdae, weights


def changed(**options):
    return TSDAEConfig(**{**vars(QUICK), **options})


def test_the_best_weights_come_back(tiny, monkeypatch):
    script, seen = iter([0.1, 0.3, 0.8, 0.2, 0.8]), []

    def evaluated(self, model):
        seen.append(weights(model))
        return scored(next(script, 0.0))

    monkeypatch.setattr(DevScores, "evaluate", evaluated)
    config = changed(max_steps=4, evaluate_every=1, interpolate=None)
    result = tsdae(tiny, config=config, dev_task=lookup_task())
    assert result.history["dev"].tolist() == [0.1, 0.3, 0.8, 0.2, 0.8]
    assert same(weights(result.model), seen[2])  # the earlier of two equals
    assert not same(weights(result.model), seen[4])


def test_nothing_is_scored_again_while_the_encoder_is_that_of_the_start(tiny):
    config = changed(max_steps=30, evaluate_every=1)
    dev = tsdae(tiny, config=config, dev_task=lookup_task()).history["dev"]
    assert dev.isna().tolist() == [False, True, True, True, *[False] * 27]


@pytest.mark.parametrize("peak", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_share_of_trained_weights_is_the_one_that_scores_best(tiny, monkeypatch, peak):
    start = weights(tiny)
    name = next(key for key in start if key.endswith("layer.1.output.dense.weight"))
    final = weights(tsdae(tiny).model)[name] - start[name]

    def evaluated(self, model):
        gone = (weights(model)[name] - start[name]).norm() / final.norm()
        return scored(1 - abs(peak - gone.item()))

    monkeypatch.setattr(DevScores, "evaluate", evaluated)
    result = tsdae(tiny, config=changed(evaluate_every=6), dev_task=lookup_task())
    assert result.alpha == peak
    moved = weights(result.model)[name] - start[name]
    assert torch.allclose(moved, peak * final, atol=1e-6)
    assert list(result.alphas) == [0, 0.25, 0.5, 0.75, 1]
    assert result.helped is (peak > 0)
    if peak == 0:
        assert same(weights(result.model), start)
        assert "did not help" in repr(result)
        assert "did not help" in result.card()


@pytest.mark.parametrize("dev_task", [None, lookup_task()])
def test_a_share_that_is_named_is_used_and_none_takes_the_trained_weights(tiny, dev_task):
    start, whole = weights(tiny), weights(tsdae(tiny).model)

    def mixed(way):
        # A single score, so that the best weights are the last.
        config = changed(evaluate_every=6, interpolate=way)
        result = tsdae(tiny, config=config, dev_task=dev_task)
        return result.alpha, weights(result.model)

    for way, share, expected in ((0, 0, start), (1, 1, whole), (None, 1, whole)):
        alpha, found = mixed(way)
        assert alpha == share
        assert same(found, expected)
    alpha, half = mixed(0.5)
    assert alpha == 0.5
    for name, weight in half.items():
        assert torch.allclose(weight, (start[name] + whole[name]) / 2, atol=1e-6)


def test_scores_before_and_after_are_those_of_evaluate(tiny):
    task = lookup_task()
    result = pairs(tiny, dev_task=task)
    pd.testing.assert_frame_equal(result.before.scores, evaluate(tiny, task).scores)
    pd.testing.assert_frame_equal(result.after.scores, evaluate(result.model, task).scores)
    assert result.alphas[0.0] == result.history["dev"].iloc[0]


def test_the_dev_score_is_taken_with_the_models_prompts(tiny):
    task = lookup_task()
    plain = pairs(tiny, dev_task=task).history["dev"].iloc[0]
    tiny.prompts = {"query": "head foot winter ", "document": "long walks at noon "}
    dev = pairs(tiny, dev_task=task).history["dev"]
    ids = list(task.corpus)
    cosines = (
        tiny.encode_query(list(task.queries.values()))
        @ tiny.encode_document([task.corpus[i] for i in ids]).T
    )
    ranks = [
        1 + (row > row[ids.index(next(iter(task.qrels[query])))]).sum()
        for query, row in zip(task.queries, cosines, strict=True)
    ]
    assert dev.iloc[0] == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))
    assert dev.iloc[0] != pytest.approx(plain)


def test_a_similarity_task_can_be_the_dev_task(tiny):
    texts = [("fever", "pain"), ("a head", "the neck"), ("night", "noon"), ("rash", "winter")]
    task = SimilarityTask("alike", texts, [1.0, 3.0, 2.0, 0.0])
    result = pairs(tiny, config=QUICK_PAIRS, dev_task=task)
    assert result.history["dev"].iloc[0] == evaluate(tiny, task).summary()["mean"]["spearman"]
