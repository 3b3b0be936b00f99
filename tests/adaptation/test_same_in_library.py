"""Lesson 2's boxes "The same in sentence-transformers" run as they stand, and do the same.

That the exact decoder's loss and gradients are ``DenoisingAutoEncoderLoss``'s is in
``test_decoder.py``; ``test_pairs.py`` has the ranking loss of a whole training step.
"""

import contextlib
import re
import textwrap
from copy import deepcopy

import numpy as np
import pytest
import torch

from course_utils import encode_document, encode_query, evaluate, load_model, search
from course_utils.adaptation import PairsConfig, TSDAEConfig
from course_utils.adaptation.pairs import ranking_loss
from course_utils.data import RetrievalTask, load_medical_definitions
from course_utils.data.sentences import split_sentences
from tests.lessons import NOTEBOOKS, bound, boxes, names_of

from .toys import same, weights

LESSON = NOTEBOOKS / "02_domain_adaptation_tsdae.ipynb"
# A learner's lines train for a while, the tests' for two steps: the one thing that is changed.
STEPS = re.compile(r"\bmax_steps=\d+")
# By the name without which a box would be another one.
ABOUT = {
    "search": "semantic_search",
    "TSDAE": "DenoisingAutoEncoderLoss",
    "pairs": "MultipleNegativesRankingLoss",
}


def box(name):
    """Return the code of the one box that is about search, TSDAE or pairs."""
    (code,) = [code for code in boxes(LESSON) if ABOUT[name] in code]
    return code


@pytest.fixture(scope="module")
def lesson():
    """What the lesson has when it comes to the boxes, only less of it."""
    definitions = list(load_medical_definitions().values())[:64]
    pairs = [(term, split_sentences(text)[0]) for term, text in definitions]
    corpus = {f"d{n}": f"{term}. {text}" for n, (term, text) in enumerate(definitions)}
    # A document is asked for by a sentence of its own, and a few are found behind another's.
    queries = {f"q{n}": sentence for n, (_, sentence) in enumerate(pairs[:40])}
    qrels = {f"q{n}": {f"d{n}": 1} for n in range(40)}
    return {
        "model": load_model(device="cpu"),
        "pairs": pairs,
        "sentences": [sentence for _, sentence in pairs],
        "dev": RetrievalTask("medical", corpus, queries, qrels),
    }


@pytest.fixture(scope="module")
def after(lesson, tmp_path_factory):
    """Return what there is after a box has run, by its name; each runs once, when first asked for."""
    done = {}

    def run(name):
        if name not in done:
            code, found = STEPS.subn("max_steps=2", box(name))
            assert found == code.count("Trainer(")
            namespace = dict(lesson)
            with contextlib.chdir(tmp_path_factory.mktemp("box")):
                exec(code, namespace)  # noqa: S102 - our own code, from our own lesson
            done[name] = namespace
        return done[name]

    return run


def test_the_lesson_has_a_box_on_search_on_tsdae_and_on_pairs_and_each_is_run_here():
    assert len(boxes(LESSON)) == len(ABOUT)
    for name in ABOUT:
        assert len(box(name).splitlines()) <= 16


@pytest.mark.parametrize("name", ABOUT)
def test_a_box_takes_no_name_from_the_lesson(name):
    assert not names_of(LESSON) & bound(box(name))


@pytest.mark.parametrize("name", ABOUT)
def test_a_box_leaves_the_lessons_model_as_it_was(name, after):
    model = after(name)["model"]
    assert same(weights(model), weights(load_model(device="cpu")))
    assert model.max_seq_length == 256


# Search


def test_the_librarys_first_hits_are_those_of_search(lesson, after):
    texts, queries = (list(side.values()) for side in (lesson["dev"].corpus, lesson["dev"].queries))
    ours = search(lesson["model"], queries, texts, k=5)
    for hits, theirs in zip(ours, after("search")["top_five"], strict=True):
        assert [hit.text for hit in hits] == [texts[hit["corpus_id"]] for hit in theirs]
        assert [hit.score for hit in hits] == pytest.approx(
            [hit["score"] for hit in theirs], abs=1e-5
        )


def test_the_librarys_similarity_is_the_cosine_of_the_courses_vectors(lesson, after):
    model, dev = lesson["model"], lesson["dev"]
    asked = encode_query(model, list(dev.queries.values()))
    found = encode_document(model, list(dev.corpus.values()))
    assert after("search")["cosines"].numpy() == pytest.approx(asked @ found.T, abs=1e-5)


def test_the_librarys_evaluator_gives_the_means_of_evaluate(lesson, after):
    ours = evaluate(lesson["model"], lesson["dev"]).scores
    theirs = after("search")["evaluator"](lesson["model"])
    assert 0.5 < ours["mrr@10"].mean() < 1
    for metric in ("mrr@10", "recall@10", "ndcg@10"):
        assert theirs[f"cosine_{metric}"] == pytest.approx(ours[metric].mean()), metric


# Training


@pytest.mark.parametrize(
    ("name", "trained", "config"),
    [("TSDAE", "denoiser", TSDAEConfig()), ("pairs", "student", PairsConfig())],
    ids=["TSDAE", "pairs"],
)
def test_a_box_trains_a_model_with_the_options_of_the_lesson(name, trained, config, after, lesson):
    told = after(name)["args"]
    assert told.max_steps == 2
    assert told.per_device_train_batch_size == config.batch_size
    assert told.learning_rate == config.learning_rate
    assert told.warmup_steps == config.warmup_share
    vectors = after(name)[trained].encode(lesson["sentences"])
    moved = np.abs(vectors - lesson["model"].encode(lesson["sentences"])).max()
    assert 1e-4 < moved < 1


def test_the_box_on_pairs_has_the_loss_of_train_pairs(lesson, after):
    """On one batch, from the same weights: MultipleNegativesRankingLoss, one way and both ways."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    student, ranking = after("pairs")["student"].eval(), after("pairs")["ranking"]
    config = PairsConfig()
    assert ranking.temperature == pytest.approx(config.temperature)
    assert f"max_seq_length = {config.max_tokens}\n" in box("pairs")
    sides = [list(side) for side in zip(*lesson["pairs"][:12], strict=True)]
    with torch.no_grad():
        first, second = (student.encode(side, convert_to_tensor=True) for side in sides)
        there = ranking_loss(first, second, config.temperature).item()
        back = ranking_loss(second, first, config.temperature).item()
        features = [student.preprocess(side) for side in sides]
        one_way = MultipleNegativesRankingLoss(student, scale=1 / config.temperature)
        assert one_way([dict(side) for side in features], None).item() == pytest.approx(
            there, abs=1e-5
        )
        both = ranking([dict(side) for side in features], None).item()
    assert both == pytest.approx((there + back) / 2, abs=1e-5)
    assert abs(both - there) > 1e-3


def test_the_box_on_tsdae_deletes_the_share_of_words_that_the_course_deletes(after, lesson):
    dataset = after("TSDAE")["dataset"]
    assert list(dataset["whole"]) == lesson["sentences"]
    kept = sum(len(text.split()) for text in dataset["damaged"])
    words = sum(len(text.split()) for text in dataset["whole"])
    assert 1 - kept / words == pytest.approx(TSDAEConfig().rate, abs=0.05)


def test_the_example_in_the_librarys_docstring_keeps_the_share_that_the_paper_deletes():
    """As the box says. With words split at spaces, it needs nothing beside the library."""
    from sentence_transformers.sentence_transformer.losses import DenoisingAutoEncoderLoss

    example = re.search(
        r"^ *def noise_transform.*?^ *return \{.*?$",
        DenoisingAutoEncoderLoss.__init__.__doc__,
        re.S | re.M,
    )
    namespace = {"word_tokenize": str.split, "TreebankWordDetokenizer": Joiner}
    exec("import random\nrandom = random.Random(0)\n" + textwrap.dedent(example[0]), namespace)  # noqa: S102
    (kept,) = namespace["noise_transform"]({"text": ["word " * 10_000]})["noisy"]
    assert len(kept.split()) / 10_000 == pytest.approx(0.6, abs=0.03)


class Joiner:
    def detokenize(self, words):
        return " ".join(words)


def test_the_decoder_of_the_box_is_tied_to_the_encoder_and_its_new_weights_learn(after):
    denoiser, loss = after("TSDAE")["denoiser"], after("TSDAE")["autoencoder"]
    encoders = {id(parameter) for parameter in denoiser.parameters()}
    new = {name: p for name, p in loss.decoder.named_parameters() if id(p) not in encoders}
    (pattern,), (rate,) = zip(*after("TSDAE")["args"].learning_rate_mapping.items(), strict=True)
    assert rate == TSDAEConfig().decoder_learning_rate
    assert new
    assert all(re.search(pattern, name) for name in new)
    assert not any(re.search(pattern, name) for name, _ in denoiser.named_parameters())
    assert encoders & {id(parameter) for parameter in loss.decoder.parameters()}
    # Layer norms begin with scales of exactly 1.
    norms = [p for name, p in new.items() if name.endswith("LayerNorm.weight")]
    assert norms
    assert all((norm != 1).any() for norm in norms)


def test_the_loss_of_the_box_starts_from_the_folder_and_not_from_what_was_learnt(minilm):
    """As the box says, and why it has a trained model saved and loaded first."""
    from sentence_transformers.sentence_transformer.losses import DenoisingAutoEncoderLoss

    trained = deepcopy(minilm)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.1)
    assert not np.allclose(trained.encode(["fever"]), minilm.encode(["fever"]), atol=1e-2)
    DenoisingAutoEncoderLoss(trained, tie_encoder_decoder=True)
    assert trained.encode(["fever"]) == pytest.approx(minilm.encode(["fever"]), abs=1e-5)
