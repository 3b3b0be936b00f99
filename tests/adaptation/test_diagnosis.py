"""What is cheapest comes first: four planted cases, each with the verdict that it was planted for."""

import json
import math
import random
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from itertools import combinations

import numpy as np
import pytest
import torch

from course_utils import KeywordIndex, compare, evaluate, fuse, load_model, load_task, search
from course_utils.adaptation import Diagnosis, PairsConfig, diagnose, train_pairs
from course_utils.adaptation.verdicts import ENOUGH, Estimate, decide
from course_utils.data import RetrievalTask, packages
from course_utils.metrics import evaluate_hits

from .toys import PAIRS, PLACES, SUBJECTS, TIMES

# A private language: whoever says "fever" means what is written "arm", and so on for 14 words.
SAID = [*SUBJECTS, *TIMES]
WRITTEN = dict(zip(SAID, [*PLACES, "the", "of", "a", "in", "at", "patient"], strict=True))


def couple(words):
    return " ".join(words), " ".join(WRITTEN[word] for word in words)


THREES = [*combinations(SAID, 3)]
LESSONS = [couple(words) for n in (2, 3) for words in combinations(SAID, n)]
ASKED = [couple(words) for words in random.Random(0).sample([*combinations(SAID, 4)], 80)]


def task_of(asked, name="private"):
    return RetrievalTask(
        name,
        {f"d{n}": document for n, (_, document) in enumerate(asked)},
        {f"q{n}": question for n, (question, _) in enumerate(asked)},
        {f"q{n}": {f"d{n}": 1} for n in range(len(asked))},
    )


PRIVATE = task_of(ASKED)
# Documents that are nothing but numbers, and what they could say.
OPAQUE = task_of(
    [(f"the patient has {what} in the {place}", f"No. {n}") for n, (what, place) in enumerate(
        (what, place) for what in SUBJECTS for place in PLACES)],
    "opaque",
)  # fmt: skip
FULLER = {
    f"d{n}": f"No. {n}. {question} at night after long walks"
    for n, question in enumerate(OPAQUE.queries.values())
}


def told(model, task, *given, **options):
    return diagnose(model, task, *given, **{"show_progress_bar": False, "steps": 4} | options)


def words(texts):
    """Encode texts as counts of their words: nothing in it can learn."""
    return np.array([[text.split().count(word) for word in [*SAID, "has"]] for text in texts]) + 0.1


@pytest.fixture(scope="module")
def learnt(folder_of_tiny):
    """The diagnosis of a model that learns the private language within its trial."""
    model, threads = load_model(folder_of_tiny, device="cpu"), torch.get_num_threads()
    torch.set_num_threads(1)  # made before the fixture that does so for each test
    try:
        return diagnose(model, PRIVATE, pairs=LESSONS, show_progress_bar=False)
    finally:
        torch.set_num_threads(threads)


def test_where_pairs_teach_what_the_model_lacks_the_verdict_is_to_train(learnt):
    assert learnt.verdict == "train"
    assert learnt.words.value == 0  # no word is shared, so nothing cheaper helps
    assert learnt.trial_gain.low > 0.1
    assert f"{learnt.trial_gain.value:+.3f}" in learnt.reason


def test_where_every_score_is_perfect_there_is_nothing_to_gain(tiny):
    same = task_of([(document, document) for _, document in ASKED])
    found = told(tiny, same, pairs=LESSONS)
    assert (found.verdict, found.plain.value, found.words.value) == ("nothing to gain", 1, 1)
    assert found.trial_gain is None


def test_where_pairs_teach_nothing_there_is_nothing_to_gain(tiny):
    documents = [document for _, document in LESSONS]
    random.Random(1).shuffle(documents)
    nonsense = [(said, told) for (said, _), told in zip(LESSONS, documents, strict=True)]
    found = told(tiny, PRIVATE, pairs=nonsense, steps=2)
    assert found.verdict == "nothing to gain"
    assert found.trial_gain.low <= 0


def test_where_fuller_texts_hold_the_words_the_verdict_is_to_index_them(tiny):
    found = told(tiny, OPAQUE, FULLER)
    assert found.verdict == "index more"
    assert found.fuller_gain.low > 0.1
    assert found.words.value == 0 < found.words_fuller.value
    assert "on top" in found.reason


def test_what_a_trial_adds_to_the_fuller_texts_is_measured_on_them_and_told(tiny):
    vague = {f"d{n}": f"in the {q.split()[-1]}" for n, q in enumerate(OPAQUE.queries.values())}
    found = told(tiny, OPAQUE, vague, pairs=LESSONS)
    fuller = replace(OPAQUE, corpus=vague)
    config = PairsConfig(max_steps=4, interpolate=None)
    result = train_pairs(tiny, LESSONS, config, show_progress_bar=False)
    assert found.verdict == "index more"
    assert found.trial_gain == estimate(evaluate(tiny, fuller), evaluate(result, fuller), "mrr@10")
    assert (
        f"on top of that, 4 steps of training change MRR@10 by {found.trial_gain.value:+.3f}"
        in (found.reason)
    )


def test_with_fewer_pairs_than_four_batches_no_trial_is_made(tiny):
    found = told(tiny, PRIVATE, pairs=LESSONS[: ENOUGH - 1])
    assert (found.verdict, found.pairs) == ("too few pairs", 4 * PairsConfig().batch_size - 1)
    assert found.trial_gain is None
    assert "383" in found.reason


def estimate(a, b, metric):
    row = compare(a, b).table.loc[metric]
    return Estimate(row["difference"], row["low"], row["high"])


def mean(evaluation, metric="mrr@10"):
    return evaluation.summary().loc[metric, ["mean", "low", "high"]].tolist()


def hits(model, task):
    """Return what words find, what the model finds, and both fused."""
    asked = list(task.queries.values())
    worded = KeywordIndex(task.corpus).search(asked, k=100)
    meant = search(model, asked, task.corpus, k=100, show_progress_bar=False)
    return worded, meant, fuse([worded, meant])


def test_every_number_of_the_table_is_that_of_evaluate_and_compare(tiny):
    found = told(tiny, OPAQUE, FULLER).table()
    fuller = replace(OPAQUE, corpus=FULLER)
    plain = evaluate(tiny, OPAQUE, k=10)
    full = evaluate(tiny, fuller, k=(10, 100), measures=("mrr", "success"))
    words_plain = evaluate_hits(hits(tiny, OPAQUE)[0], OPAQUE, name="words")
    words_full, _, fused = (evaluate_hits(one, fuller, name="a") for one in hits(tiny, fuller))
    usual = evaluate(tiny, fuller)
    gain = estimate(replace(plain, content=""), replace(usual, content=""), "mrr@10")
    beyond, low, high = mean(full, "success@100")
    expected = {
        "MRR@10: words, documents as given": mean(words_plain),
        "MRR@10: words, fuller texts": mean(words_full),
        "MRR@10: model, documents as given": mean(plain),
        "MRR@10: model, fuller texts": mean(full),
        "MRR@10: model and words fused, best index": mean(fused),
        "difference: model - words, documents as given": estimate(words_plain, plain, "mrr@10"),
        "difference: fuller texts - documents as given": gain,
        "difference: fused - model alone, best index": estimate(usual, fused, "mrr@10"),
        "share of questions answered beyond place 100, best index": (1 - beyond, 1 - high, 1 - low),
    }
    for label, numbers in expected.items():
        assert found.loc[label].tolist() == pytest.approx(list(numbers), abs=1e-12), label


def test_the_share_beyond_place_100_is_that_of_the_questions_answered_there(tiny):
    # No two documents hold the same words, so no tie stands in the way.
    task = task_of([couple(three) for three in THREES[:300]])
    late = [f"d{n}" not in {hit.id for hit in found} for n, found in enumerate(hits(tiny, task)[1])]
    assert 0 < np.mean(late) < 1
    assert told(tiny, task).beyond.value == pytest.approx(np.mean(late), abs=1e-12)


def test_the_trial_and_its_cost_are_those_of_train_pairs(tiny):
    found = told(tiny, PRIVATE, pairs=LESSONS, seed=3, general=SUBJECTS)
    config = PairsConfig(max_steps=4, interpolate=None, seed=3)
    result = train_pairs(tiny, LESSONS, config, general=SUBJECTS, show_progress_bar=False)
    assert found.trial_gain == estimate(
        evaluate(tiny, PRIVATE), evaluate(result, PRIVATE), "mrr@10"
    )
    lee = load_task("lee")
    with pytest.warns(UserWarning, match="longer than the model's limit"):
        cost = estimate(evaluate(tiny, lee), evaluate(result, lee), "spearman")
    assert found.general_change == cost


def test_an_epoch_is_estimated_from_the_pace_of_the_trial(learnt):
    steps = math.ceil(learnt.pairs / PairsConfig().batch_size)
    assert learnt.epoch_minutes == pytest.approx(learnt.seconds / 40 * steps / 60)


def test_pieces_are_counted_per_word(tiny):
    # The toy's tokenizer makes one piece of a word and one of a full stop.
    found = told(tiny, OPAQUE)
    assert found.pieces == 3 / 2
    assert found.pieces_everyday > 1


def test_pairs_that_hold_a_question_are_left_out_and_equal_ones_count_once(tiny):
    leaks = [("A title", ASKED[0][0].upper()), (ASKED[1][0], "a text")]
    assert told(tiny, PRIVATE, pairs=[*PAIRS[:9], *leaks, PAIRS[0]]).pairs == 9


def test_without_pairs_those_count_that_the_texts_contain(tiny):
    texts = {
        "d0": "Fever. The patient has a fever.",
        "d1": "Rash\nA rash of the arm.",
        "d2": "Cough. At night.",  # two words say too little
        "d3": "pain of the neck",
        "d4": f"{ASKED[4][0]}. It is what somebody asks.",
        "d5": f"{ASKED[5][0]}\nAnd so is this.",
        "elsewhere": "Numbness. It is in the hand.",
    }
    assert told(tiny, PRIVATE, texts).pairs == 4  # a question with a full stop is no question
    assert told(tiny, PRIVATE).pairs == 0


def test_an_embedder_that_cannot_be_trained_is_told_so(tiny):
    found = told(words, PRIVATE, pairs=LESSONS)
    assert found.verdict == "nothing to gain"
    assert "not a SentenceTransformer" in found.reason
    assert (found.trial_gain, found.pieces) == (None, None)
    tiny.requires_grad_(False)
    assert "no weights" in told(tiny, PRIVATE, pairs=LESSONS).reason
    assert told(words, OPAQUE, FULLER).verdict == "index more"


def test_fuller_texts_that_are_no_other_are_no_second_index(tiny):
    found = told(tiny, PRIVATE, {**PRIVATE.corpus, "elsewhere": "a text"})
    assert (found.fuller, found.fuller_gain) == (None, None)


def test_where_the_extra_is_missing_its_line_says_so_and_the_rest_works(tiny, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packages, "distribution", missing)
    found = told(tiny, PRIVATE, pairs=LESSONS)
    assert found.trial_gain is not None
    assert (found.general_change, found.pieces_everyday) == (None, None)
    assert "general similarity" in repr(found)
    assert repr(found).count("the package gensim, which is not installed. Run:") == 2


def test_a_saved_diagnosis_comes_back_whole(learnt, tmp_path):
    noted = replace(learnt, notes={"pieces": "why"}, fused_gain=Estimate(0.1, math.nan, math.nan))
    for found in (learnt, noted):
        again = Diagnosis.load(found.save(tmp_path / "diagnosis.json"))
        assert repr(again) == repr(found)
        assert again.table().equals(found.table())
        assert (again.notes, again.reason) == (found.notes, found.reason)
    written = json.loads((tmp_path / "diagnosis.json").read_text("utf-8"))
    assert written["verdict"] == "train"


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "null", '{"verdict": "train"}', '{"format": "other 1"}', "\udcff"]
)
def test_a_file_of_something_else_is_refused_by_name(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"other\.json is no saved diagnosis"):
        Diagnosis.load(path)


def test_a_file_that_lacks_a_field_is_refused_by_the_field(learnt, tmp_path):
    path = learnt.save(tmp_path / "diagnosis.json")
    content = json.loads(path.read_text("utf-8"))
    del content["beyond"]
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(ValueError, match="'beyond' is missing"):
        Diagnosis.load(path)


def test_a_write_that_fails_leaves_the_old_file(learnt, tmp_path, rename_fails):
    path = learnt.save(tmp_path / "diagnosis.json")
    before = path.read_bytes()
    rename_fails(1)
    with pytest.raises(OSError, match="gave up"):
        replace(learnt, pairs=1).save(path)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_names_and_notes_are_escaped_in_html(learnt):
    bad = "<script>alert(1)</script>"
    page = replace(
        learnt, task=bad, embedder=bad, untrainable=bad, notes={"pieces": bad}
    )._repr_html_()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 4
    assert "<table" in page


def test_a_bar_is_shown_unless_it_is_not_wanted(tiny, capfd):
    told(tiny, PRIVATE, pairs=LESSONS, show_progress_bar=None)
    shown = capfd.readouterr()
    assert "Training:" in shown.err
    assert shown.err.endswith("\r")  # and is gone in the end
    told(tiny, PRIVATE, pairs=LESSONS)
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_diagnosed_is_refused(tiny):
    with pytest.raises(TypeError, match="takes a RetrievalTask"):
        told(tiny, load_task("simlex999"))
    with pytest.raises(ValueError, match="a single question"):
        told(tiny, task_of(ASKED[:1]))
    with pytest.raises(ValueError, match="none of the 80 document ids"):
        told(tiny, PRIVATE, {"x": "a text"})
    with pytest.raises(TypeError, match=r"pairs\[1\]"):
        told(tiny, PRIVATE, pairs=[*PAIRS[:1], ("one", None)])
    with pytest.raises(ValueError, match="max_steps"):
        told(tiny, PRIVATE, steps=0)


# The rules, on numbers alone.


HALF = Estimate(0.5, 0.4, 0.6)
GAIN = Estimate(0.05, 0.01, 0.09)
UNDECIDED = Estimate(0.01, -0.03, 0.05)
NOTHING = Estimate(0.0, 0.0, 0.0)


def rule(**numbers):
    base = {
        "task": "toy", "embedder": "a model", "questions": 200, "documents": 900, "words": HALF,
        "plain": HALF, "model_gain": NOTHING, "fused": HALF, "fused_gain": NOTHING,
        "beyond": NOTHING, "pairs": 1000, "steps": 40, "trial_gain": GAIN,
    }  # fmt: skip
    return decide(Diagnosis(**base | numbers))


MORE = {"fuller": Estimate(0.6, 0.5, 0.7), "fuller_gain": Estimate(0.1, 0.05, 0.15)}
FEW = {"pairs": ENOUGH - 1, "trial_gain": None}
FIXED = {"untrainable": "It is a function.", "trial_gain": None}
DONE = {"plain": Estimate(0.98, 0.97, 0.99)}


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ({}, "train"),
        ({"general_change": Estimate(-0.02, -0.03, -0.01)}, "train"),
        ({"general_change": Estimate(-0.021, -0.03, -0.01)}, "nothing to gain"),
        ({"trial_gain": UNDECIDED}, "nothing to gain"),
        ({"trial_gain": Estimate(-0.05, -0.09, -0.01)}, "nothing to gain"),
        ({"trial_gain": Estimate(0.01, 0.0, 0.02)}, "nothing to gain"),
        (FEW, "too few pairs"),
        ({"pairs": ENOUGH}, "train"),
        (MORE, "index more"),
        (MORE | {"fuller_gain": UNDECIDED}, "train"),
        (MORE | FEW, "index more"),
        (MORE | FIXED, "index more"),
        (FEW | FIXED, "nothing to gain"),
        (DONE, "nothing to gain"),
        (DONE | MORE, "nothing to gain"),
        ({"words": DONE["plain"]}, "nothing to gain"),
        ({"plain": Estimate(0.979, 0.97, 0.99)}, "train"),
    ],
)
def test_the_first_rule_that_holds_decides(numbers, verdict):
    assert rule(**numbers)[0] == verdict


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({}, "40 steps of training change MRR@10 by +0.050 [+0.010, +0.090]"),
        (MORE, "from 0.500 to 0.600, by +0.100 [+0.050, +0.150]; on top of that, 40 steps"),
        (MORE | FIXED | {"notes": {"trial_gain": "It is fixed."}}, "not tried: It is fixed."),
        ({"trial_gain": UNDECIDED}, "a difference below 0.040 could not have been seen on 200"),
        ({"general_change": Estimate(-0.1, -0.2, 0.0)}, "general similarity by -0.100"),
        ({"words": Estimate(0.99, 0.98, 1)}, "Word search reaches MRR@10 0.990"),
        (DONE, "The model reaches MRR@10 0.980"),
        (FIXED, "It is a function."),
        (FEW, "383 pairs to train on, fewer than the 384"),
        ({"fused_gain": GAIN}, "(fuse) costs nothing and changes MRR@10 by +0.050"),
        (FEW | {"fused_gain": GAIN}, "written (generate_questions). Fusing the model's ranking"),
    ],
)
def test_the_reason_has_the_numbers(numbers, said):
    assert said in rule(**numbers)[1]


@pytest.mark.parametrize("gain", [UNDECIDED, Estimate(-0.05, -0.09, -0.01)])
def test_fusion_is_named_only_where_it_gains(gain):
    assert "Fusing" not in rule(fused_gain=gain)[1]
