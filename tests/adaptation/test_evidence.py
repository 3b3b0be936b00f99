"""The table of evidence says what the cells say, and compares question by question."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from course_utils.adaptation.evidence import GENERAL, evidence_table, load_evidence
from course_utils.metrics import paired_test

ROOT = Path(__file__).parents[2]


def cell(method, seed, scores, **changes):
    general = {name: [-0.01 * (seed + 1), -0.05, 0.03] for name in GENERAL}
    return {
        "domain": "toy", "model": "small", "method": method, "seed": seed, "seconds": 10 * seed,
        "mrr@10": list(scores), "recall@10": [1.0] * len(scores), **general, **changes,
    }  # fmt: skip


def written(tmp_path, *cells):
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in cells), "utf-8")
    return path


def test_the_seeds_of_a_method_are_averaged_question_by_question_before_the_test(tmp_path):
    rng = np.random.default_rng(0)
    start, one, two = rng.random((3, 40)).round(5)
    cells = load_evidence(
        written(tmp_path, cell("untouched", 0, start), cell("new", 0, one), cell("new", 1, two))
    )
    row = evidence_table(cells).loc["toy", "small", "new"]
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
    assert table.loc["toy", "small", "b"]["change"] == pytest.approx(0.2)
    assert table.loc["toy", "small", "a"]["change"] == 0
    assert evidence_table(cells)[["change", "low", "high", "p_value"]].isna().all(axis=None)


def test_methods_measured_on_other_questions_are_not_compared(tmp_path):
    cells = load_evidence(
        written(tmp_path, cell("untouched", 0, [0.1, 0.2]), cell("b", 0, [0.2, 0.3, 0.7]))
    )
    with pytest.raises(ValueError, match="measured on 3 questions and 'untouched' on 2"):
        evidence_table(cells)


@pytest.mark.parametrize("line", ["{", "[]", '{"domain": "toy"}', "7"])
def test_a_line_that_is_no_result_is_named(tmp_path, line):
    path = written(tmp_path, cell("untouched", 0, [0.1]))
    path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")
    with pytest.raises(ValueError, match=r"results\.jsonl:2 is no result"):
        load_evidence(path)


def test_every_cell_of_the_courses_own_is_one_that_the_benchmark_knows_and_can_compare():
    spec = spec_from_file_location("adaptation_benchmark", ROOT / "benchmarks" / "adaptation.py")
    benchmark = module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    cells = load_evidence()
    keys = cells[["domain", "model", "method", "seed"]]
    assert not keys.duplicated().any()
    assert set(keys.itertuples(index=False, name=None)) <= set(benchmark.cells())
    assert not evidence_table(cells)["change"].isna().any()


def test_a_method_that_gave_the_start_back_three_times_is_no_change(tmp_path):
    scores = np.random.default_rng(2).random(50).round(5)
    same = [cell("new", seed, scores) for seed in range(3)]
    row = evidence_table(load_evidence(written(tmp_path, cell("untouched", 0, scores), *same)))
    assert row.loc["toy", "small", "new"][["change", "low", "high"]].tolist() == [0, 0, 0]
