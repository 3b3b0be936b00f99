"""The exercises of lesson 2: deletion, contrastive loss, leaks, interpolation, how far to move."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from course_utils.exercises.answers import Exercise, NotYetError, call, compare, number, show
from course_utils.exercises.lesson2_deletion import check_delete_words


def _check_interpolate(answer):
    rng = np.random.default_rng(22)
    shapes = {"layer.0.weight": (2, 3), "layer.1.weight": (2, 3), "norm.bias": (3,)}
    start = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    # The other order of names shows who pairs values by their place.
    trained = {name: start[name] + rng.normal(size=start[name].shape) for name in reversed(start)}
    for alpha in (0.25, 0.8, 0.0, 1.0):
        shown = f"interpolate(start, trained, {alpha})"
        given = [{name: array.copy() for name, array in each.items()} for each in (start, trained)]
        found = _arrays(call(answer, *given, alpha, shown=shown), start, shown)
        _compare_weights(found, start, trained, alpha, shown)
        for name, before, after in zip(("start", "trained"), (start, trained), given, strict=True):
            if list(before) != list(after) or not _same(before, after):
                raise NotYetError(
                    f"the right values, but {name} itself was changed on the way: build a new dict "
                    "of new arrays, without += or *= on what was passed."
                )
    return "each value lies alpha of the way from start to trained, and both are left as they were."


def _arrays(found, start, shown):
    if not isinstance(found, Mapping):
        raise NotYetError(f"{shown} returned {show(found)}; return a dict with the names of start.")
    lost = [name for name in start if name not in found]
    if lost:
        raise NotYetError(f"{shown} loses {', '.join(lost)}: every name has to come back.")
    if len(found) > len(start):
        extra = [name for name in found if name not in start]
        raise NotYetError(f"{shown} has names that start has not: {show(extra)}.")
    arrays = {}
    for name, array in start.items():
        try:
            arrays[name] = np.asarray(found[name], dtype=float)
        except (TypeError, ValueError):
            raise NotYetError(f"{shown}[{name!r}] is {show(found[name])}, no array.") from None
        if arrays[name].shape != array.shape:
            raise NotYetError(
                f"{shown}[{name!r}] has shape {arrays[name].shape}; {array.shape} is right."
            )
    return arrays


def _same(one, other):
    return all(
        np.shape(one[n]) == np.shape(other[n]) and np.allclose(one[n], other[n]) for n in one
    )


def _compare_weights(found, start, trained, alpha, shown):
    def mixed(of_start, of_trained):
        return {name: of_start * start[name] + of_trained * trained[name] for name in start}

    if _same(mixed(1 - alpha, alpha), found):
        return
    slips = [
        (mixed(alpha, 1 - alpha), "the other way round: at alpha = 0 it is to be start."),
        (mixed(0.5, 0.5), "that is the plain average; alpha has to play a part."),
        (mixed(1, 0), "that is start itself; alpha has to play a part."),
        (mixed(0, 1), "that is trained itself; alpha has to play a part."),
        (mixed(-alpha, alpha), "that is the step away from start; add start to it."),
        (mixed(1, alpha), "start has to be weighed too, with 1 - alpha."),
        (mixed(1 + alpha, -alpha), "it moves away from trained: the step is trained - start."),
    ]
    for value, reason in slips:
        if _same(value, found):
            raise NotYetError(f"with alpha = {alpha}: {reason}")
    right = mixed(1 - alpha, alpha)
    wrong = next(name for name in start if not np.allclose(found[name], right[name]))
    for other in set(start) - {wrong}:
        crossed = (1 - alpha) * start[wrong].ravel()[0] + alpha * trained[other].ravel()[0]
        if np.isclose(found[wrong].flat[0], crossed):
            raise NotYetError(
                f"{wrong} of start was mixed with {other} of trained: look both up by the name, "
                "for the two dicts need not have one order."
            )
    place = tuple(np.argwhere(~np.isclose(found[wrong], right[wrong]))[0].tolist())
    raise NotYetError(
        f"{shown}[{wrong!r}] has {found[wrong][place]:.4g} at {place}, and "
        f"{right[wrong][place]:.4g} is right."
    )


def _check_in_batch_loss(answer):
    rng = np.random.default_rng(23)
    first = _unit(rng.normal(size=(6, 8)))
    second = _unit(first + 0.8 * _unit(rng.normal(size=(6, 8))))
    found = _loss_found(answer, first, second, 0.2)
    compare(found, _loss(first @ second.T / 0.2), _loss_slips(first, second, 0.2), "6 pairs at 0.2")
    for temperature in (1.0, 0.05):
        found = _loss_found(answer, first[:4], second[:4], temperature)
        true = _loss(first[:4] @ second[:4].T / temperature)
        compare(found, true, [], f"4 pairs at temperature {temperature}")

    # All texts much alike: exp(cosine / 0.01) is beyond float32 everywhere.
    alike = _unit(rng.normal(size=8) + 0.1 * rng.normal(size=(5, 8)))
    others = _unit(alike + 0.1 * rng.normal(size=(5, 8)))
    found = _loss_found(answer, alike, others, 0.01)
    if not np.isfinite(found):
        raise NotYetError(
            f"at temperature 0.01 it gave {found}: exp(100) is more than float32 can hold. "
            "Subtract each row's highest score first; the quotient stays the same."
        )
    compare(found, _loss(alike @ others.T / 0.01), [], "much alike texts at temperature 0.01")

    # Wrong partners, far apart: what exp makes of the right one's score is 0 in float32.
    far = _unit(np.array([[1, 0, 0.1], [-1, 0, 0.1], [0, 1, 0.1]]))
    found = _loss_found(answer, far, far[[1, 0, 2]], 0.01)
    if not np.isfinite(found):
        raise NotYetError(
            f"at temperature 0.01, where the right text is far off, it gave {found}: the quotient "
            "became 0 before its log was taken. Take score - log(sum of exp) instead."
        )
    compare(found, _loss(far @ far[[1, 0, 2]].T / 0.01), [], "far-off texts at temperature 0.01")
    return "the right value at every temperature, and a finite one at 0.01."


def _unit(matrix):
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def _loss(scores):
    scores = scores.astype(float)
    return float(np.mean(np.logaddexp.reduce(scores, axis=1) - np.diag(scores)))


def _loss_found(answer, first, second, temperature):
    shown = f"in_batch_loss(first, second, {temperature})"
    with np.errstate(all="ignore"):
        found = call(answer, first.copy(), second.copy(), temperature, shown=shown)
    return number(found, shown, several="take their mean.")


def _loss_slips(first, second, temperature):
    cosines = (first @ second.T).astype(float)
    scores = cosines / temperature
    true, columns = _loss(scores), _loss(scores.T)
    logs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    right = np.exp(np.diag(logs))
    others = np.where(np.eye(len(scores), dtype=bool), -np.inf, scores)
    return [
        (_loss(cosines * temperature), "it is multiplied by the temperature; divide by it."),
        (_loss(cosines), "the temperature plays no part: divide the cosines by it."),
        (columns, "the softmax runs down the columns; each row of first chooses among second."),
        ((true + columns) / 2, "that is the mean of both directions; only the rows are asked for."),
        (true * len(scores), "that is the sum over the rows; take their mean."),
        (columns * len(scores), "that is a sum down the columns; take the mean over the rows."),
        (-true, "the sign is missing: the log of a probability is below 0, and a loss above."),
        (right.mean(), "that is the mean probability of the right text; take -log of each first."),
        (-right.mean(), "the log is missing: take -log of each probability, then the mean."),
        (1 - right.mean(), "the log is missing: take -log of each probability, then the mean."),
        (-np.log(right.mean()), "the log comes after the mean; take it of each row first."),
        (-logs.mean(), "that is the mean over all pairs; only the diagonal holds the right ones."),
        (-np.diag(scores).mean(), "those are scores alone; the others of the row belong below."),
        (
            np.mean(np.logaddexp.reduce(others, axis=1) - np.diag(scores)),
            "the right text is missing from the sum: it runs over all rows of second.",
        ),
    ]


_QUESTIONS = [
    "Who approves travel?", "How do I reset my badge?", "  what is   a visit? ", "Who may log in?",
]  # fmt: skip
# Each pair with the reason to give if it is kept, or None where it has to stay.
_PAIRS = [
    (("Where is the canteen?", "On the ground floor."), None),
    (("Who approves travel?", "Your manager does."), "its first text is a question: drop it."),
    (("A trip has to be approved.", "Who approves travel?"),
     "its second text is a question: check both sides."),
    (("Who approves travel?", "How do I reset my badge?"), "both its texts are questions."),
    (("how do i reset MY badge?", "At the front desk."),
     "that is a question in other capitals. Compare in lower case, questions too."),
    (("Bring your badge.", " Who approves travel?  "),
     "that is a question with spaces around it. Strip both sides of the comparison."),
    (("How do  I reset my   badge?", "At the desk."),
     'that is a question with wider gaps. " ".join(text.split()) closes them.'),
    (("what is a visit?", "A call on a customer."),
     "the question itself has extra spaces: treat questions and texts alike."),
    (("My leave is over. Who approves travel?", "Ask your manager."), None),
    (("approves travel", "signs the form"), None),
    (("Who may login?", "Everyone."), None),
]  # fmt: skip
_DROPPED_WRONGLY = {
    8: "it only contains a question. Compare whole texts, with == or a set.",
    9: "it is only a part of a question. Compare whole texts, with == or a set.",
    10: "'login' is not 'log in'. Close wide gaps to one space, but do not remove that one.",
}


def _check_without_leaks(answer):
    pairs = [pair for pair, _ in _PAIRS]
    right = [pair for pair, leak in _PAIRS if leak is None]
    given, shown = list(pairs), "without_leaks(pairs, questions)"
    kept = _pairs(call(answer, given, list(_QUESTIONS), shown=shown), shown)
    if given != pairs:
        raise NotYetError(
            "pairs itself was changed: build a new list. A loop that removes from the list it runs "
            "over skips every next pair."
        )
    for pair in kept:
        if pair not in pairs:
            raise NotYetError(
                f"it returned {show(pair)}, which is not among the pairs: return those that stay "
                "as they were, and change copies only to compare."
            )
    if kept == pairs:
        raise NotYetError(
            "no pair was dropped, and 7 hold a question. Are texts and questions in one form when "
            "you compare them?"
        )
    if kept and not set(kept) & set(right):
        raise NotYetError("these are the leaks; return the pairs without one.")
    if pairs[1] in kept and pairs[2] in kept and pairs[3] not in kept:
        raise NotYetError(
            "only pairs of two questions were dropped: one question on either side is enough, so "
            "it takes an or, not an and."
        )
    for i, (pair, leak) in enumerate(_PAIRS):
        if leak and pair in kept:
            raise NotYetError(f"{pair} was kept: {leak}")
        if not leak and pair not in kept:
            why = _DROPPED_WRONGLY.get(i, "neither of its texts is a question.")
            raise NotYetError(f"{pair} was dropped: {why}")
    if kept != right:
        raise NotYetError("the right pairs, but not in the order they came in, each once.")
    shown = "without_leaks(pairs, [])"
    if _pairs(call(answer, list(pairs), [], shown=shown), shown) != pairs:
        raise NotYetError("with no questions at all, every pair stays.")
    return "both sides are checked, capitals and spaces aside, and all else stays in its order."


def _pairs(found, shown):
    wanted = f"{shown} returned {show(found)}; return a list of pairs of texts."
    if isinstance(found, (str, Mapping)):
        raise NotYetError(wanted)
    try:
        kept = [each if isinstance(each, str) else tuple(each) for each in found]
    except TypeError:
        raise NotYetError(wanted) from None
    for pair in kept:
        if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(t, str) for t in pair):
            raise NotYetError(wanted)
    return kept


def _check_choose_share(answer):
    import pandas as pd

    # The start stands neither first nor under the label 0, and no score equals a share or a label.
    rows = [
        (0.4, 0.64, 0.69), (0.8, 0.74, 0.52), (0.0, 0.51, 0.75), (0.3, 0.61, 0.73),
        (1.0, 0.65, 0.67), (0.5, 0.67, 0.66), (0.1, 0.55, 0.81), (0.2, 0.61, 0.72),
        (0.6, 0.71, 0.625),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["share", "domain", "general"], index=range(20, 29))
    for most_lost, true in ((0.1, 0.5), (0.05, 0.2), (0.125, 0.6), (0.0, 0.1), (0.9, 0.8)):
        _compare_share(answer, table, most_lost, true, f"choose_share(table, {most_lost})")
    shown = "choose_share(table, 0.1), where only the start itself is within the limit,"
    _compare_share(answer, table.loc[[21, 22]], 0.1, 0.0, shown)
    return "the best domain score within the loss allowed, and the start where nothing else is."


def _compare_share(answer, table, most_lost, true, shown):
    found = call(answer, table.copy(), most_lost, shown=shown)
    if hasattr(found, "iloc"):
        raise NotYetError(f"{shown} returned a row or a column of the table; return one share.")
    found = number(found, shown, several="return one share.")
    if np.isclose(found, true):
        return
    for column in ("domain", "general"):
        if np.isclose(table[column], found).any():
            raise NotYetError(f"{shown} returned {found:g}, a {column} score; return its share.")
    if found in table.index:
        raise NotYetError(f"{shown} returned {found:g}, a row's label; return its share.")
    if found not in set(table["share"]):
        raise NotYetError(f"{shown} returned {found:g}, a share that the table does not have.")
    raise NotYetError(
        f"{shown} chose {found:g}{_why_not_this_share(found, true, table, most_lost)}"
    )


def _why_not_this_share(found, true, table, most_lost):
    rows = table.set_index("share")
    domain, general = rows["domain"], rows["general"]
    if domain[found] == domain[true]:
        return f", and {true:g} has the same domain score: of equals the smallest share."
    start = general[0.0]
    slips = [
        (general > start - most_lost, "a loss of exactly most_lost is allowed: at most means <=."),
        (general >= general.max() - most_lost,
         "measure the loss from the start, the row of share 0, not from the best general score."),
        (general >= start * (1 - most_lost),
         "most_lost is a difference of scores, not a part of the start's score."),
        (general >= general.iloc[0] - most_lost,
         "measure the loss from the row whose share is 0; it need not be the first row."),
        ((general - start).abs() <= most_lost, "a general score above the start's is no loss."),
    ]  # fmt: skip
    for allowed, reason in slips:
        if allowed[found] and domain[found] == domain[allowed].max():
            return f": {reason}"
    loss = start - general[found]
    if loss > most_lost:
        return (
            f", which loses {loss:.3g} of the start's general score of {start:g}; at most "
            f"{most_lost} may be lost."
        )
    return (
        f" with a domain score of {domain[found]:g}; {true:g} has {domain[true]:g} and is within "
        "the limit too."
    )


EXERCISES = {
    "2.1": Exercise(
        check_delete_words,
        (
            "Each word has a draw of its own. Is a word that draws below rate to go or to stay?",
            "[word for word in sentence.split() if rng.random() >= rate] are the words that stay.",
            "If that list is empty, put one word back, such as words[rng.integers(len(words))].",
        ),
    ),
    "2.2": Exercise(
        _check_in_batch_loss,
        (
            "first @ second.T / temperature has a row for each text of first; its right partner "
            "is on the diagonal.",
            "-log(exp(right) / sum(exp(row))) is log(sum(exp(row))) - right: no quotient, no log 0.",
            "Subtract each row's maximum, with keepdims=True, before exp; then np.diag, np.mean.",
        ),
    ),
    "2.3": Exercise(
        _check_without_leaks,
        (
            "Bring questions and texts to one form before you compare them, both in the same way.",
            '" ".join(text.lower().split()) takes out capitals and extra spaces.',
            "Put the questions into a set in that form; keep a pair if neither text is in it.",
        ),
    ),
    "2.4": Exercise(
        _check_interpolate,
        (
            "What has to come out at alpha = 0, and what at alpha = 1?",
            "Look each name up in both dicts: {name: ... for name in start}.",
            "(1 - alpha) * start[name] + alpha * trained[name] makes a new array for each name.",
        ),
    ),
    "2.5": Exercise(
        _check_choose_share,
        (
            'The start\'s score: table.loc[table["share"] == 0, "general"].iloc[0].',
            "Keep the rows whose general is at least that score minus most_lost.",
            'Sort what is left by ["domain", "share"], domain downwards, and take the first share.',
        ),
    ),
}
