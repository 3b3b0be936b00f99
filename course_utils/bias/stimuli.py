"""What a measurement of bias starts from: word sets, names, sentence frames, sentence pairs, CVs.

The texts lie in ``datasets/bias/``; its README says which paper each list is from, what its
authors took out, and what to mind. Groups carry the labels that their sources gave them. A name is
associated with a group in statistics; it says nothing sure about the person who bears it.
"""

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from course_utils.bias.stimuli_files import read_association_file, read_yaml
from course_utils.data.packages import course_folder
from course_utils.data.tasks import AssociationTest, Source

_WEAT = (
    "Caliskan, A., Bryson, J. J. and Narayanan, A. (2017). Semantics derived automatically from "
    "language corpora contain human-like biases. Science 356(6334), 183-186, and its supplement"
)
_OURS = "Owning embeddings (2026), datasets/bias"

STIMULI = {
    "weat1": "flowers and insects; pleasant and unpleasant words",
    "weat2": "musical instruments and weapons; pleasant and unpleasant words",
    "weat3": "European American and African American names; pleasant and unpleasant words",
    "weat4": "names of a study of job applications; pleasant and unpleasant words as in weat3",
    "weat5": "the names of weat4; a shorter list of pleasant and unpleasant words",
    "weat6": "male and female names; career and family",
    "weat7": "mathematics and the arts; male and female terms",
    "weat8": "science and the arts; male and female terms",
    "weat9": "mental and physical disease; temporary and permanent",
    "weat10": "young and old people's names; pleasant and unpleasant words",
    "age": "younger and older people; pleasant and unpleasant words (terms of this course)",
}
GROUPS = {
    "first_names": "US first names: White and African American, female and male (2004)",
    "names_by_ethnicity": "first names of weat3: European American and African American",
    "names_by_gender": "first names of weat6: female and male",
    "names_by_age": "first names of weat10: of young and of old people",
    "census_names": "800 first names each that the US census of 1990 counts as female, as male",
    "occupations": "occupations done mostly by men and mostly by women in the US, 2017",
    "professions": "professions that raters found typical of men, of women or of neither (2016)",
    "gender_pairs": "ten pairs that define a direction of gender: she and he, woman and man",
    "equalise_pairs": "52 pairs that should differ in gender only: queen and king",
}
_NAMES_FROM = {
    "names_by_ethnicity": ("weat3", {"European American": "X", "African American": "Y"}),
    "names_by_gender": ("weat6", {"female": "Y", "male": "X"}),
    "names_by_age": ("weat10", {"young": "X", "old": "Y"}),
}
_ENDINGS = (".yaml", ".yml")
_TEMPLATES = ("name", "occupation", "word")
_COUNTERFACTUALS = ("gender", "age", "names")
# How many of the sentences each pair of names is put into.
_SENTENCES_A_NAME = 4

_SLOT = re.compile(r"\[([^\[\]|]+)\|([^\[\]|]+)\]")
_ARTICLE = re.compile(r"\b([Aa])n? \{\}")
# Spelling against sound: a union, a user, a European, one-off; an hour, an heir.
_SAID_WITH_CONSONANT = re.compile(
    r"uni(?![nm])|u[^aeioun][aeiou]|eu|ewe|one\b|once\b", re.IGNORECASE
)
_SILENT_H = re.compile(r"hour|honest|honou?r|heir", re.IGNORECASE)
_LETTERS_WITH_VOWEL = "AEFHILMNORSX"


@dataclass(frozen=True)
class CounterfactualPair:
    """Two sentences that differ in one attribute, ``groups[0]`` in the first, ``groups[1]`` next.

    Raises ``ValueError`` when the two are equal or one is blank.

    >>> CounterfactualPair("He sang.", "She sang.", "gender", ("male", "female")).attribute
    'gender'
    """

    first: str
    second: str
    attribute: str
    groups: tuple[str, str]

    def __post_init__(self) -> None:
        if not self.first.strip() or not self.second.strip() or self.first == self.second:
            raise ValueError(
                f"A pair for {self.attribute!r} holds {self.first[:60]!r} and {self.second[:60]!r}. "
                "Give two sentences that differ in the attribute."
            )


def load_stimuli(name_or_path: str | Path) -> AssociationTest:
    """Return an association test: a named one (a key of ``STIMULI``) or your own from a YAML file.

    A file holds ``X``, ``Y`` (targets), ``A`` and ``B`` (attributes), each a list of texts, and
    ``name`` and ``source`` if you like; it is read as data, never run. The named ones are the
    sets as used in their paper, without the names that its authors left out (``load_removed``).

    Raises ``ValueError`` for another name; ``FileNotFoundError`` for a path without a file;
    ``ValueError``, naming the file, the set and the item, for a text in two sets or twice in one,
    sets of fewer than two texts, X and Y of different sizes, anything that is not a text, overlong
    texts, hidden marks, and what a word list needs no YAML for (tags, anchors).

    >>> load_stimuli("weat6")
    AssociationTest 'weat6': X 8, Y 8, A 8, B 8
    """
    if isinstance(name_or_path, str) and name_or_path in STIMULI:
        return _named(name_or_path)
    is_path = isinstance(name_or_path, Path) or str(name_or_path).lower().endswith(_ENDINGS)
    if not is_path:
        raise _unknown("stimuli", name_or_path, STIMULI, "or the path of a .yaml file")
    own = read_association_file(name_or_path)
    sets = {side: own[side] for side in "XYAB"}
    citation = own["source"] or "not stated"
    source = Source(own["name"], "your own file", "not stated", citation, _sizes(sets))
    return AssociationTest(own["name"], **sets, source=source)


def load_labels(name: str) -> dict[str, str]:
    """Return what each set of a named test is: {"X": "flowers", "Y": "insects", ...}.

    Raises ``ValueError`` for a name that is not in ``STIMULI``.

    >>> load_labels("weat6")
    {'X': 'male names', 'Y': 'female names', 'A': 'career', 'B': 'family'}
    """
    test = _test(name)
    return {side: test[side].partition(",")[0].partition(" (")[0] for side in "XYAB"}


def load_removed(name: str) -> dict[str, list[str]]:
    """Return the names that the authors print but leave out of a test: {"X": [...], "Y": [...]}.

    Of the African American names those too rare in their corpus, of the European American ones as
    many, drawn at random (Caliskan et al. 2017, supplement). Only weat3, weat4 and weat5 have
    any. Raises ``ValueError`` for a name that is not in ``STIMULI``.

    >>> load_removed("weat4")
    {'X': ['Jay', 'Kristen'], 'Y': ['Tremayne', 'Latonya']}
    """
    return copy.deepcopy(_test(name).get("removed", {"X": [], "Y": []}))


def load_published() -> dict[str, float]:
    """Return the effect size that the paper reports for each WEAT on GloVe vectors.

    GloVe trained on 840 billion tokens of the web (Caliskan et al. 2017, Table 1), to place one's
    own result beside.

    >>> load_published()["weat1"]
    1.5
    """
    tests = _file("weat.yaml")["tests"]
    return {name: test["published"] for name, test in tests.items() if "published" in test}


def load_groups(name: str) -> dict[str, list[str]]:
    """Return the words or names of each group, by the label that the source gave the group.

    ``name`` is a key of ``GROUPS``. In gender_pairs and equalise_pairs the lists run in step:
    the i-th of one is the counterpart of the i-th of the other. Raises ``ValueError`` for another
    name.

    >>> load_groups("gender_pairs")["female"][2], load_groups("gender_pairs")["male"][2]
    ('she', 'he')
    """
    if name not in GROUPS:
        raise _unknown("groups", name, GROUPS)
    if name in _NAMES_FROM:
        test, sides = _NAMES_FROM[name]
        return {label: list(getattr(_named(test), side)) for label, side in sides.items()}
    if name == "census_names":
        return copy.deepcopy(_file("census_names.yaml"))
    groups = _file("groups.yaml")[name]["groups"]
    return {label: list(members) for label, members in groups.items()}


def load_shares() -> dict[str, float]:
    """Return the percentage of women in each of ``load_groups("occupations")``, United States.

    Zhao et al. 2018, from the survey of the US Bureau of Labor Statistics of 2017.

    >>> load_shares()["carpenter"]
    2.0
    """
    groups = _file("groups.yaml")["occupations"]["groups"]
    return {word: float(share) for shares in groups.values() for word, share in shares.items()}


def load_templates(kind: str) -> list[str]:
    """Return ten sentences with one ``{}`` each, for a "name", an "occupation" or any "word".

    Several, so that no result is one sentence's; neutral, with no pronoun of a gender. Written for
    this course, after the idea of May et al. 2019 (SEAT). Raises ``ValueError`` for another kind.

    >>> load_templates("name")[0]
    'This is {}.'
    """
    if kind not in _TEMPLATES:
        raise _unknown("templates", kind, _TEMPLATES)
    return list(_file("templates.yaml")[kind])


def fill(templates: Iterable[str], words: Iterable[str]) -> list[list[str]]:
    """Return every sentence: one list for each word, in it one sentence for each template.

    "a {}" becomes "an {}" where the word's first sound asks for it, and a word at the start of a
    sentence gets a capital. The word is put in as it stands, whatever braces it holds.

    Raises ``ValueError`` when a template has not exactly one ``{}``, when either is a single
    string, or when a word is blank.

    >>> fill(["Is there a {} here?", "{} is a word."], ["editor"])
    [['Is there an editor here?', 'Editor is a word.']]
    """
    for what, texts in (("templates", templates), ("words", words)):
        if isinstance(texts, str):
            raise ValueError(f"{what} is one string, {texts[:60]!r}. Give a list.")
    templates, words = list(templates), list(words)
    for position, template in enumerate(templates):
        if template.count("{}") != 1:
            raise ValueError(
                f"templates[{position}], {template[:60]!r}, has {template.count('{}')} "
                "placeholders. Write {} once, where the word goes."
            )
    for position, word in enumerate(words):
        if not isinstance(word, str) or not word.strip():
            raise ValueError(f"words[{position}] is {word!r}. Give a text or leave it out.")
    return [[_sentence(template, word) for template in templates] for word in words]


def load_counterfactuals(kind: str) -> list[CounterfactualPair]:
    """Return pairs of sentences that differ in "gender" (pronouns, nouns), "age" or "names".

    "names" puts first names of two groups into the same sentences, once for each contrast of
    ``first_names``: ethnicity within a gender, and gender within an ethnicity. Written for this
    course. Raises ``ValueError`` for another kind.

    >>> load_counterfactuals("gender")[0].second
    'She checked the figures twice before sending the report.'
    """
    if kind not in _COUNTERFACTUALS:
        raise _unknown("counterfactuals", kind, _COUNTERFACTUALS)
    content = _file("counterfactuals.yaml")[kind]
    if kind == "names":
        return _name_pairs(content)
    attribute, groups = content["attribute"], tuple(content["groups"])
    return [
        CounterfactualPair(_SLOT.sub(r"\1", text), _SLOT.sub(r"\2", text), attribute, groups)
        for text in content["sentences"]
    ]


def load_cvs() -> dict[str, str]:
    """Return twelve short CVs by id, each with ``{name}`` where the name goes and no other hint.

    Written for this course: no pronoun, age, year, school or place, so that what a ranking makes
    of two copies with different names comes from the name. Fill with ``str.replace``.

    >>> load_cvs()["cook"].replace("{name}", "Kim")[:34]
    'Kim. Cook in a busy staff canteen.'
    """
    return dict(_file("cvs.yaml"))


def load_adverts() -> dict[str, str]:
    """Return twelve job adverts and searches by id; ``load_relevant`` says which CVs fit.

    >>> load_adverts()["electrician"]
    'maintenance electrician, testing and inspection, fault finding, on call'
    """
    return dict(_file("adverts.yaml")["adverts"])


def load_relevant() -> dict[str, dict[str, int]]:
    """Return which CVs fit each advert, {advert: {cv: grade}}: 2 fits, 1 could do part of it.

    The shape of a ``RetrievalTask``'s qrels, with adverts as queries and CVs as documents.

    >>> load_relevant()["care-home"]
    {'carer': 2, 'nurse': 1}
    """
    return copy.deepcopy(_file("adverts.yaml")["relevant"])


@cache
def _file(name) -> dict:
    return read_yaml(course_folder("bias", name) / name)


def _test(name) -> dict:
    if name not in STIMULI:
        raise _unknown("stimuli", name, STIMULI)
    return _file("weat.yaml")["tests"][name]


def _named(name) -> AssociationTest:
    test, lists = _test(name), _file("weat.yaml")["lists"]
    sets = {side: list(lists[test[side]]) for side in "XYAB"}
    where = _OURS if name == "age" else _WEAT
    source = Source(
        STIMULI[name],
        "version 1" if name == "age" else "2017",
        "lists of words, cited",
        f"{where}. Words from: {test['words_from']}",
        _sizes(sets),
    )
    return AssociationTest(name, **sets, source=source)


def _name_pairs(content) -> list[CounterfactualPair]:
    names, sentences = load_groups("first_names"), content["sentences"]
    pairs, turn = [], 0
    for contrast in content["contrasts"]:
        groups = tuple(contrast["groups"])
        for one, other in zip(names[groups[0]], names[groups[1]], strict=True):
            for _ in range(_SENTENCES_A_NAME):
                text = sentences[turn % len(sentences)]
                first, second = text.replace("{}", one), text.replace("{}", other)
                pairs.append(CounterfactualPair(first, second, contrast["attribute"], groups))
                turn += 1
    return pairs


def _sentence(template, word) -> str:
    article = "n" if _starts_with_vowel(word) else ""
    template = _ARTICLE.sub(lambda found: f"{found[1]}{article} {{}}", template)
    if template.startswith("{}"):
        word = word[0].upper() + word[1:]
    return template.replace("{}", word)


def _starts_with_vowel(word) -> bool:
    """Return whether the word is said with a vowel first; abbreviations are spelt out."""
    first = word.split()[0]
    if first.isupper() and len(first) > 1:
        return first[0] in _LETTERS_WITH_VOWEL
    if _SILENT_H.match(word):
        return True
    return word[0].lower() in "aeiou" and not _SAID_WITH_CONSONANT.match(word)


def _sizes(sets) -> dict[str, int]:
    return {side: len(texts) for side, texts in sets.items()}


def _unknown(what, name, known, more=""):
    listed = ", ".join(known)
    return ValueError(
        f"There are no {what} called {str(name)[:60]!r}. Give one of {listed}{', ' * bool(more)}{more}."
    )
