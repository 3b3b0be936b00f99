"""Documentation harvested from the installed libraries."""

import hashlib
import subprocess
import sys
import textwrap
import warnings

import pytest

from course_utils.data import load_python_docs, load_task, load_texts, python_docs
from course_utils.data.docstrings import parse_docstring


@pytest.fixture(scope="module")
def documents():
    return load_python_docs()


@pytest.fixture(scope="module")
def by_id(documents):
    return {document.id: document for document in documents}


def flat(text):
    return " ".join(text.split())


def test_a_docstring_is_taken_apart():
    doc = parse_docstring(
        textwrap.dedent(
            """
            sort(a, axis=-1)

            Return a sorted copy of an array. It is stable.

            .. versionadded:: 1.2

            Uses :func:`~numpy.argsort` and ``lexsort``::

                hidden code

            Parameters
            ----------
            a : array_like
                Array to be sorted.

            See Also
            --------
            argsort, lexsort : Indirect sorts.
            :func:`numpy.partition`
                Partial sort, not a name.

            Notes
            -----
            Return a sorted copy of an array. Many algorithms [1]_ exist.

            Examples
            --------
            >>> sort([2, 1])
            [1, 2]
            """
        )
    )
    assert doc.summary == "Return a sorted copy of an array."
    assert doc.see_also == ("argsort", "lexsort", "numpy.partition")
    assert doc.body.splitlines() == [
        "It is stable.",
        "Uses numpy.argsort and lexsort:",
        "Many algorithms exist.",
        "a : array_like Array to be sorted.",
    ]


def test_google_style_sections_and_seealso_directives_are_understood():
    doc = parse_docstring(
        """abs(input, *, out=None) -> Tensor

        Computes the absolute value.

        .. seealso:: :func:`torch.sign`

        Args:
            input (Tensor): the input.

        Example::

            >>> torch.abs(x)
        """
    )
    assert doc.summary == "Computes the absolute value."
    assert doc.see_also == ("torch.sign",)
    assert doc.body == "input (Tensor): the input."


@pytest.mark.parametrize("text", ["", "   ", "f(x)", "f(x, /)\n--\n\n"])
def test_a_docstring_that_says_nothing_has_no_summary(text):
    assert parse_docstring(text).summary == ""


def test_there_are_about_five_thousand_documents_of_six_libraries(documents, by_id):
    assert 3_500 < len(documents) < 7_000
    assert len(by_id) == len(documents)
    libraries = [document.library for document in documents]
    assert set(libraries) == {*python_docs.LIBRARIES}
    assert min(map(libraries.count, python_docs.LIBRARIES)) > 200


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("numpy.argsort", "function"),
        ("numpy.exp", "function"),
        ("scipy.stats.norm", "object"),
        ("scipy.optimize.minimize", "function"),
        ("pandas.DataFrame", "class"),
        ("pandas.DataFrame.groupby", "method"),
        ("pandas.DataFrame.shape", "property"),
        ("sklearn.cluster.KMeans", "class"),
        ("matplotlib.pyplot.plot", "function"),
        ("torch.nn.Linear", "class"),
    ],
)
def test_well_known_names_are_found_under_their_public_name(by_id, name, kind):
    assert by_id[name].kind == kind


def test_an_object_with_several_names_is_one_document(by_id):
    import numpy

    assert numpy.absolute is numpy.abs
    assert sum(name in by_id for name in ("numpy.absolute", "numpy.abs")) == 1
    texts = [(d.library, d.summary, d.body) for d in by_id.values()]
    assert len(set(texts)) == len(texts)


def test_the_summary_is_the_docstrings_own_first_sentence(by_id):
    import numpy

    for name in ("argsort", "linspace", "histogram"):
        assert by_id[f"numpy.{name}"].summary in flat(getattr(numpy, name).__doc__)


def test_no_body_contains_its_summary_and_no_marked_up_text_is_left(documents):
    for document in documents:
        assert document.summary not in flat(document.body)
        assert ">>>" not in document.body
        assert "`" not in document.body


def test_see_also_names_other_documents(documents, by_id):
    pairs = [(d.id, other) for d in documents for other in d.see_also]
    assert len(pairs) > 2_900
    assert all(other in by_id and other != query for query, other in pairs)
    assert "numpy.lexsort" in by_id["numpy.argsort"].see_also
    assert "sklearn.cluster.MiniBatchKMeans" in by_id["sklearn.cluster.KMeans"].see_also


def test_known_item_search_asks_by_summary_and_finds_bodies(by_id):
    task = load_task("python-docs")
    assert len(task.queries) > 3_500
    assert len(set(task.queries.values())) == len(task.queries)
    assert len(set(task.corpus.values())) == len(task.corpus)
    assert max(len(text.split()) for text in task.corpus.values()) == 48
    for query, judged in task.qrels.items():
        for document in judged:
            assert by_id[document].summary == task.queries[query]
            assert flat(by_id[document].body).startswith(task.corpus[document])
            assert task.queries[query] not in task.corpus[document]
    counts = task.source.counts
    assert counts["documents"] == len(by_id)
    assert len(task.corpus) + counts["left_out_as_boilerplate"] == len(by_id)


def test_the_length_of_bodies_can_be_chosen():
    task = load_task("python-docs", max_words=20)
    assert max(len(text.split()) for text in task.corpus.values()) == 20
    with pytest.raises(ValueError, match="max_words=3"):
        load_task("python-docs", max_words=3)


def test_see_also_never_searches_for_what_it_asks_with(by_id):
    task = load_task("python-docs/see-also")
    assert not set(task.queries) & set(task.corpus)
    for query, judged in task.qrels.items():
        assert set(judged) == set(by_id[query].see_also) & set(task.corpus)
        assert task.queries[query] == by_id[query].summary
    counts = task.source.counts
    assert counts["see_also_pairs"] == sum(len(d.see_also) for d in by_id.values())
    assert counts["see_also_pairs_kept"] == sum(map(len, task.qrels.values())) > 1_500


def test_the_division_keeps_the_most_pairs_where_that_can_be_counted():
    pairs = [("a", "b"), ("b", "a"), ("a", "c"), ("d", "c"), ("c", "d")]
    asked = python_docs._divide(pairs)
    assert sum(q in asked and o not in asked for q, o in pairs) == 3  # {a, d} against {b, c}


def test_the_library_is_not_written_in_the_texts_to_cluster():
    task = load_task("python-docs/library")
    assert set(task.labels) == set(python_docs.LIBRARIES)
    assert len(set(task.texts)) == len(task.texts)
    words = {word for text in task.texts for word in text.lower().replace(".", " ").split()}
    assert not words & {"numpy", "scipy", "pandas", "sklearn", "matplotlib", "torch", "pytorch"}


def test_sentences_for_adaptation_are_many_and_different():
    texts = load_texts("python-docs")
    assert len(texts) == len(set(texts)) > 30_000
    assert all(len(text.split()) >= 4 for text in texts)


def test_the_source_names_the_versions_it_was_harvested_from():
    import numpy
    import torch

    version = load_task("python-docs").source.version
    assert f"numpy {numpy.__version__}" in version
    assert f"torch {torch.__version__}" in version


def test_a_damaged_cache_is_harvested_anew(tmp_path, monkeypatch, documents):
    monkeypatch.setenv("COURSE_UTILS_CACHE", str(tmp_path))
    path = tmp_path / f"python-docs-{python_docs._cache_key()}.json"
    path.write_text('[{"id": "numpy.ar')
    assert load_python_docs() == documents
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    monkeypatch.setattr(python_docs, "harvest", None)  # what was kept is read, not harvested
    assert load_python_docs() == documents


@pytest.mark.parametrize("fault", ["no folder", "no room"])
def test_a_harvest_that_cannot_be_kept_is_given_all_the_same_with_one_warning(
    tmp_path, monkeypatch, documents, fault
):
    monkeypatch.setattr(python_docs, "_unkept", {})
    monkeypatch.setattr(python_docs, "harvest", lambda: list(documents))
    if fault == "no folder":
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("COURSE_UTILS_CACHE", str(tmp_path / "file" / "cache"))
    else:
        monkeypatch.setenv("COURSE_UTILS_CACHE", str(tmp_path))
        monkeypatch.setattr("os.replace", no_room)
    with pytest.warns(UserWarning, match=r"cannot be kept \(.*Set COURSE_UTILS_CACHE") as caught:
        assert load_python_docs() == documents
    assert len(caught) == 1
    monkeypatch.setattr(python_docs, "harvest", None)  # this process does not harvest twice
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_python_docs() == documents


def no_room(*_):
    raise OSError(28, "No space left on device")


def test_a_harvest_is_the_same_in_another_process_and_prints_nothing(documents, tmp_path):
    code = """
        import hashlib, sys
        from course_utils.data.python_docs import harvest
        documents = harvest()
        import matplotlib.pyplot
        assert not matplotlib.pyplot.get_fignums()
        open(sys.argv[1], "w").write(hashlib.sha256(repr(documents).encode()).hexdigest())
    """
    out = tmp_path / "digest"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(out)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert out.read_text() == hashlib.sha256(repr(documents).encode()).hexdigest()
