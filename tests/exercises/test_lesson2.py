"""The exercises of lesson 2 accept right answers and name what is wrong with others."""

import random

import numpy as np
import pytest
from scipy.special import log_softmax

from course_utils.exercises import check


def delete_words(sentence, rate, rng):
    words = sentence.split()
    kept = [word for word in words if rng.random() >= rate]
    return " ".join(kept or [words[rng.integers(len(words))]])


def interpolate(start, trained, alpha):
    return {name: (1 - alpha) * start[name] + alpha * trained[name] for name in start}


def in_batch_loss(first, second, temperature):
    scores = first @ second.T / temperature
    scores = scores - scores.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(scores).sum(axis=1))
    return np.mean(log_sums - np.diag(scores))


def plain(text):
    return " ".join(text.lower().split())


def without_leaks(pairs, questions):
    asked = {plain(question) for question in questions}
    return [(a, b) for a, b in pairs if plain(a) not in asked and plain(b) not in asked]


def start_score(table):
    return table.loc[table["share"] == 0, "general"].iloc[0]


def choose_share(table, most_lost):
    start = table.loc[table["share"] == 0, "general"].iloc[0]
    allowed = table[table["general"] >= start - most_lost]
    best_first = allowed.sort_values(["domain", "share"], ascending=[False, True])
    return best_first["share"].iloc[0]


SOLUTIONS = {
    "2.1": delete_words,
    "2.4": interpolate,
    "2.2": in_batch_loss,
    "2.3": without_leaks,
    "2.5": choose_share,
}


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_right_answer_is_ok_and_says_what_is_right_about_it(name):
    result = check(name, SOLUTIONS[name])
    assert result, result
    assert repr(result).startswith(f"[OK] {name}: ")


def all_draws_at_once(sentence, rate, rng):
    words = np.array(sentence.split())
    draws = rng.random(len(words))
    return " ".join(words[(draws >= rate) | (draws == draws.max())])


def first_word_at_least(sentence, rate, rng):
    words = sentence.split()
    return " ".join([word for word in words if rng.binomial(1, 1 - rate)]) or words[0]


def by_torch(first, second, temperature):
    import torch

    scores = torch.from_numpy(first) @ torch.from_numpy(second).T / temperature
    return torch.nn.functional.cross_entropy(scores, torch.arange(len(scores)))


def in_doubles(first, second, temperature):
    scores = first.astype(float) @ second.astype(float).T / temperature
    probability = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return -np.log(np.diag(probability)).mean()


def looped_leaks(pairs, questions):
    for pair in pairs:
        if not {plain(text) for text in pair} & {plain(question) for question in questions}:
            yield list(pair)


def looked_for_share(table, most_lost):
    start = start_score(table)
    best = None
    for row in table.sort_values("share").itertuples():
        if start - row.general <= most_lost and (best is None or row.domain > best.domain):
            best = row
    return best.share


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("2.1", all_draws_at_once),
        ("2.1", first_word_at_least),
        ("2.4", lambda s, t, a: {n: t[n] * a + s[n] - s[n] * a for n in t}),
        ("2.4", lambda s, t, a: {n: (s[n] + a * (t[n] - s[n])).tolist() for n in s}),
        ("2.2", by_torch),
        ("2.2", in_doubles),
        ("2.2", lambda a, b, t: -np.diag(log_softmax(a @ b.T / t, axis=1)).mean()),
        ("2.3", looped_leaks),
        ("2.5", looked_for_share),
    ],
)  # fmt: skip
def test_a_right_answer_may_be_written_another_way(name, answer):
    assert check(name, answer), check(name, answer)


@pytest.mark.parametrize("seed", range(40))
def test_independent_deletion_is_ok_whatever_the_dice(seed):
    def other_dice(sentence, rate, rng):
        # A draw from rng picks the dice, so that each seed stands for another right answer.
        return delete_words(sentence, rate, np.random.default_rng([seed, rng.integers(2**62)]))

    assert check("2.1", other_dice), check("2.1", other_dice)


def kept_words(choose, join=" ".join):
    def answer(sentence, rate, rng):
        words = sentence.split()
        return join(choose(words, rate, rng) or [words[0]])

    return answer


def fixed_number(words, rate, rng):
    number = min(round(rate * len(words)), len(words) - 1)
    gone = set(rng.choice(len(words), size=number, replace=False).tolist())
    return [word for place, word in enumerate(words) if place not in gone]


def floor_or_ceiling(words, rate, rng):
    number = min(int(rate * len(words) + rng.random()), len(words) - 1)
    number -= rng.random() < 0.3
    gone = set(rng.choice(len(words), size=max(number, 0), replace=False).tolist())
    return [word for place, word in enumerate(words) if place not in gone]


def independent(words, rate, rng):
    return [word for word in words if rng.random() >= rate]


def one_draw(words, rate, rng):
    return words if rng.random() >= rate else []


def one_draw_for_each_different_word(words, rate, rng):
    stays = {word: rng.random() >= rate for word in dict.fromkeys(words)}
    return [word for word in words if stays[word]]


def spared_from_the_start(words, rate, rng):
    spared = rng.integers(len(words))
    return [word for i, word in enumerate(words) if i == spared or rng.random() >= rate]


def front_first(words, rate, rng):
    ends = np.linspace(0.6, 1.4, len(words)) if len(words) > 1 and rate < 1 else 1
    return [w for w, r in zip(words, np.ones(len(words)) * ends * rate, strict=True) if rng.random() >= r]  # fmt: skip


def characters(sentence, rate, rng):
    return "".join(c for c in sentence if rng.random() >= rate) or sentence


def drawn_until_one_stays(sentence, rate, rng):
    while True:
        kept = independent(sentence.split(), rate, rng)
        if kept:
            return " ".join(kept)


def may_be_empty(sentence, rate, rng):
    return " ".join(independent(sentence.split(), rate, rng))


def gaps(words, rate, rng):
    return [word if rng.random() >= rate else "" for word in words]


def masks(words, rate, rng):
    return [word if rng.random() >= rate else "[MASK]" for word in words]


def whole_at_rate_one(sentence, rate, rng):
    return sentence if rate == 1 else delete_words(sentence, rate, rng)


def shuffled(words, rate, rng):
    kept = independent(words, rate, rng)
    rng.shuffle(kept)
    return kept


def loses_one_word_sentences(words, rate, rng):
    return independent(words, rate, rng) if len(words) > 1 else ["nothing"]


def in_place(start, trained, alpha):
    for name in start:
        start[name] *= 1 - alpha
        start[name] += alpha * trained[name]
    return start


def replaces_entries(start, trained, alpha):
    for name in trained:
        trained[name] = (1 - alpha) * start[name] + alpha * trained[name]
    return trained


def by_place(start, trained, alpha):
    mixed = [(1 - alpha) * s + alpha * t.reshape(s.shape) for s, t in zip(
        sorted(start.values(), key=lambda a: -a.size), sorted(trained.values(), key=lambda a: -a.size), strict=True
    )]  # fmt: skip
    return dict(zip(start, mixed, strict=True))


def first_name_only(start, trained, alpha):
    for name in start:
        return {name: (1 - alpha) * start[name] + alpha * trained[name]}


def blend(of_start, of_trained):
    def answer(start, trained, alpha):
        return {n: of_start(alpha) * start[n] + of_trained(alpha) * trained[n] for n in start}

    return answer


def probabilities(first, second, temperature, axis=1):
    return np.exp(log_softmax(first @ second.T / temperature, axis=axis))


def logs(first, second, temperature, axis=1):
    return np.diag(log_softmax(first @ second.T / temperature, axis=axis))


def naive(first, second, temperature):
    scores = np.exp(first @ second.T / temperature)
    return -np.log(np.diag(scores) / scores.sum(axis=1)).mean()


def log_of_the_quotient(first, second, temperature):
    scores = first @ second.T / temperature
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return -np.log(np.diag(scores) / scores.sum(axis=1)).mean()


def never_zero(first, second, temperature):
    return -np.log(np.diag(probabilities(first, second, temperature)) + 1e-9).mean()


def without_the_right_one(first, second, temperature):
    scores = first.astype(float) @ second.T / temperature
    others = np.where(np.eye(len(scores)), -np.inf, scores)
    return np.mean(np.logaddexp.reduce(others, axis=1) - np.diag(scores))


def leaks_by(form, *, of_questions=None, sides=(0, 1), match=any):
    def answer(pairs, questions):
        asked = {(of_questions or form)(question) for question in questions}
        return [pair for pair in pairs if not match(form(pair[side]) in asked for side in sides)]

    return answer


def removed_in_the_loop(pairs, questions):
    asked = {plain(question) for question in questions}
    for pair in pairs:
        if plain(pair[0]) in asked or plain(pair[1]) in asked:
            pairs.remove(pair)
    return pairs


def containing(pairs, questions):
    return [p for p in pairs if not any(plain(q) in plain(text) for q in questions for text in p)]


def contained(pairs, questions):
    return [p for p in pairs if not any(plain(text) in plain(q) for q in questions for text in p)]


def lowered(pairs, questions):
    return [(plain(a), plain(b)) for a, b in without_leaks(pairs, questions)]


def the_leaks(pairs, questions):
    return [pair for pair in pairs if pair not in without_leaks(pairs, questions)]


def best_of(allowed):
    def answer(table, most_lost):
        rows = table[allowed(table, most_lost)]
        return rows.sort_values(["domain", "share"], ascending=[False, True])["share"].iloc[0]

    return answer


def row_of(table, most_lost):
    return table.loc[table["share"] == choose_share(table, most_lost)].iloc[0]


def never_the_start(table, most_lost):
    trained = table[(table["share"] > 0) & (table["general"] >= start_score(table) - most_lost)]
    return trained.sort_values(["domain", "share"], ascending=[False, True])["share"].iloc[0]


def largest_of_equals(table, most_lost):
    rows = table[table["general"] >= start_score(table) - most_lost]
    return rows.sort_values(["domain", "share"])["share"].iloc[-1]


SLIPS = [
    ("2.1", kept_words(fixed_number), "exactly 6 of 10 words go in every call"),
    ("2.1", kept_words(floor_or_ceiling), "varies less than"),
    ("2.1", kept_words(lambda w, r, g: independent(w, 1 - r, g)), "probability to go, not to stay"),
    ("2.1", kept_words(lambda w, r, g: independent(w, 0.5, g)), "and 40% should. Compare draws with rate"),
    ("2.1", kept_words(lambda w, r, g: independent(w, 0.6, g)), "with rate 0.2"),
    ("2.1", kept_words(spared_from_the_start), "Spare a word only where all would go"),
    ("2.1", kept_words(lambda w, r, g: w[:1] + independent(w[1:], r, g)), "'every' never goes"),
    ("2.1", kept_words(front_first), "some places"),
    ("2.1", kept_words(one_draw), "together"),
    ("2.1", kept_words(one_draw_for_each_different_word), "both 'to'"),
    ("2.1", kept_words(shuffled), "changed places"),
    ("2.1", kept_words(lambda w, r, g: independent(w, r, g)[::-1]), "changed places"),
    ("2.1", kept_words(independent, join="".join), "run together"),
    ("2.1", kept_words(independent, join=list), "join its words again"),
    ("2.1", kept_words(gaps), "takes its space along"),
    ("2.1", kept_words(masks), "something that the sentence does not"),
    ("2.1", characters, "characters went, not words"),
    ("2.1", may_be_empty, "empty text"),
    ("2.1", lambda s, r, g: delete_words(s, r, g) if s.count(" ") > 1 else "", "empty text"),
    ("2.1", drawn_until_one_stays, "Choose the word that stays instead"),
    ("2.1", whole_at_rate_one, "with rate 1 10 words stayed"),
    ("2.1", lambda s, r, g: delete_words(s, max(r, 0.2), g), "with rate 0"),
    ("2.1", lambda s, r, g: s, "draw anew from rng"),
    ("2.1", lambda s, r, g: delete_words(s, r, np.random.default_rng(0)), "draw anew from rng"),
    ("2.1", lambda s, r, g: delete_words(s, r, np.random.default_rng()), "from nothing else"),
    ("2.1", lambda s, r, g: " ".join([w for w in s.split() if random.random() > r] or ["of"]), "from nothing else"),
    ("2.1", lambda s, r, g: 3, "return a sentence"),
    ("2.4", blend(lambda a: a, lambda a: 1 - a), "other way round"),
    ("2.4", blend(lambda a: 0.5, lambda a: 0.5), "plain average"),
    ("2.4", blend(lambda a: 0.75, lambda a: 0.25), "is right"),
    ("2.4", blend(lambda a: 1, lambda a: a), "start has to be weighed"),
    ("2.4", blend(lambda a: -a, lambda a: a), "add start to it"),
    ("2.4", blend(lambda a: 1 + a, lambda a: -a), "moves away"),
    ("2.4", lambda s, t, a: dict(s), "start itself; alpha"),
    ("2.4", lambda s, t, a: dict(t), "trained itself; alpha"),
    ("2.4", in_place, "start itself was changed"),
    ("2.4", replaces_entries, "trained itself was changed"),
    ("2.4", by_place, "look both up by the name"),
    ("2.4", first_name_only, "loses layer.1.weight, norm.bias"),
    ("2.4", lambda s, t, a: {"extra": 1, **interpolate(s, t, a)}, "['extra']"),
    ("2.4", lambda s, t, a: list(interpolate(s, t, a).values()), "return a dict"),
    ("2.4", lambda s, t, a: {n: v.mean() for n, v in interpolate(s, t, a).items()}, "shape ()"),
    ("2.4", lambda s, t, a: dict.fromkeys(s, "w"), "no array"),
    ("2.4", lambda s, t, a: {n: v + np.nan for n, v in interpolate(s, t, a).items()}, "has nan"),
    ("2.4", lambda s, t, a: {n: s[n] + t[n] for n in s}, "is right"),
    ("2.2", lambda a, b, t: in_batch_loss(a, b, 1 / t), "multiplied by the temperature"),
    ("2.2", lambda a, b, t: in_batch_loss(a, b, 1), "temperature plays no part"),
    ("2.2", lambda a, b, t: in_batch_loss(b, a, t), "down the columns"),
    ("2.2", lambda a, b, t: (in_batch_loss(a, b, t) + in_batch_loss(b, a, t)) / 2, "both directions"),
    ("2.2", lambda a, b, t: -logs(a, b, t).sum(), "sum over the rows; take their mean"),
    ("2.2", lambda a, b, t: -logs(a, b, t, axis=0).sum(), "sum down the columns"),
    ("2.2", lambda a, b, t: logs(a, b, t).mean(), "sign is missing"),
    ("2.2", lambda a, b, t: np.diag(probabilities(a, b, t)).mean(), "mean probability"),
    ("2.2", lambda a, b, t: -np.diag(probabilities(a, b, t)).mean(), "log is missing"),
    ("2.2", lambda a, b, t: -np.log(np.diag(probabilities(a, b, t)).mean()), "after the mean"),
    ("2.2", lambda a, b, t: -log_softmax(a @ b.T / t, axis=1).mean(), "only the diagonal"),
    ("2.2", lambda a, b, t: -np.diag(a @ b.T / t).mean(), "scores alone"),
    ("2.2", without_the_right_one, "the right text is missing"),
    ("2.2", lambda a, b, t: -logs(a, b, t), "6 numbers; take their mean"),
    ("2.2", lambda a, b, t: in_batch_loss(a, b, 0.2), "temperature 1.0"),
    ("2.2", naive, "Subtract each row's highest score"),
    ("2.2", log_of_the_quotient, "before its log was taken"),
    ("2.2", never_zero, "far-off texts"),
    ("2.2", lambda a, b, t: "small", "not a number"),
    ("2.3", leaks_by(plain, sides=[0]), "check both sides"),
    ("2.3", leaks_by(plain, sides=[1]), "its first text is a question"),
    ("2.3", leaks_by(plain, match=all), "an or, not an and"),
    ("2.3", leaks_by(lambda text: " ".join(text.split())), "other capitals"),
    ("2.3", leaks_by(str.lower), "spaces around it"),
    ("2.3", leaks_by(lambda text: text.lower().strip()), "wider gaps"),
    ("2.3", leaks_by(plain, of_questions=str.lower), "the question itself has extra spaces"),
    ("2.3", leaks_by(plain, of_questions=str), "no pair was dropped"),
    ("2.3", leaks_by(lambda text: text.lower().replace(" ", "")), "'login' is not 'log in'"),
    ("2.3", containing, "it only contains a question"),
    ("2.3", contained, "only a part of a question"),
    ("2.3", removed_in_the_loop, "pairs itself was changed"),
    ("2.3", lowered, "as they were"),
    ("2.3", the_leaks, "these are the leaks"),
    ("2.3", lambda p, q: without_leaks(p, q)[::-1], "not in the order"),
    ("2.3", lambda p, q: sorted(without_leaks(p, q)), "not in the order"),
    ("2.3", lambda p, q: without_leaks(p, q) * 2, "each once"),
    ("2.3", lambda p, q: [], "neither of its texts is a question"),
    ("2.3", lambda p, q: without_leaks(p, q) if q else [], "every pair stays"),
    ("2.3", lambda p, q: [a for a, b in without_leaks(p, q)], "list of pairs of texts"),
    ("2.3", lambda p, q: "ab", "list of pairs of texts"),
    ("2.3", lambda p, q: 7, "list of pairs of texts"),
    ("2.5", lambda t, m: t["share"][t["domain"].idxmax()], "at most 0.1 may be lost"),
    ("2.5", best_of(lambda t, m: t["general"] >= t["general"].max() - m), "not from the best general"),
    ("2.5", best_of(lambda t, m: t["general"] >= start_score(t) * (1 - m)), "difference of scores"),
    ("2.5", best_of(lambda t, m: t["general"] >= t["general"].iloc[0] - m), "need not be the first"),
    ("2.5", best_of(lambda t, m: t["general"] > start_score(t) - m), "at most means <="),
    ("2.5", best_of(lambda t, m: abs(t["general"] - start_score(t)) <= m), "is no loss"),
    ("2.5", lambda t, m: t[t["general"] >= start_score(t) - m]["share"].max(), "domain score of 0.65"),
    ("2.5", lambda t, m: t["share"][t["general"].idxmax()], "is within the limit too"),
    ("2.5", largest_of_equals, "of equals the smallest share"),
    ("2.5", never_the_start, "only the start itself is within the limit"),
    ("2.5", lambda t, m: row_of(t, m)["domain"], "a domain score"),
    ("2.5", lambda t, m: row_of(t, m)["general"], "a general score"),
    ("2.5", lambda t, m: row_of(t, m).name, "a row's label"),
    ("2.5", row_of, "a row or a column"),
    ("2.5", lambda t, m: t[t["general"] >= start_score(t) - m], "a row or a column"),
    ("2.5", lambda t, m: [0.1, 0.2], "2 numbers; return one share"),
    ("2.5", lambda t, m: 0.77, "a share that the table does not have"),
    ("2.5", lambda t, m: "half", "not a number"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "reason"), SLIPS)
def test_a_usual_slip_is_named(name, answer, reason):
    result = check(name, answer)
    assert not result
    assert reason in result.reason
    assert repr(result).startswith(f"[not yet] {name}: ")


class Broken:
    """An object that breaks whatever is done with it."""

    def _break(self, *arguments, **options):
        raise RuntimeError("broken")

    __repr__ = __eq__ = __array__ = __iter__ = __len__ = __bool__ = _break
    __hash__ = None


STRANGE = [
    {}, object(), [[1], [2, 3]], "x", 1j, b"", [None], float("nan"), True, np.zeros((2, 2)), [], "",
    {"layer.0.weight": 1}, [("a",)], [(1, 2)], [({}, [])], np.array([object()]), [[]], {1, 2}, iter("ab"),
]  # fmt: skip


@pytest.mark.parametrize("name", SOLUTIONS)
@pytest.mark.parametrize(
    "value", STRANGE, ids=lambda value: f"{type(value).__name__}-{value!r:.20}"
)
def test_a_strange_value_is_not_ok_and_does_not_raise(name, value):
    assert not check(name, lambda *arguments: value)


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_value_that_breaks_when_looked_at_is_not_ok_and_does_not_raise(name):
    for value in (Broken(), [Broken()], [(Broken(), Broken())]):
        assert not check(name, lambda *arguments, value=value: value)
    assert "cannot be read" in check(name, lambda *arguments: Broken()).reason
    assert not check("2.4", lambda s, t, a: dict.fromkeys(s, Broken()))


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_loop_without_end_is_stopped(name):
    def endless(*arguments):
        while True:
            pass

    assert "come to an end" in check(name, endless).reason


@pytest.mark.parametrize("name", SOLUTIONS)
def test_an_answer_that_spoils_its_arguments_does_not_raise(name):
    def spoils(*arguments):
        found = SOLUTIONS[name](*arguments)
        for argument in arguments:
            if isinstance(argument, (list, dict)):
                argument.clear()
        return found

    result = check(name, spoils)
    assert result.ok == (name not in ("2.3", "2.4"))
    assert result.ok or "itself was changed" in result.reason
