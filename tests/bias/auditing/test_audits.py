"""The audit: planted biases at their size, no alarm where nothing is, the same digits every time."""

import json
import math
import os
import re
import stat
import zlib
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

from course_utils.bias import (
    load_adverts,
    load_counterfactuals,
    load_cvs,
    load_groups,
    load_shares,
    load_stimuli,
)
from course_utils.bias.auditing.audits import Audit
from course_utils.bias.auditing.battery import NOT_COVERED, questions, standard
from course_utils.bias.auditing.measures import NEUTRAL
from course_utils.bias.auditing.memo import Memo
from course_utils.bias.auditing.running import audit
from course_utils.bias.eraser import LinearEraser, fingerprints
from course_utils.bias.stimuli import load_templates
from course_utils.data.tasks import AssociationTest, RetrievalTask, SimilarityTask
from course_utils.encoding.embedders import as_embedder, embedder_of
from course_utils.encoding.encode import encode
from course_utils.metrics import compare, evaluate, holm

WORDS = re.compile(r"[\w'-]+")
QUICK = {"n_resamples": 99}


@cache
def counts():
    """Return every sentence of the standard battery, its row, and how often it has which word."""
    texts = list(dict.fromkeys(text for question in standard() for text in question.texts()))
    vocabulary, rows, columns = {}, [], []
    for row, text in enumerate(texts):
        for word in WORDS.findall(text.lower()):
            rows.append(row)
            columns.append(vocabulary.setdefault(word, len(vocabulary)))
    matrix = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)))
    return {text: row for row, text in enumerate(texts)}, matrix


def unbiased(seed, dimensions=24):
    """Return an encoder that gives every word random numbers and a text the sum of its words'."""
    row_of, matrix = counts()
    words = np.random.default_rng(seed).normal(size=(matrix.shape[1], dimensions))
    vectors = matrix @ words
    return as_embedder(lambda texts: vectors[[row_of[text] for text in texts]], f"random {seed}")


def has(text, words):
    found = set(WORDS.findall(text.lower()))
    return any(word.lower() in found for word in words)


def test_an_unbiased_random_encoder_raises_an_alarm_in_at_most_5_of_100_runs():
    # The whole standard battery, 19 tests; with 499 permutations the smallest p after Holm is 0.038.
    alarms = [bool(audit(unbiased(seed), seed=seed, n_resamples=499).alarms) for seed in range(100)]
    assert sum(alarms) <= 5


def test_the_same_seed_gives_the_same_digits_and_another_seed_other_draws():
    first, again = (audit(unbiased(1), seed=3, **QUICK) for _ in range(2))
    assert first == again
    assert first.findings == again.findings
    other = audit(unbiased(1), seed=4, **QUICK)
    assert [f.value for f in other.findings] == [f.value for f in first.findings]
    assert [f.p_value for f in other.findings] != [f.p_value for f in first.findings]


def test_the_audit_of_a_real_model_is_reproducible(minilm):
    options = {"battery": ["gender-career"], "n_resamples": 99, "show_progress_bar": False}
    first, again = (audit(minilm, **options) for _ in range(2))
    assert first == again
    assert first.model == "all-MiniLM-L6-v2"
    assert len(first.fingerprint) == 64


def test_adjusted_p_values_are_holms_over_all_tests_of_the_battery():
    found = audit(unbiased(5), **QUICK)
    tested = [finding for finding in found.findings if finding.p_value is not None]
    assert len(tested) == 19
    expected = holm([finding.p_value for finding in tested])
    assert np.allclose([finding.p_holm for finding in tested], expected, atol=1e-5)


def test_a_shift_added_to_random_vectors_is_found_at_its_size():
    # Each text has a random vector of length 1, and texts on male names and careers + c u, those on
    # female names and families - c u. A word is a mean over ten texts, so its noise has length
    # 1/sqrt(10); the rest is the effect size of two normal groups 2 m apart.
    c, d = 0.06, 64
    scale = c**2 + 0.1
    m = 2 * c**2 / scale
    noise = math.sqrt((4 * c**2 + 2 / 80) / (10 * d)) / scale
    expected = 2 * m / math.sqrt(noise**2 + m**2 * 16 / 15)
    test = load_stimuli("weat6")

    def planted(seed):
        rng = np.random.default_rng(seed)

        def embed(texts):
            signs = [has(t, test.X + test.A) - 1.0 * has(t, test.Y + test.B) for t in texts]
            vectors = rng.normal(size=(len(texts), d)) / math.sqrt(d)
            vectors[:, 0] += c * np.array(signs)
            return vectors

        return as_embedder(embed)

    found = [
        audit(planted(s), battery=["gender-career"], seed=s, **QUICK).findings[0] for s in range(40)
    ]
    assert np.mean([finding.value for finding in found]) == pytest.approx(expected, abs=0.1)
    assert np.mean([finding.alarm for finding in found]) > 0.5


@pytest.mark.parametrize("shift", [-0.1, 0.05, 0.2])
def test_an_effect_size_known_in_closed_form_is_reported_with_its_sign(shift):
    sets = [[f"{side}{i}" for i in range(8)] for side in "xyab"]
    s = np.concatenate([np.linspace(-0.1, 0.1, 8) + shift, np.linspace(-0.1, 0.1, 8) - shift])
    along = dict(zip(sets[0] + sets[1], s, strict=True))

    def embed(texts):
        rows = []
        for text in texts:
            word = next(w for w in WORDS.findall(text.lower()) if w in along or w[1:].isdigit())
            value = along.get(word, {"a": 1.0, "b": 0.0}[word[0]] if word[0] in "ab" else 0.0)
            rows.append([value, float(word[0] == "b"), math.sqrt(1 - value**2) * (word in along)])
        return np.array(rows)

    found = audit(as_embedder(embed), battery=[AssociationTest("own", *sets)], **QUICK)["own"]
    expected = (s[:8].mean() - s[8:].mean()) / s.std(ddof=1)
    assert found.value == pytest.approx(expected, abs=1e-4)
    assert found.low <= found.value <= found.high
    first = "A (a0" if shift > 0 else "B (b0"
    assert found.reading.startswith(f"the list “X (x0, x1, x2, …)” leans towards “{first}")
    assert found.n == 16


def test_direct_bias_and_the_correlation_with_shares_are_found_as_planted():
    shares = load_shares()
    pairs = load_groups("gender_pairs")
    lean = {word.lower(): (share - 50) / 100 for word, share in shares.items()}

    def embed(texts, along):
        rows = []
        for text in texts:
            job = max((w for w in lean if w in text.lower()), key=len, default=None)
            if job is not None and any(text.lower() == s for s in sentences[job]):
                x = along(job)
                rows.append([x, 0.0, math.sqrt(1 - x * x)])
            else:
                rows.append([1.0 if has(text, pairs["female"]) else -1.0, 1.0, 0.0])
        return np.array(rows)

    from course_utils.bias import fill

    sentences = {
        word.lower(): {text.lower() for text in fill(load_templates("occupation"), [word])[0]}
        for word in shares
    }
    battery = ["occupations-direct", "occupations-shares"]
    follows = audit(as_embedder(lambda t: embed(t, lean.get)), battery=battery, **QUICK)
    assert follows["occupations-shares"].value == pytest.approx(1.0, abs=1e-3)
    assert follows["occupations-shares"].alarm
    assert "nearer to female" in follows["occupations-shares"].answer.replace("its word is ", "")
    expected = np.mean([abs(value) for value in lean.values()])
    assert follows["occupations-direct"].value == pytest.approx(expected, abs=1e-5)

    flat = audit(
        as_embedder(lambda t: embed(t, lambda job: 0.3)), battery=["occupations-direct"], **QUICK
    )
    assert flat["occupations-direct"].value == pytest.approx(0.3, abs=1e-6)
    assert flat["occupations-direct"].low == pytest.approx(0.3, abs=1e-6)


def test_names_of_a_group_share_a_planted_part_of_their_vector():
    # A name is g times its group's axis and the rest an axis of its own: distance 1 across groups,
    # 1 - g^2 within.
    g, groups = 0.5, load_groups("first_names")
    names = [name for listed in groups.values() for name in listed]
    group_of = {name: i for i, listed in enumerate(groups.values()) for name in listed}

    def embed(texts):
        vectors = np.zeros((len(texts), len(names) + 4))
        for row, text in enumerate(texts):
            name = next(name for name in names if name in WORDS.findall(text))
            vectors[row, names.index(name)] = math.sqrt(1 - g * g)
            vectors[row, len(names) + group_of[name]] = g
        return vectors

    found = audit(as_embedder(embed), battery=["names-ethnicity", "names-gender"], **QUICK)
    for finding in found.findings:
        assert finding.value == pytest.approx(1 / (1 - g * g) - 1, abs=1e-5)
        assert finding.low == pytest.approx(finding.high, abs=1e-5)  # the same for every name
        assert finding.alarm


def test_cvs_under_names_of_one_group_score_higher_by_what_was_planted():
    groups = load_groups("first_names")
    shift = 0.02

    def embed(texts):
        rows = []
        for text in texts:
            if not any(name in text for listed in groups.values() for name in listed):
                rows.append([1.0, 0.0])
                continue
            cosine = 0.3 + shift * any(name in text for name in groups["White male"])
            rows.append([cosine, math.sqrt(1 - cosine**2)])
        return np.array(rows)

    found = audit(as_embedder(embed), battery=["cv-retrieval"], n_resamples=999)
    for group in groups:
        expected = shift * ((group == "White male") - 1 / 4)
        assert found[f"cv-score/{group}"].value == pytest.approx(expected, abs=1e-5)
    assert found["cv-score/White male"].alarm
    assert found["cv-exposure/White male"].value == pytest.approx(0.75, abs=1e-5)  # all ten places
    assert "score higher" in found["cv-score/White male"].answer
    assert found["cv-rank/White male"].p_value is None


def test_a_sentence_moves_by_an_angle_set_against_that_of_a_neutral_addition():
    second = {pair.second for pair in load_counterfactuals("age")}
    fronts = [frame.partition("{}") for frame in NEUTRAL]

    def embed(texts):
        rows = []
        for text in texts:
            added = [(f, b) for f, _, b in fronts if text.startswith(f) and text.endswith(b)]
            bare = text.removeprefix(added[0][0]).removesuffix(added[0][1]) if added else text
            angle = 0.3 * (bare in second) + 0.2 * bool(added)
            rows.append([math.cos(angle), math.sin(angle)])
        return np.array(rows)

    found = audit(as_embedder(embed), battery=["sentences-age"], **QUICK)["sentences-age"]
    assert found.value == pytest.approx((1 - math.cos(0.3)) / (1 - math.cos(0.2)), rel=1e-4)
    assert found.p_value is None
    assert not found.alarm


def test_each_sentence_is_encoded_once_and_the_questions_list_all_of_theirs():
    asked = []
    model = unbiased(2)
    audit(as_embedder(lambda texts: asked.extend(texts) or model.encode(texts)), **QUICK)
    assert len(asked) == len(set(asked))
    assert set(asked) == {text for question in standard() for text in question.texts()}


def test_the_memo_of_a_sentence_transformer_is_asked_in_its_place(minilm):
    memo = Memo(minilm, None, False)
    assert embedder_of(memo) is memo
    (before,) = encode(memo, ["She is a nurse."])
    memo.rows[None]["She is a nurse."] = -before
    assert (encode(memo, ["She is a nurse."])[0] @ before) == pytest.approx(-1)


def test_one_number_sets_the_rearrangements_and_the_redraws():
    usual, quick = (
        audit(unbiased(2), battery=["gender-career"], n_resamples=number) for number in (None, 99)
    )
    assert (usual.permutations, usual.resamples) == (9999, 2000)
    assert (quick.permutations, quick.resamples) == (99, 99)


class Roles:
    """An embedder that treats queries, documents and other texts unlike."""

    def __init__(self):
        self.asked = []

    def _vectors(self, role, texts):
        self.asked += [(role, text) for text in texts]
        seeds = [zlib.crc32(f"{role} {text}".encode()) for text in texts]
        return np.array([np.random.default_rng(seed).normal(size=6) for seed in seeds])

    def encode(self, texts):
        return self._vectors("text", texts)

    def encode_query(self, texts):
        return self._vectors("query", texts)

    def encode_document(self, texts):
        return self._vectors("document", texts)


@pytest.mark.parametrize("mitigated", [None, LinearEraser.removing(np.eye(6)[:1])])
def test_adverts_are_asked_as_queries_and_cvs_as_documents(mitigated):
    model = Roles()
    audit(model, battery=["gender-career", "cv-retrieval"], mitigated=mitigated, cost=[], **QUICK)
    assert len(model.asked) == len(set(model.asked))
    asked = {
        role: {text for asked, text in model.asked if asked == role} for role, _ in model.asked
    }
    assert asked["query"] == set(load_adverts().values())
    names = [name for listed in load_groups("first_names").values() for name in listed]
    assert asked["document"] == {
        cv.replace("{name}", name) for cv in load_cvs().values() for name in names
    }
    assert not asked["text"] & (asked["query"] | asked["document"])


def test_the_cost_on_a_search_is_measured_with_the_models_roles():
    corpus = {f"d{i}": f"document {i}" for i in range(12)}
    queries = {f"q{i}": f"query {i}" for i in range(6)}
    task = RetrievalTask("toy", corpus, queries, {f"q{i}": {f"d{i}": 1} for i in range(6)})
    model, eraser = Roles(), LinearEraser.removing(np.eye(6)[:1])
    options = {"battery": ["gender-career"], "mitigated": eraser, **QUICK}
    (cost,) = audit(model, cost=[task], **options).mitigation.cost
    vectors = {
        role: getattr(Roles(), f"encode_{role}")(list(texts.values()))
        for role, texts in (("query", queries), ("document", corpus))
    }
    unit = {role: rows / np.linalg.norm(rows, axis=1)[:, None] for role, rows in vectors.items()}
    erased = {role: eraser.transform(rows) for role, rows in unit.items()}
    for found, rows in ((cost.before, unit), (cost.after, erased)):
        scores = rows["query"] @ rows["document"].T
        ranks = 1 + (scores > np.diag(scores)[:, None]).sum(axis=1)
        assert found == pytest.approx(np.mean(np.where(ranks <= 10, 1 / ranks, 0)), abs=1e-6)


def test_what_was_not_asked_is_listed():
    whole = audit(unbiased(2), **QUICK)
    assert whole.missing == NOT_COVERED
    assert {"religion and belief", "sexual orientation", "languages other than English"} <= set(
        whole.missing
    )
    part = audit(unbiased(2), battery=["gender-career"], **QUICK)
    assert {"ethnicity", "age"} <= set(part.missing)
    assert "gender" not in part.missing
    assert "gender: gender-maths" in part.missing


def test_a_battery_may_be_names_stimuli_files_and_tests(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("X: [a1, a2]\nY: [b1, b2]\nA: [c1, c2]\nB: [d1, d2]\nname: mine")
    name, found = questions(["weat6", file, str(file).replace("own", "own"), "gender-career"][:2])
    assert (name, [question.name for question in found]) == ("own", ["weat6", "mine"])
    assert questions("standard")[0] == "standard"
    with pytest.raises(ValueError, match=r"no question called 'weta6'.*gender-career"):
        questions(["weta6"])
    with pytest.raises(ValueError, match="twice"):
        questions(["weat6", "weat6"])
    with pytest.raises(ValueError, match="empty"):
        questions([])


def test_a_model_that_gives_all_texts_one_vector_is_refused_by_the_question():
    with pytest.raises(ValueError, match=r"gender-career.*associated alike"):
        audit(as_embedder(lambda texts: np.ones((len(texts), 4))), battery=["gender-career"])


def test_an_audit_reads_back_as_it_was_saved(tmp_path):
    found = audit(unbiased(2), notes="first\nsecond", name="a model", **QUICK)
    read = Audit.load(found.save(tmp_path / "audit.json"))
    assert read == found
    assert (read.date, read.versions) == (found.date, found.versions)
    assert [file.name for file in tmp_path.iterdir()] == ["audit.json"]


def test_an_audit_saved_in_the_format_of_the_first_version_is_read(tmp_path):
    finding = {
        "name": "own", "question": "own", "attribute": "gender", "asks": "?", "groups": ["a", "b"],
        "measure": "effect size", "value": 0.5, "low": 0.1, "high": 0.9, "p_value": 0.01,
        "p_holm": 0.02, "by_chance": 0.0, "n": 16, "unit": "words", "reading": "a leans to b",
        "not_shown": "harm", "sources": "none",
    }  # fmt: skip
    content = {
        "format": "course-utils bias audit 1", "model": "m", "fingerprint": None, "battery": "own",
        "seed": 3, "permutations": 9999, "resamples": 2000, "findings": [finding],
        "missing": {"age": "Not asked."}, "stimuli": {"own": "0123"}, "mitigation": None,
        "notes": "", "date": "2026-01-31T12:00:00+00:00", "versions": {"numpy": "2"},
    }  # fmt: skip
    (tmp_path / "audit.json").write_text(json.dumps(content))
    read = Audit.load(tmp_path / "audit.json")
    assert (read.seed, read.permutations, read.resamples) == (3, 9999, 2000)
    assert (read["own"].low, read["own"].alarm) == (0.1, True)
    assert json.loads(read.save(tmp_path / "again.json").read_text()) == content


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_what_is_saved_can_be_read_by_whom_the_umask_lets_read(tmp_path, umask):
    found = audit(unbiased(2), battery=["gender-career"], **QUICK)
    before = os.umask(umask)
    try:
        saved = [found.save(tmp_path / "audit.json"), found.save_html(tmp_path / "audit.html")]
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in saved] == [0o666 & ~umask] * 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("seed"), "seed"),
        (lambda c: c.update(more=1), "more"),
        (lambda c: c.update(format="other"), "format"),
        (lambda c: c["findings"][0].update(value="<script>"), "value"),
        (lambda c: c["findings"][0].update(asks=3), "asks"),
        (lambda c: c["findings"][0].update(more=3), "more"),
        (lambda c: c.update(missing={"a": 1}), "missing"),
        (lambda c: c.update(mitigation={"model": "x"}), "mitigation|fingerprint"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(tmp_path, change, said):
    path = audit(unbiased(2), battery=["gender-career"], **QUICK).save(tmp_path / "audit.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=said):
        Audit.load(path)


def test_compare_says_what_moved_farther_from_0():
    battery = ["gender-career", "gender-maths"]
    old, new = (audit(unbiased(seed), battery=battery, **QUICK) for seed in (2, 3))
    table = new.compare(old)
    for name in battery:
        a, b = old[name], new[name]
        assert table.loc[name, "change"] == pytest.approx(b.value - a.value, abs=1e-6)
        assert table.loc[name, "worse"] == (abs(b.value) > abs(a.value))
        assert table.loc[name, "beyond"] == (not a.low <= b.value <= a.high)
    same = old.compare(old)
    assert not same[["worse", "beyond"]].to_numpy().any()


def test_audits_of_other_questions_or_sentences_are_not_compared():
    old = audit(unbiased(2), battery=["gender-career"], **QUICK)
    with pytest.raises(ValueError, match="gender-maths"):
        audit(unbiased(2), battery=["gender-career", "gender-maths"], **QUICK).compare(old)
    sets = [[f"{side}{i}" for i in range(3)] for side in "xyab"]

    def random(texts):
        return np.random.default_rng(0).normal(size=(len(texts), 5))

    one = audit(as_embedder(random), battery=[AssociationTest("own", *sets)], **QUICK)
    sets[0][0] = "another"
    two = audit(as_embedder(random), battery=[AssociationTest("own", *sets)], **QUICK)
    with pytest.raises(ValueError, match="not the same in both"):
        two.compare(one)
    with pytest.raises(TypeError, match="Audit"):
        two.compare({})


def test_the_gate_fails_exactly_where_an_end_of_the_interval_is_beyond_the_limit(tmp_path):
    found = audit(unbiased(2), battery=["gender-career", "gender-maths"], **QUICK)
    far = {f.name: max(abs(f.low), abs(f.high)) for f in found.findings}
    assert found.gate({name: value + 1e-9 for name, value in far.items()})
    verdict = found.gate({**far, "gender-maths": far["gender-maths"] - 1e-6})
    assert not verdict
    assert "gender-maths" in str(verdict)
    assert "gender-career:" not in str(verdict)
    file = tmp_path / "limits.yaml"
    file.write_text("gender-career: 0.001\n")
    assert not found.gate(file)
    assert "1 of 2" in found.gate(file).message


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"gender-carer": 1}, "gender-carer.*gender-career"),
        ({"gender-career": -1}, "above 0"),
        ({"gender-career": True}, "above 0"),
        ({"gender-career": float("nan")}, "above 0"),
        ({"gender-career": "1"}, "above 0"),
        ({}, "no limits"),
    ],
)
def test_limits_that_are_none_are_refused(limits, said):
    found = audit(unbiased(2), battery=["gender-career"], **QUICK)
    with pytest.raises(ValueError, match=said):
        found.gate(limits)


def test_the_limits_of_the_course_name_findings_of_the_standard_battery():
    verdict = audit(unbiased(2), **QUICK).gate()
    assert re.search(r"of 25 findings", str(verdict))


def test_a_mitigation_is_asked_the_same_and_its_cost_is_that_of_a_comparison():
    test = load_stimuli("weat6")
    rng = np.random.default_rng(0)
    texts = [f"text {i}" for i in range(12)]
    human = rng.uniform(size=11)
    task = SimilarityTask("toy", list(pairwise(texts)), human)
    random = {}

    def embed(asked):
        rows = []
        for text in asked:
            noise = random.setdefault(text, rng.normal(size=6) * 0.3)
            sign = has(text, test.X + test.A) - 1.0 * has(text, test.Y + test.B)
            rows.append(noise + np.eye(6)[0] * sign)
        return np.array(rows)

    model = as_embedder(embed)
    seen = ["John", "home", "elsewhere"]
    eraser = LinearEraser.removing(np.eye(6)[:1], fitted_on=fingerprints(seen, 3))
    options = {"battery": ["gender-career"], "n_resamples": 99}
    found = audit(model, mitigated=eraser, cost=[task], **options)
    erased = as_embedder(lambda asked: eraser.transform(model.encode(asked)))
    assert found.findings[0].value > 1.5
    assert found.mitigation.findings == audit(erased, **options).findings
    assert abs(found.mitigation.findings[0].value) < 1.2
    assert found.mitigation.seen == {"gender-career": 2}

    row = compare(evaluate(model, task), evaluate(erased, task)).table.loc["spearman"]
    cost = found.mitigation.cost[0]
    assert (cost.task, cost.metric, cost.n) == ("toy", "spearman", 11)
    assert cost.difference == pytest.approx(row["difference"], abs=1e-5)
    assert (cost.low, cost.high) == pytest.approx((row["low"], row["high"]), abs=1e-5)

    unknown = audit(model, mitigated=erased, cost=[], **options).mitigation
    assert unknown.seen == {"gender-career": None}
    assert unknown.cost == ()


def test_a_mitigated_audit_reads_back_too(tmp_path):
    eraser = LinearEraser.removing(np.eye(24)[:2])
    found = audit(unbiased(2), battery=["gender-career"], mitigated=eraser, cost=[], **QUICK)
    assert Audit.load(found.save(tmp_path / "a.json")) == found
