"""Models side by side: the same numbers as the functions that measure one thing, in one table."""

import numpy as np
import pytest

from course_utils.data import RetrievalTask, SimilarityTask
from course_utils.encoding import speed
from course_utils.metrics import choosing, compare, evaluate
from course_utils.metrics.choosing import choice_table, measure_model, measure_models


class Letters:
    """An embedder without a model: counts of some letters, a known time a text, two roles."""

    now = 0.0

    def __init__(self, letters="abcdefghijklmnopqrstuvwxyz", seconds=0.01):
        self.letters, self.seconds, self.asked = letters, seconds, []

    def encode(self, texts):
        raise AssertionError("asked without a role")

    def encode_query(self, texts):
        return self._encode("query", texts)

    def encode_document(self, texts):
        return self._encode("document", texts)

    def _encode(self, role, texts):
        self.asked += [(role, text) for text in texts]
        Letters.now += self.seconds * len(texts)
        counts = [[text.count(letter) for letter in self.letters] for text in texts]
        return np.array(counts, dtype=np.float32) + 0.01


def words(n, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 6)) for _ in range(n)]


def toy(n=40, queries=25):
    corpus = {f"d{i}": word for i, word in enumerate(words(n))}
    asked = {f"q{i}": corpus[f"d{i}"][:4] for i in range(queries)}
    return RetrievalTask("toy", corpus, asked, {f"q{i}": {f"d{i}": 1} for i in range(queries)})


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(speed.time, "perf_counter", lambda: Letters.now)


def test_the_table_says_what_evaluate_and_compare_say():
    task = toy()
    models = {"all": Letters(), "vowels": Letters("aeiou"), "first": Letters("abcdef")}
    table = measure_models(models, task)
    assert list(table.index) == list(models)
    evaluations = {n: evaluate(m, task, measures="mrr", name=n) for n, m in models.items()}
    for name, evaluation in evaluations.items():
        told = evaluation.summary().loc["mrr@10", ["mean", "low", "high"]]
        assert list(table.loc[name, ["mrr@10", "low", "high"]]) == pytest.approx(list(told))
        row = compare(evaluations["all"], evaluation).table.loc["mrr@10"]
        change = table.loc[name, ["change", "change_low", "change_high", "p_value"]]
        if name == "all":
            assert change.isna().all()
        else:
            expected = list(row[["difference", "low", "high", "p_value"]])
            assert list(change) == pytest.approx(expected)
            assert change["change"] == pytest.approx(
                table.loc[name, "mrr@10"] - table.loc["all", "mrr@10"]
            )


def test_costs_are_those_of_models_of_known_speed_and_size():
    slow = Letters(seconds=0.05)
    slow.nbytes = 3_000_000
    table = measure_models({"slow": slow, "fast": Letters("aei", seconds=0.002)}, toy())
    assert table["texts_per_s"].to_dict() == pytest.approx({"slow": 20, "fast": 500})
    assert table["latency_1_ms"].to_dict() == pytest.approx({"slow": 50, "fast": 2})
    assert table["bytes"].to_dict() == {"slow": 26 * 4, "fast": 3 * 4}
    assert table.loc["slow", "weights_mb"] == 3
    assert np.isnan(table.loc["fast", "weights_mb"])


def test_each_side_is_encoded_in_its_role_only():
    task, model = toy(), Letters()
    measure_model("m", model, task)
    asked = {role: {text for r, text in model.asked if r == role} for role in ("query", "document")}
    assert asked["query"] <= set(task.queries.values())
    assert asked["document"] <= set(task.corpus.values())


def test_a_large_corpus_is_timed_on_a_part_spread_over_it(monkeypatch):
    task = toy(1000)
    timed = []
    real = speed.measure_speed
    monkeypatch.setattr(
        speed, "measure_speed", lambda m, t, **k: timed.append(list(t)) or real(m, t, **k)
    )
    measure_model("slow", Letters(seconds=0.01), task)
    measure_model("fast", Letters(seconds=0.0001), task)
    assert [len(texts) for texts in timed] == [256, 256, 1000]
    documents = list(task.corpus.values())
    places = [documents.index(text) for text in timed[0]]
    assert places == sorted(places)
    assert places[0] < 10
    assert places[-1] > 700


def test_a_model_is_made_when_its_turn_has_come():
    made = []

    def maker(name):
        return lambda: made.append(name) or Letters()

    class Broken:
        def encode_query(self, texts):
            raise ValueError(f"made so far: {made}")

        encode = encode_document = encode_query

    with pytest.raises(ValueError, match=r"made so far: \['one'\]"):
        measure_models({"one": maker("one"), "broken": Broken, "two": maker("two")}, toy())


def letters_of(texts):
    return Letters().encode_query(texts)


def test_a_function_of_texts_is_an_embedder_and_one_of_nothing_makes_one():
    table = measure_models({"function": letters_of, "made": lambda: letters_of}, toy())
    assert table.loc["function", "mrr@10"] == table.loc["made", "mrr@10"]
    assert choosing._makes_a_model(lambda: 0)
    assert not choosing._makes_a_model(letters_of)
    assert choosing._makes_a_model(Letters)
    assert not choosing._makes_a_model(Letters())


def test_the_cache_spares_the_quality_and_never_the_clock(tmp_path):
    from course_utils import EmbeddingCache

    task, model = toy(), Letters()
    model.fingerprint = "letters of the alphabet"
    with_cache = EmbeddingCache(tmp_path / "cache")
    first = measure_model("m", model, task, cache=with_cache)
    asked_first = len(model.asked)
    again = measure_model("m", model, task, cache=with_cache)
    asked_again = len(model.asked) - asked_first
    assert asked_first - asked_again == len(set(task.corpus.values())) + len(
        set(task.queries.values())
    )
    assert again.speed == pytest.approx(first.speed, nan_ok=True)
    assert again.evaluation.scores.equals(first.evaluation.scores)


def test_an_embedder_without_a_fingerprint_is_measured_beside_a_cache(tmp_path):
    from course_utils import EmbeddingCache

    table = measure_models({"f": letters_of}, toy(), cache=EmbeddingCache(tmp_path / "cache"))
    assert 0 < table.loc["f", "mrr@10"] <= 1


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(TypeError, match="give a RetrievalTask, not a SimilarityTask"):
        measure_model("m", Letters(), SimilarityTask("s", [("a", "b"), ("a", "c")], [1, 2]))
    with pytest.raises(ValueError, match="toy has 31 different documents"):
        measure_model("m", Letters(), toy(31))
    one, other = (measure_model(str(n), Letters(), toy(queries=n)) for n in (10, 11))
    with pytest.raises(ValueError, match="toy"):
        choice_table([one, other])
