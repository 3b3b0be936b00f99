"""The table of evidence says what the cells say, and compares question by question."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from course_utils.adaptation.evidence import (
    GENERAL,
    RUNGS,
    evidence_table,
    ladder,
    load_evidence,
)
from course_utils.metrics import bootstrap_interval, paired_test
from course_utils.metrics.evidence import METRICS

ROOT = Path(__file__).parents[2]


def cell(method, seed, scores, **changes):
    general = {name: [-0.01 * (seed + 1), -0.05, 0.03] for name in GENERAL}
    return {
        "field": "toy", "model": "small", "method": method, "seed": seed, "seconds": 10 * seed,
        "exams": {"quiz": {"mrr@10": list(scores), "recall@10": [1.0] * len(scores)}},
        **general, **changes,
    }  # fmt: skip


def written(tmp_path, *cells):
    path = tmp_path / "evidence.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in cells), "utf-8")
    return path


def test_the_seeds_of_a_method_are_averaged_question_by_question_before_the_test(tmp_path):
    rng = np.random.default_rng(0)
    start, one, two = rng.random((3, 40)).round(5)
    cells = load_evidence(
        written(tmp_path, cell("untouched", 0, start), cell("new", 0, one), cell("new", 1, two))
    )
    row = evidence_table(cells).loc["toy", "quiz", "small", "new"]
    expected = paired_test(start, ((one + two) / 2).round(9))
    assert row["change"] == pytest.approx(((one + two) / 2 - start).mean())
    assert (row["low"], row["high"]) == (expected.low, expected.high)
    assert row["p_value"] == expected.p_value
    assert row["seeds"] == 2
    assert [row["low_seed"], row["high_seed"]] == pytest.approx(sorted([one.mean(), two.mean()]))
    assert row["general"] == pytest.approx(-0.015)
    assert row["seconds"] == 5


def test_another_method_can_be_the_baseline_and_a_missing_one_leaves_blanks(tmp_path):
    cells = load_evidence(
        written(tmp_path, cell("a", 0, [0.1, 0.2, 0.3]), cell("b", 0, [0.2, 0.3, 0.7]))
    )
    table = evidence_table(cells, baseline="a")
    assert table.loc["toy", "quiz", "small", "b"]["change"] == pytest.approx(0.2)
    assert table.loc["toy", "quiz", "small", "a"]["change"] == 0
    assert evidence_table(cells)[["change", "low", "high", "p_value"]].isna().all(axis=None)


def test_methods_measured_on_other_questions_are_not_compared(tmp_path):
    cells = load_evidence(
        written(tmp_path, cell("untouched", 0, [0.1, 0.2]), cell("b", 0, [0.2, 0.3, 0.7]))
    )
    with pytest.raises(ValueError, match="measured on 3 questions and 'untouched' on 2"):
        evidence_table(cells)


@pytest.mark.parametrize("line", ["{", "[]", '{"field": "toy"}', "7"])
def test_a_line_that_is_no_result_is_named(tmp_path, line):
    path = written(tmp_path, cell("untouched", 0, [0.1]))
    path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")
    with pytest.raises(ValueError, match=r"evidence\.jsonl:2 is no result"):
        load_evidence(path)


def test_the_interval_of_the_mean_and_the_share_of_the_way_to_the_ceiling(tmp_path):
    start, middle, top = (
        np.linspace(0, 0.5, 30),
        np.linspace(0.1, 0.7, 30),
        np.linspace(0.4, 0.7, 30),
    )
    table = evidence_table(
        load_evidence(
            written(
                tmp_path,
                cell("untouched", 0, start), cell("new", 0, middle), cell("labels", 0, top),
            )
        )
    ).loc["toy", "quiz", "small"]  # fmt: skip
    expected = bootstrap_interval(middle.round(9))
    assert tuple(table.loc["new", ["mean_low", "mean_high"]]) == (expected.low, expected.high)
    assert table["way"].tolist() == pytest.approx([0, 0.5, 1])


def test_one_training_takes_every_exam_of_its_field(tmp_path):
    exams = {"a": {key: [0, 1] for key in METRICS}, "b": {key: [1, 1, 1] for key in METRICS}}
    cells = load_evidence(written(tmp_path, cell("untouched", 0, [0], exams=exams)))
    assert cells[["exam", "method"]].values.tolist() == [["a", "untouched"], ["b", "untouched"]]
    assert evidence_table(cells)["mean"].tolist() == [0.5, 1]


def test_the_ladder_has_its_rungs_in_order_and_leaves_out_what_is_missing(tmp_path):
    lines = [
        cell(method, 0, [0.2, 0.4], field="medical", model=model, seconds=90,
             exams={exam: {key: [0.2, 0.4] for key in METRICS}})
        for _, exam, model, method in RUNGS[::-1]
        if method != "TSDAE"
    ]  # fmt: skip
    rungs = ladder(load_evidence(written(tmp_path, *lines)))
    assert rungs["label"].tolist() == [rung[0] for rung in RUNGS if rung[0] != "TSDAE"]
    assert rungs["labelled"].tolist() == [False] * (len(RUNGS) - 2) + [True]
    assert set(rungs["minutes"]) == {1.5}
    assert (rungs[["low", "mean", "high"]].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)


def test_every_cell_of_the_courses_own_is_one_that_the_benchmark_knows_and_can_compare():
    spec = spec_from_file_location("ladder_benchmark", ROOT / "benchmarks" / "ladder.py")
    benchmark = module_from_spec(spec)
    sys.modules[spec.name] = benchmark
    spec.loader.exec_module(benchmark)
    cells = load_evidence()
    keys = cells[["field", "exam", "model", "method", "seed"]]
    assert not keys.duplicated().any()
    for name, known in (
        ("field", benchmark.FIELDS), ("model", benchmark.MODELS),
        ("method", benchmark.METHODS), ("seed", benchmark.SEEDS),
    ):  # fmt: skip
        assert set(cells[name]) <= set(known)
    assert not evidence_table(cells)["change"].isna().any()


def test_a_method_that_gave_the_start_back_three_times_is_no_change(tmp_path):
    scores = np.random.default_rng(2).random(50).round(5)
    same = [cell("new", seed, scores) for seed in range(3)]
    row = evidence_table(load_evidence(written(tmp_path, cell("untouched", 0, scores), *same)))
    assert row.loc["toy", "quiz", "small", "new"][["change", "low", "high"]].tolist() == [0, 0, 0]
