"""A result is its model, with a history; saved, it is a folder like any other, with a card."""

import warnings
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from course_utils import compare, encode, evaluate, load_model
from course_utils.adaptation import PairsConfig, TSDAEConfig
from course_utils.models.fingerprints import fingerprint

from .toys import lookup_task, pairs, same, sentences, tsdae, weights


def test_a_result_is_its_model_wherever_an_embedder_is_wanted(tiny):
    task, result = lookup_task(), pairs(tiny)
    table = compare(evaluate(tiny, task), evaluate(result, task)).table
    assert table.loc["mrr@10", "n"] == 8
    assert evaluate(result, task).embedder.endswith(" (adapted)")
    assert fingerprint(result) == fingerprint(result.model)
    assert np.array_equal(encode(result, ["fever"]), encode(result.model, ["fever"]))
    assert encode(result, []).shape == (0, 32)


def test_an_index_of_a_result_is_searched_with_its_model_and_the_other_way(tiny):
    from course_utils import build_index, search

    task, result = lookup_task(), pairs(tiny)
    wanted = [hit.id for hit in search(result.model, "a rash", task.corpus, k=3)]
    for one, other in ((result, result.model), (result.model, result), (result, result)):
        hits = search(one, "a rash", build_index(other, task.corpus), k=3)
        assert [hit.id for hit in hits] == wanted


def test_long_texts_are_told_of_through_a_result_as_through_its_model(tiny):
    result, told = pairs(tiny), []
    for model in (result, result.model):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            encode(model, ["fever " * 40])
        told.append([str(w.message) for w in caught])
    assert told[0] == told[1]
    assert "longer than the model's limit of 32 tokens" in told[0][0]


def test_a_result_can_be_trained_on_as_its_model(tiny):
    first = tsdae(tiny)
    assert same(weights(pairs(first).model), weights(pairs(first.model).model))


def test_a_result_cannot_be_changed(tiny):
    result = tsdae(tiny)
    with pytest.raises(FrozenInstanceError):
        result.alpha = 0.3


def test_the_history_has_the_columns_of_its_objective(tiny):
    denoised, paired = tsdae(tiny).history, pairs(tiny, general=sentences(8)).history
    shared = ["epoch", "loss", "dev", "gradient", "learning_rate", "texts", "seconds"]
    assert sorted(denoised.columns) == sorted([*shared, "denoising"])
    assert sorted(paired.columns) == sorted([*shared, "pairs", "distillation"])
    assert paired.index.tolist() == [*range(7)]
    assert paired.drop(columns="dev").iloc[1:].notna().all(axis=None)


def test_the_saved_folder_loads_and_its_card_tells_how_it_came_about(tiny, tmp_path):
    result = tsdae(tiny, dev_task=lookup_task("words"))
    folder = result.save(tmp_path / "adapted")
    again = load_model(folder, device="cpu")
    assert np.array_equal(encode(again, sentences(5)), encode(result.model, sentences(5)))
    card = (folder / "README.md").read_text("utf-8")
    assert "| sentences used | 64 |" in card
    assert "| learning_rate | 0.001 |" in card
    assert "6 steps in float32" in card
    for evaluation, when in ((result.before, "before"), (result.after, "after")):
        row = evaluation.summary().loc["mrr@10"]
        ends = f"{row['low']:.4f} to {row['high']:.4f}"
        assert f"| {when} | mrr@10 | {row['mean']:.4f} | {ends} | 8 queries |" in card
    assert "## Limits" in card
    for path in folder.rglob("*.json"):
        assert str(tmp_path) not in path.read_text("utf-8")


def test_a_model_may_replace_a_model_and_nothing_else(tiny, tmp_path):
    result = tsdae(tiny)
    result.save(tmp_path / "adapted")
    result.save(tmp_path / "adapted")
    (tmp_path / "empty").mkdir()
    result.save(tmp_path / "empty")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear", "utf-8")
    with pytest.raises(FileExistsError, match="no model"):
        result.save(tmp_path / "other")
    assert (tmp_path / "other" / "letter.txt").read_text("utf-8") == "dear"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapted", "empty", "other"]


@pytest.mark.parametrize("step", [1, 2])
def test_a_model_that_cannot_be_replaced_is_still_there(tiny, tmp_path, rename_fails, step):
    old, new = tsdae(tiny), pairs(tiny)
    folder = tmp_path / "adapted"
    old.save(folder)
    rename_fails(step)
    with pytest.raises(OSError, match="gave up"):
        new.save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["adapted"]
    kept = load_model(folder, device="cpu")
    assert np.array_equal(encode(kept, sentences(5)), encode(old.model, sentences(5)))
    new.save(folder)
    kept = load_model(folder, device="cpu")
    assert np.array_equal(encode(kept, sentences(5)), encode(new.model, sentences(5)))


@pytest.mark.parametrize(
    ("train", "config", "told"),
    [
        (tsdae, TSDAEConfig(max_steps=1), "by TSDAE (Wang"),
        (tsdae, TSDAEConfig(max_steps=1, objective="contrast"), "by contrast between damaged"),
        (pairs, PairsConfig(max_steps=1), "by pairs of texts"),
    ],
)
def test_the_card_names_what_was_learnt_from_and_nothing_else(tiny, train, config, told):
    ways = ("TSDAE (Wang", "contrast between", "pairs of texts")
    card = train(tiny, config=config).card()
    assert told in card
    assert sum(way in card for way in ways) == 1


def test_without_a_dev_task_the_card_claims_nothing(tiny):
    result = tsdae(tiny)
    assert (result.alpha, result.helped, result.after) == (1.0, None, None)
    assert "nothing is known" in result.card()
