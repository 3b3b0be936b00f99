"""Lesson 1's boxes "The same in sentence-transformers", and its appendix's, do the same as they stand."""

import numpy as np
import pytest

from course_utils import build_index, encode, load_model, search
from course_utils.retrieval import quantize, rerank, train_cross_encoder, truncate
from tests.lessons import NOTEBOOKS, bound, boxes, names_of

LESSON = NOTEBOOKS / "01_sentence_transformers.ipynb"
APPENDIX = NOTEBOOKS / "appendices" / "1_fast_and_large.ipynb"
# Where a box is, and the name without which it would be another one.
ABOUT = {
    "encode": (LESSON, "model.similarity"),
    "search": (LESSON, "semantic_search"),
    "smaller": (LESSON, "quantize_embeddings"),
    "second look": (LESSON, "CrossEncoder"),
    "bfloat16": (APPENDIX, "torch.bfloat16"),
    "static": (APPENDIX, "StaticEmbedding.from_distillation"),
}


def box(name):
    """Return the code of the one box that is about that."""
    path, about = ABOUT[name]
    (code,) = [code for code in boxes(path) if about in code]
    return code


@pytest.fixture(scope="module")
def lesson():
    """What the lesson has when it comes to the boxes, only less of it."""
    from course_utils.data import load_python_docs

    model = load_model(device="cpu")
    docs = load_python_docs()[::20]
    corpus = {doc.id: f"{doc.id}: {doc.summary}" for doc in docs}
    documents = list(corpus.values())
    reader = train_cross_encoder(
        model, [(doc.summary, doc.id) for doc in docs[:20]], steps=1, show_progress_bar=False
    )
    return {
        "model": model,
        "sentences": ["How do I sort an array?", "The soup needs more salt."],
        "corpus": corpus,
        "documents": documents,
        "document_matrix": encode(model, documents),
        "vectors": encode(model, documents),
        "cross_encoder": reader,
    }


@pytest.fixture
def after(lesson):
    def run(name):
        namespace = dict(lesson)
        exec(box(name), namespace)  # noqa: S102 - our own code, from our own lesson
        return namespace

    return run


def test_every_box_of_the_lesson_is_run_here_and_is_short():
    assert len(boxes(LESSON)) + len(boxes(APPENDIX)) == len(ABOUT)
    for name in ABOUT:
        assert len(box(name).splitlines()) <= 10


@pytest.mark.parametrize("name", ABOUT)
def test_a_box_takes_no_name_from_the_lesson(name):
    assert not names_of(ABOUT[name][0]) & bound(box(name))


def test_encode_gives_the_vectors_and_cosines_of_the_course(after, lesson):
    done = after("encode")
    ours = encode(lesson["model"], lesson["sentences"])
    assert np.allclose(done["plain"], ours, atol=1e-5)
    assert np.allclose(done["similarities"].cpu(), ours @ ours.T, atol=1e-5)


def test_semantic_search_finds_what_search_finds(after, lesson, capsys):
    done = after("search")
    some = done["some_lines"]
    index = build_index(lesson["model"], some)
    hits = search(lesson["model"], "solve a linear system", index, k=3)
    assert capsys.readouterr().out.splitlines() == [f"{hit.score:.2f}  {hit.text}" for hit in hits]


def test_the_library_cuts_and_quantises_as_the_course_does(after, lesson):
    done = after("smaller")
    some = lesson["document_matrix"][:100]
    assert np.allclose(done["fewer"], truncate(some, 128), atol=1e-5)
    codes = quantize(lesson["document_matrix"], "int8").codes[:100]
    # A value on the border between two steps may fall to either side.
    assert np.abs(codes.astype(int) - done["eight_bits"]).max() <= 1
    bits = quantize(lesson["document_matrix"], "binary").codes[:100]
    theirs = (done["one_bit"].astype(np.int16) + 128).astype(np.uint8)  # the library's are signed
    assert np.unpackbits(theirs ^ bits).mean() < 1e-3


def test_rank_gives_the_order_of_rerank(after, lesson, capsys):
    from course_utils.retrieval import Hit

    after("second look")
    documents = lesson["documents"][:20]
    hits = [Hit(str(row), 0.0, text, row + 1) for row, text in enumerate(documents)]
    ours = rerank(lesson["cross_encoder"], "sort an array", hits, k=3)
    printed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == [hit.id for hit in ours]


def test_weights_in_bfloat16_keep_the_vectors(after, lesson):
    import torch

    done = after("bfloat16")
    assert next(done["half"].parameters()).dtype == torch.bfloat16
    assert (done["bits"] * lesson["vectors"][:8]).sum(axis=1).min() > 0.99


def test_a_table_distilled_by_the_library_is_that_of_the_course(after, lesson):
    pytest.importorskip("model2vec")
    from course_utils.adaptation import distil_static

    done = after("static")
    documents = lesson["documents"][:50]
    ours = encode(distil_static(lesson["model"], show_progress_bar=False), documents)
    theirs = encode(done["static"], documents)
    # The principal components may differ in sign; similarities do not.
    assert np.corrcoef((ours @ ours.T).ravel(), (theirs @ theirs.T).ravel())[0, 1] > 0.95
