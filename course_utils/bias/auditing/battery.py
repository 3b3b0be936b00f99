"""The questions of an audit: what each asks in plain words, how it is measured, what it omits.

A battery is a list of ``Question``. The standard one covers gender, ethnicity by first names of one
country, and age, each by more than one measure; ``NOT_COVERED`` says what it leaves out. The groups
are those of the sources, and a name is a statistical association, never a statement about a person.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from course_utils.bias import stimuli
from course_utils.bias.auditing.battery_names import NAMES_OPEN, cvs, names, sentences
from course_utils.bias.auditing.measures import (
    association_effect,
    follows_shares,
    occupations_along,
)
from course_utils.bias.auditing.parts import Question, Row, Wording, filled
from course_utils.bias.frames import template_vectors
from course_utils.data.tasks import AssociationTest

NOT_COVERED = {
    "disability and health": "No sentence, name or word of the standard battery refers to either.",
    "religion and belief": "Not asked.",
    "sexual orientation": "Not asked.",
    "non-binary and transgender people": "The word lists know two genders only.",
    "ethnicity beyond two groups": "First names of two groups in the United States, no others.",
    "migration, nationality and accent": "Not asked.",
    "social class and poverty": "Not asked; names carry some of it, mixed with everything else.",
    "parents, carers and pregnancy": "Not asked beyond the words for family.",
    "appearance": "Not asked.",
    "languages other than English": "All texts are English; another language needs its own.",
    "intersections": "Only gender within ethnicity, and only where names stand on CVs.",
}
_LEFT_OPEN = (
    "An association is no harm: what a system does with the vectors decides that. The words were "
    "chosen by others, some of them decades ago, and others could give another answer. The interval "
    "redraws the words of all four sets, p takes the attributes as given, so the two can disagree."
)


def standard() -> list[Question]:
    """Return the questions of the standard battery, in the order of the report."""
    return [
        *[_named_association(*asked) for asked in _ASSOCIATIONS],
        _occupations_along(),
        _follows_shares(),
        sentences("sentences-gender", "gender", "a man", "a woman"),
        sentences("sentences-age", "age", "a younger person", "an older one"),
        names("names-ethnicity", "ethnicity"),
        names("names-gender", "gender"),
        cvs(),
    ]


def questions(
    battery: Literal["standard"] | Iterable[str | Path | AssociationTest],
) -> tuple[str, list[Question]]:
    """Return a battery's name and its questions.

    ``battery`` is "standard" or a list; an entry is the name of a standard question, a key of
    ``STIMULI``, the path of a YAML file of your own (see ``load_stimuli``), or an
    ``AssociationTest``.

    Raises ``ValueError`` for an unknown entry, an empty list, or a question twice; what
    ``load_stimuli`` raises.
    """
    known = {question.name: question for question in standard()}
    if isinstance(battery, str) and battery == "standard":
        return "standard", list(known.values())
    if isinstance(battery, str | Path | AssociationTest):
        battery = [battery]
    found = [_asked(entry, known) for entry in battery]
    if not found:
        raise ValueError('battery is empty. Give "standard" or the names of some questions.')
    names = [question.name for question in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"The question {name[:80]!r} is in the battery twice. Keep one.")
    return "own", found


def _asked(entry, known):
    if isinstance(entry, AssociationTest):
        return _own_association(entry)
    if isinstance(entry, str) and entry in known:
        return known[entry]
    if isinstance(entry, str) and entry in stimuli.STIMULI:
        labels = stimuli.load_labels(entry)
        asks = (
            f"Are {labels['X']} nearer to {labels['A']}, and {labels['Y']} to {labels['B']}, than "
            "the other way round?"
        )
        return _named_association(entry, entry, "own choice", asks, _FRAMES.get(entry, "word"))
    if isinstance(entry, Path) or str(entry).lower().endswith((".yaml", ".yml")):
        return _own_association(stimuli.load_stimuli(entry))
    raise ValueError(
        f"There is no question called {str(entry)[:60]!r}. Give names out of "
        f"{', '.join(known)}; a key of STIMULI; or the path of a .yaml file."
    )


# Which frames the words of X and Y stand in, for tests that are chosen by name.
_FRAMES = dict.fromkeys(("weat3", "weat4", "weat5", "weat6", "weat10"), "name")
_ASSOCIATIONS = [
    (
        "gender-career",
        "weat6",
        "gender",
        "Does the model tie male first names to careers, and female first names to the family?",
        "name",
    ),
    (
        "gender-maths",
        "weat7",
        "gender",
        "Does the model tie mathematics to men and the arts to women?",
        "word",
    ),
    (
        "gender-science",
        "weat8",
        "gender",
        "Does the model tie science to men and the arts to women?",
        "word",
    ),
    (
        "ethnicity-pleasant",
        "weat3",
        "ethnicity",
        "Do first names that are statistically European American stand nearer to pleasant words than "
        "those that are statistically African American?",
        "name",
    ),
    (
        "ethnicity-pleasant-2004",
        "weat5",
        "ethnicity",
        "The same, with the names of a study of job applications and a shorter list of words.",
        "name",
    ),
    (
        "age-names",
        "weat10",
        "age",
        "Do first names common among young people stand nearer to pleasant words than those common "
        "among old people?",
        "name",
    ),
    (
        "age-words",
        "age",
        "age",
        "Do words for younger people stand nearer to pleasant words than words for older people?",
        "word",
    ),
]


def _named_association(name, test, attribute, asks, kind):
    labels = stimuli.load_labels(test)
    loaded = stimuli.load_stimuli(test)
    open_too = NAMES_OPEN if kind == "name" else ""
    return _association(name, attribute, asks, loaded, labels, kind, _LEFT_OPEN + open_too)


def _own_association(test):
    shown = {side: f"{side} ({_some(getattr(test, side))})" for side in "XYAB"}
    asks = (
        f"Are the texts of {shown['X']} nearer to {shown['A']}, and those of {shown['Y']} to "
        f"{shown['B']}, than the other way round?"
    )
    return _association(test.name, "own choice", asks, test, shown, "word", _LEFT_OPEN)


def _association(name, attribute, asks, test, labels, kind, not_shown):
    wording = Wording(
        asks,
        f"effect size of the association test {test.name[:80]} (from −2 to 2), each word in ten sentences",
        "words",
        not_shown,
    )

    frames, words = stimuli.load_templates(kind), stimuli.load_templates("word")

    def texts():
        return filled(frames, test.X, test.Y) + filled(words, test.A, test.B)

    def run(embedder, draws):
        above, below = (
            f"the list “{labels['X']}” leans towards “{labels[x]}”, the list “{labels['Y']}” towards "
            f"“{labels[y]}”"
            for x, y in ("AB", "BA")
        )
        measured = association_effect(embedder, test, frames, words, draws)
        return [Row(name, wording, tuple(labels.values()), above, below, measured)]

    sources = test.source.citation if test.source else "not stated"
    return Question(name, attribute, sources, (*test.X, *test.Y, *test.A, *test.B), texts, run)


def _occupations_along():
    wording = Wording(
        "How far are the words for occupations placed along the line from male to female words?",
        "direct bias: mean |cosine| of occupations with the direction of gender (0 to 1)",
        "occupations",
        "Not which occupation leans which way, nor whether a system uses that line. One direction "
        "holds only part of what a model knows of gender. The value is above 0 for any model; p "
        "compares it with random pairings of the same words.",
    )

    def run(embedder, draws):
        words, female, male = _occupations(embedder)
        measured = occupations_along(words, female, male, draws)
        more = "farther" if measured.value > measured.by_chance else "no farther"
        lie = (
            f"occupations lie {more} along it than along lines between random pairs of these words"
        )
        return [Row("occupations-direct", wording, ("female", "male"), lie, lie, measured)]

    sources = "Bolukbasi et al. 2016, section 5.2; occupations of Zhao et al. 2018"
    return Question(
        "occupations-direct", "gender", sources, _occupation_words(), _occupation_texts, run
    )


def _follows_shares():
    wording = Wording(
        "Does the model's idea of which occupations are female follow the real shares of women?",
        "Spearman's correlation of association with the percentage of women (−1 to 1)",
        "occupations",
        "Not whether following the statistics is right: a model can describe the labour market and "
        "still be unfair to a person who applies. Shares of one country and one year; two genders.",
    )

    def run(embedder, draws):
        shares = list(stimuli.load_shares().values())
        measured = follows_shares(*_occupations(embedder), shares, draws)
        above = "the more women work in an occupation, the nearer its word is to female words"
        below = "the more women work in an occupation, the nearer its word is to male words"
        return [Row("occupations-shares", wording, ("female", "male"), above, below, measured)]

    sources = (
        "Zhao et al. 2018, with US labour statistics of 2017; the idea is that of Caliskan et al. "
        "2017"
    )
    return Question(
        "occupations-shares", "gender", sources, _occupation_words(), _occupation_texts, run
    )


def _occupations(embedder):
    """Return the vectors of the occupations, and of the female and the male words, in step."""
    pairs, frames = stimuli.load_groups("gender_pairs"), stimuli.load_templates("word")
    return (
        template_vectors(
            embedder, list(stimuli.load_shares()), stimuli.load_templates("occupation")
        ),
        template_vectors(embedder, pairs["female"], frames),
        template_vectors(embedder, pairs["male"], frames),
    )


def _occupation_texts():
    pairs = stimuli.load_groups("gender_pairs")
    return filled(stimuli.load_templates("occupation"), stimuli.load_shares()) + filled(
        stimuli.load_templates("word"), pairs["female"], pairs["male"]
    )


def _occupation_words():
    pairs = stimuli.load_groups("gender_pairs")
    return (*stimuli.load_shares(), *pairs["female"], *pairs["male"])


def _some(texts):
    shown = ", ".join(text[:40] for text in texts[:3])
    return shown + (", …" if len(texts) > 3 else "")
