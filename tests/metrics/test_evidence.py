"""The table of searches says what the lines say, and compares question by question."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from course_utils.metrics import bootstrap_interval, holm, paired_test
from course_utils.metrics.evidence import load_search_evidence, search_table

ROOT = Path(__file__).parents[2]
OWN = ROOT / "datasets" / "search" / "evidence.jsonl"


def line(way, scores, exam="quiz", **changes):
    scores = list(scores)
    return {
        "exam": exam, "way": way, "mrr@10": scores, "recall@10": [1] * len(scores),
        "milliseconds": 0.5, "bytes": 1536, "minutes": 2, **changes,
    }  # fmt: skip


def written(tmp_path, *lines):
    path = tmp_path / "evidence.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), "utf-8")
    return path


def test_a_change_is_that_of_the_paired_test_and_p_values_are_adjusted_within_the_exam(tmp_path):
    rng = np.random.default_rng(0)
    start, one, two, elsewhere = rng.random((4, 40)).round(5)
    one = (0.7 * start + 0.3).round(5)
    lines = [
        line("MiniLM", start), line("one", one), line("two", two),
        line("MiniLM", two, exam="other"), line("one", elsewhere, exam="other"),
    ]  # fmt: skip
    table = search_table(load_search_evidence(written(tmp_path, *lines)))
    tests = {"one": paired_test(start, one), "two": paired_test(start, two)}
    adjusted = holm([test.p_value for test in tests.values()])
    for (way, test), p_value in zip(tests.items(), adjusted, strict=True):
        row = table.loc["quiz", way]
        assert tuple(row[["change", "low", "high"]]) == (test.difference, test.low, test.high)
        assert row["p_value"] == p_value
        assert row["better"] == (test.low > 0 and p_value < 0.05)
    assert table.loc["quiz", "one"]["better"]
    assert tuple(table.loc["quiz", "one"][["mean_low", "mean_high"]]) == bootstrap_interval(one)
    assert table.loc["other", "one"]["p_value"] == paired_test(two, elsewhere).p_value
    assert table.loc["quiz", "MiniLM"][["change", "low", "high"]].tolist() == [0, 0, 0]
    assert not table.loc["quiz", "MiniLM"]["better"]
    assert table.loc["quiz", "two"][["milliseconds", "bytes", "minutes"]].tolist() == [0.5, 1536, 2]


def test_another_way_can_be_the_baseline_and_a_missing_one_leaves_blanks(tmp_path):
    cells = load_search_evidence(written(tmp_path, line("a", [0.1, 0.2]), line("b", [0.2, 0.5])))
    assert search_table(cells, baseline="a").loc["quiz", "b"]["change"] == pytest.approx(0.2)
    blank = search_table(cells)
    assert blank[["change", "low", "high", "p_value"]].isna().all(axis=None)
    assert not blank["better"].any()


def test_a_metric_of_choice(tmp_path):
    cells = load_search_evidence(written(tmp_path, line("MiniLM", [0.1, 0.2])))
    assert search_table(cells, metric="recall@10")["mean"].tolist() == [1]


def test_ways_measured_on_other_questions_are_not_compared(tmp_path):
    cells = load_search_evidence(written(tmp_path, line("MiniLM", [0, 1]), line("b", [0, 1, 1])))
    with pytest.raises(ValueError, match="measured on 3 questions and 'MiniLM' on 2"):
        search_table(cells)


@pytest.mark.parametrize(
    "wrong",
    [
        "{", "[]", "7", '{"exam": "quiz"}', json.dumps(line("b", [1], bytes=None)),
        json.dumps(line("b", [1], **{"recall@10": [1, 1]})),
    ],
)  # fmt: skip
def test_a_line_that_is_no_result_is_named(tmp_path, wrong):
    path = written(tmp_path, line("MiniLM", [1]))
    path.write_text(path.read_text("utf-8") + wrong + "\n", "utf-8")
    with pytest.raises(ValueError, match=r"evidence\.jsonl:2 is no result"):
        load_search_evidence(path)


@pytest.mark.skipif(not OWN.exists(), reason="nothing was measured yet")
def test_every_line_of_the_courses_own_is_one_that_the_benchmark_knows_and_can_compare():
    spec = spec_from_file_location("opponents_benchmark", ROOT / "benchmarks" / "opponents.py")
    benchmark = module_from_spec(spec)
    sys.modules[spec.name] = benchmark
    spec.loader.exec_module(benchmark)
    cells = load_search_evidence()
    assert not cells[["exam", "way"]].duplicated().any()
    assert set(cells["exam"]) <= set(benchmark.EXAMS)
    assert set(cells["way"]) <= set(benchmark.ROWS)
    assert (cells["mrr@10"].map(len)[cells["exam"] == "python-docs"] >= 1000).all()
    assert not search_table(cells)["change"].isna().any()
