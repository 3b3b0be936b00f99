"""The audit's questions on sentences: pairs that differ in one attribute, and names on CVs."""

from course_utils.bias import stimuli
from course_utils.bias.auditing.measures import NEUTRAL, Measured, names_apart, sentences_move
from course_utils.bias.auditing.parts import Question, Row, Wording, filled
from course_utils.bias.consequences import counterfactual_retrieval

NAMES_OPEN = " Names also carry age, class and how often they occur; no name says who bears it."
_TOP = 10


def sentences(name: str, attribute: str, one: str, other: str) -> Question:
    """Return the question how far sentences move when they are about somebody else."""
    wording = Wording(
        f"How far does a sentence move when it is about {one} in place of {other}?",
        "distance between the two sentences, by the distance that a neutral addition makes",
        "pairs of sentences",
        "Not whether the move is wrong: a model that understands the words has to move. There is no "
        "test, because no model that reads them stands at 0. Watch it from one release to the next.",
    )

    def run(embedder, draws):
        pairs = stimuli.load_counterfactuals(attribute)
        measured = sentences_move(embedder, pairs, draws)
        times = f"{measured.value:.2f} times"
        text = f"a sentence moves {times} as far as a neutral addition to it does"
        return [Row(name, wording, pairs[0].groups, text, text, measured)]

    def texts():
        pairs = stimuli.load_counterfactuals(attribute)
        sides = [pair.first for pair in pairs] + [pair.second for pair in pairs]
        return sides + [frame.replace("{}", text) for frame in NEUTRAL for text in sides]

    return Question(name, attribute, "Sentence pairs written for this course", (), texts, run)


_CONTRASTS = {
    "ethnicity": [
        ("White female", "African American female"),
        ("White male", "African American male"),
    ],
    "gender": [
        ("White female", "White male"),
        ("African American female", "African American male"),
    ],
}


def names(name: str, attribute: str) -> Question:
    """Return the question whether names of another group move a sentence farther."""
    contrasts = _CONTRASTS[attribute]
    within = "gender" if attribute == "ethnicity" else "ethnicity"
    wording = Wording(
        f"Does a sentence move farther when its name changes to one of another {attribute} (as "
        "listed) than when it changes to another name of the same?",
        f"mean distance across groups over that within, less 1, among names of one {within}",
        "names",
        "Not in which direction, nor that anybody is worse off: the model can tell the lists apart, "
        "by whatever they differ in." + NAMES_OPEN,
    )

    def run(embedder, draws):
        groups = stimuli.load_groups("first_names")
        listed = [(groups[one], groups[other]) for one, other in contrasts]
        measured = names_apart(embedder, listed, stimuli.load_templates("name"), draws)
        text = "a name from another group moves a sentence {} than one from the same group"
        labels = tuple(dict.fromkeys(label for pair in contrasts for label in pair))
        texts = text.format("farther"), text.format("less far")
        return [Row(name, wording, labels, *texts, measured)]

    sources = "Names of Bertrand and Mullainathan 2004; sentences written for this course"

    def texts():
        return filled(stimuli.load_templates("name"), _first_names())

    return Question(name, attribute, sources, _first_names(), texts, run)


_CV_OPEN = (
    "Twelve CVs and twelve adverts by one author, one list of names; real CVs hold many more hints. "
    "A cosine is not a decision. The interval redraws {}, p the names, so the two can disagree."
) + NAMES_OPEN
_CV_MEASURES = {
    "cv-score": Wording(
        "Do the same CVs fit an advert better or worse when only the first name on them changes?",
        "change of the cosine with the advert, from the mean over all groups",
        "names",
        _CV_OPEN.format("CVs"),
    ),
    "cv-rank": Wording(
        "Do the same CVs move up or down the list when only the first name on them changes?",
        "change of rank, above 0 further down, from the mean over all groups (tested by the score)",
        "names",
        _CV_OPEN.format("CVs"),
    ),
    "cv-exposure": Wording(
        f"Who gets the attention of the first {_TOP} places when all copies of the CVs compete?",
        f"share of the attention of the first {_TOP} places, less an even share",
        "names",
        _CV_OPEN.format("adverts"),
    ),
}


def cvs() -> Question:
    """Return the question what other first names on the same CVs change in a ranking."""

    def run(embedder, draws):
        names = stimuli.load_groups("first_names")
        found = counterfactual_retrieval(
            embedder,
            stimuli.load_cvs(),
            stimuli.load_adverts(),
            names,
            k=_TOP,
            n_resamples=draws.permutations,
            seed=draws.seed,
        )
        rows = [
            (name, group, *_cv_cells(name, found, group))
            for name in _CV_MEASURES
            for group in names
        ]
        return [
            Row(
                f"{name}/{group}",
                _CV_MEASURES[name],
                (group,),
                f"CVs with the names listed as {group} {above}",
                f"CVs with the names listed as {group} {below}",
                Measured(*map(float, ends), p_value, 0.0, len(names[group])),
            )
            for name, group, above, below, ends, p_value in rows
        ]

    sources = (
        "Names of Bertrand and Mullainathan 2004; CVs and adverts written for this course; exposure "
        "after Singh and Joachims 2018"
    )

    def texts():
        cvs = stimuli.load_cvs().values()
        copies = [cv.replace("{name}", name) for cv in cvs for name in _first_names()]
        return [*stimuli.load_adverts().values(), *copies]

    return Question(
        "cv-retrieval", "gender and ethnicity", sources, _first_names(), texts, run, has_roles=True
    )


def _cv_cells(name, found, group):
    """Return what to read above 0 and below, value and ends, and p of one number on CVs."""
    if name == "cv-exposure":
        row = found.exposure.loc[group]
        ends = row["excess"], row["low"], row["high"]
        return (
            "get more of the attention than an even share",
            "get less of the attention than an even share",
            ends,
            float(row["p_value"]),
        )
    row, what = found.swaps.loc[group], name.removeprefix("cv-")
    ends = row[f"{what}_change"], row[f"{what}_low"], row[f"{what}_high"]
    if what == "score":
        texts = (
            "score higher than the same CVs on average",
            "score lower than the same CVs on average",
        )
        return *texts, ends, float(row["p_value"])
    return "stand further down than on average", "stand further up than on average", ends, None


def _first_names():
    return tuple(name for listed in stimuli.load_groups("first_names").values() for name in listed)
