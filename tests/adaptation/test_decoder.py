"""What a TSDAE decoder must do: what the library's does, only cheaper; and never see the future."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import DenoisingAutoEncoderLoss
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from course_utils.adaptation.decoder import (
    ExactDecoder,
    LightDecoder,
    make_decoder,
    sentence_vector,
    supports_exact,
)

SENTENCES = [
    "the patient shows a high fever at night",
    "a rash on both arms",
    "fever after long walks and a rash at night on the arms",
    "night fever",
]
WORDS = [word for sentence in SENTENCES for word in sentence.split()]
DAMAGED = ["patient fever", "rash arms", "long walks rash night arms", "night"]
SMALL = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
KINDS = {
    "bert": SMALL | {"hidden_act": "relu"},
    "roberta": SMALL | {"pad_token_id": 1, "type_vocab_size": 1},
    "xlm-roberta": SMALL | {"pad_token_id": 1, "type_vocab_size": 1},
    "electra": SMALL | {"embedding_size": 16},
    "mpnet": SMALL | {"pad_token_id": 1},
    "distilbert": {"vocab_size": 40, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "modernbert": SMALL | {"pad_token_id": 1, "global_attn_every_n_layers": 1},
}
IN_LIBRARY = ["bert", "roberta", "xlm-roberta", "electra"]


def tokenizer_files(folder):
    """Write a tokenizer that knows the words of SENTENCES; id 1 is padding."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    unknown = "[UNK]"
    special = ["[CLS]", "[PAD]", "[SEP]", unknown, "[MASK]"]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(special + WORDS))}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 2)]
    )
    names = {f"{name.strip('[]').lower()}_token": name for name in special}
    PreTrainedTokenizerFast(
        tokenizer_object=plain, model_input_names=["input_ids", "attention_mask"], **names
    ).save_pretrained(folder)


def tiny(kind, folder, *, normalise=False):
    """Return a SentenceTransformer of that kind with random weights, from ``folder``."""
    from transformers import AutoConfig, AutoModel

    tokenizer_files(folder)
    config = AutoConfig.for_model(kind, **({"pad_token_id": 1} | KINDS[kind]))
    torch.manual_seed(7)
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():  # biases too, or mistakes in them would not show
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return from_folder(folder, normalise=normalise)


def from_folder(folder, *, normalise=False):
    transformer = Transformer(str(folder))
    modules = [transformer, Pooling(transformer.get_embedding_dimension())]
    model = SentenceTransformer(modules=modules + [Normalize()] * normalise, device="cpu")
    return model.eval()


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """One tiny encoder of each kind, made when first asked for."""
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = tiny(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return get


def tokens(model, texts):
    found = model.tokenizer(texts, padding=True, return_tensors="pt")
    return {name: found[name] for name in ("input_ids", "attention_mask")}


def loss_of(decoder, model, damaged=DAMAGED, whole=SENTENCES):
    target = tokens(model, whole)
    vector = sentence_vector(model, tokens(model, damaged))
    return decoder(vector, target["input_ids"], target["attention_mask"])


def states(decoder, vector, ids):
    """Return the decoder's states (b, t, width) where nothing is padding."""
    return decoder.hidden(vector, ids, torch.ones_like(ids)).unflatten(0, ids.shape)


def gradients(loss, model):
    model.zero_grad()
    loss.backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def copy_new_weights(theirs, ours):
    """Give our decoder the weights that the library's has beside the encoder's."""
    base = theirs.base_model
    pairs = []
    for layer, memory in zip(base.encoder.layer, ours.memory, strict=True):
        cross = layer.crossattention
        pairs += [
            (cross.self.value, memory.value),
            (cross.output.dense, memory.dense),
            (cross.output.LayerNorm, memory.LayerNorm),
        ]
    if hasattr(theirs, "cls"):
        head = theirs.cls.predictions.transform
        pairs += [(head.dense, ours.head.dense), (head.LayerNorm, ours.head.LayerNorm)]
    elif hasattr(theirs, "lm_head"):
        head = theirs.lm_head
        pairs += [(head.dense, ours.head.dense), (head.layer_norm, ours.head.LayerNorm)]
    else:
        head = theirs.generator_predictions
        pairs += [(head.dense, ours.head.dense), (head.LayerNorm, ours.head.LayerNorm)]
    for theirs_part, ours_part in pairs:
        ours_part.load_state_dict(theirs_part.state_dict())
    with torch.no_grad():
        ours.head.bias.copy_(theirs.get_output_embeddings().bias)


def library_loss(model, seed=3):
    """Return the library's loss with its new weights, biases among them, drawn at random."""
    loss = DenoisingAutoEncoderLoss(model, tie_encoder_decoder=True).eval()
    tied = {id(parameter) for parameter in model.parameters()}
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in loss.decoder.parameters():
            if id(parameter) not in tied:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return loss


def assert_same_as_the_library(model, damaged, whole, least):
    library = library_loss(model)
    expected = library([tokens(model, damaged), tokens(model, whole)], None)
    theirs = gradients(expected, model)
    decoder = ExactDecoder(model).eval()
    copy_new_weights(library.decoder, decoder)
    loss = loss_of(decoder, model, damaged, whole)
    ours = gradients(loss, model)
    assert abs(loss.item() - expected.item()) < 1e-5
    assert ours.keys() == theirs.keys()
    assert max(gradient.abs().max() for gradient in theirs.values()) > least
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).abs().max() < 1e-5, name


@pytest.mark.parametrize("kind", IN_LIBRARY)
def test_exact_loss_and_every_encoder_gradient_are_the_librarys(kind, tmp_path):
    assert_same_as_the_library(tiny(kind, tmp_path), DAMAGED, SENTENCES, least=0.01)


def test_exact_loss_and_every_gradient_of_minilm_are_the_librarys(minilm, tmp_path):
    minilm.save(str(tmp_path))
    whole = [
        "An abnormally increased concentration of glucose in the blood.",
        "A reduced ability to move the arms against resistance, worse at night.",
        "Seizures that begin in the first year of life.",
    ]
    damaged = ["abnormally glucose", "reduced arms resistance night", "Seizures first life"]
    assert_same_as_the_library(from_folder(tmp_path), damaged, whole, least=0.01)


def test_mpnets_layers_run_with_its_own_position_bias_and_a_causal_mask(encoders):
    model = encoders("mpnet")
    decoder = ExactDecoder(model).eval()
    decoder.memory = torch.nn.ModuleList(Untold() for _ in decoder.memory)
    ids = tokens(model, SENTENCES)["input_ids"]
    base = model[0].auto_model
    future = torch.full((ids.shape[1], ids.shape[1]), float("-inf")).triu(1)
    expected = base.encoder(base.embeddings(input_ids=ids), attention_mask=future)[0]
    assert torch.allclose(states(decoder, torch.zeros(len(ids), 32), ids), expected, atol=1e-5)


class Untold(torch.nn.Module):
    def forward(self, hidden, vector, places):
        return hidden


def decoders(model):
    made = [LightDecoder(model).eval()]
    return [*made, ExactDecoder(model).eval()] if supports_exact(model) else made


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_no_logit_depends_on_a_later_token(kind, encoders, data):
    model = encoders(kind)
    # Id 1 is padding, which shifts RoBERTa's positions; it never stands inside a sentence.
    token = st.integers(2, 19)
    ids = torch.tensor([data.draw(st.lists(token, min_size=2, max_size=9))])
    place = data.draw(st.integers(0, ids.shape[1] - 1))
    other = ids.clone()
    other[0, place] = 2 + (ids[0, place] - 1) % 18
    vector = torch.linspace(-1, 1, 32)[None]
    with torch.no_grad():
        for decoder in decoders(model):
            before = decoder.logits(states(decoder, vector, ids))[0]
            after = decoder.logits(states(decoder, vector, other))[0]
            assert torch.allclose(before[:place], after[:place], atol=1e-6)
            assert not torch.allclose(before[place:], after[place:], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_logit_depends_on_the_vector_and_the_encoder_hears_of_it(kind, encoders):
    model = encoders(kind)
    ids = tokens(model, SENTENCES[:1])["input_ids"]
    for decoder in decoders(model):
        one, other = (decoder.logits(states(decoder, z, ids)) for z in torch.randn(2, 1, 32))
        assert ((one - other).abs().amax(dim=-1) > 1e-6).all()
        heard = gradients(loss_of(decoder, model), model)
        assert sum(gradient.abs().sum() for gradient in heard.values()) > 0


def test_exact_is_for_five_kinds_and_light_for_all(encoders):
    exact = [kind for kind in KINDS if supports_exact(encoders(kind))]
    assert exact == ["bert", "roberta", "xlm-roberta", "electra", "mpnet"]
    with pytest.raises(ValueError, match=r'DistilBertModel.*kind="light"'):
        make_decoder(encoders("distilbert"), "exact")
    with pytest.raises(ValueError, match="kind is 'heavy'"):
        make_decoder(encoders("bert"), "heavy")
    assert isinstance(make_decoder(encoders("bert"), "exact"), ExactDecoder)
    assert isinstance(make_decoder(encoders("distilbert"), "light"), LightDecoder)


@pytest.mark.parametrize("kind", ["distilbert", "modernbert", "electra"])
def test_a_light_decoder_learns_to_tell_sentences_apart_by_their_vectors(kind, encoders):
    model = encoders(kind)
    decoder = LightDecoder(model)
    target = tokens(model, SENTENCES)
    vector = sentence_vector(model, target).detach()
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    for _ in range(300):
        optimiser.zero_grad()
        loss = decoder(vector, target["input_ids"], target["attention_mask"])
        loss.backward()
        optimiser.step()
    swapped = decoder(vector.roll(1, 0), target["input_ids"], target["attention_mask"])
    assert loss < 0.3
    assert swapped > 4 * loss


def test_the_encoders_weights_are_no_parameters_of_a_decoder(encoders):
    model = encoders("bert")
    encoders_own = {id(parameter) for parameter in model.parameters()}
    for decoder in decoders(model):
        assert not encoders_own & {id(parameter) for parameter in decoder.parameters()}
        assert not any("embeddings" in name for name in decoder.state_dict())


def test_a_light_decoder_trains_the_encoder_through_the_vector_alone(encoders):
    model = encoders("bert")
    target = tokens(model, SENTENCES)
    vector = sentence_vector(model, tokens(model, DAMAGED)).detach().requires_grad_()
    model.zero_grad()
    LightDecoder(model)(vector, target["input_ids"], target["attention_mask"]).backward()
    assert vector.grad.abs().sum() > 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("kind", ["exact", "light"])
def test_the_loss_is_the_mean_over_tokens_whatever_the_padding(kind, encoders):
    model = encoders("roberta")
    decoder = make_decoder(model, kind).eval()
    batch = loss_of(decoder, model).item()
    pairs = zip(DAMAGED, SENTENCES, strict=True)
    each = [loss_of(decoder, model, [before], [after]).item() for before, after in pairs]
    counts = [len(sentence.split()) + 1 for sentence in SENTENCES]
    mean = sum(n * loss for n, loss in zip(counts, each, strict=True)) / sum(counts)
    assert batch == pytest.approx(mean, abs=1e-5)


def test_the_loss_is_the_cross_entropy_of_the_logits(encoders):
    model = encoders("bert")
    for decoder in decoders(model):
        target = tokens(model, SENTENCES[:1])
        vector = sentence_vector(model, tokens(model, DAMAGED[:1]))
        ids = target["input_ids"][0]
        logits = decoder.logits(states(decoder, vector, ids[None, :-1]))[0]
        chances = logits.softmax(-1)[range(len(ids) - 1), ids[1:]]
        loss = decoder(vector, target["input_ids"], target["attention_mask"])
        assert loss.item() == pytest.approx(-chances.log().mean().item(), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_under_autocast_the_loss_is_float32_and_about_that_of_float32(kind, encoders):
    model = encoders(kind)
    for decoder in decoders(model):
        exact = loss_of(decoder, model)
        with torch.autocast("cpu", torch.bfloat16):
            half = loss_of(decoder, model)
        assert half.dtype == torch.float32
        assert half.item() == pytest.approx(exact.item(), rel=0.02)
        assert half != exact
        assert all(g.isfinite().all() for g in gradients(half, model).values())


@pytest.mark.parametrize("kind", ["exact", "light"])
def test_logits_are_computed_only_where_there_is_a_token_to_predict(kind, encoders):
    model = encoders("bert")
    decoder = make_decoder(model, kind)
    rows = []
    decoder.head.register_forward_hook(lambda head, given, out: rows.append(given[0].shape))
    loss_of(decoder, model)
    assert rows == [(sum(len(s.split()) + 1 for s in SENTENCES), 32)]


@pytest.mark.parametrize("kind", ["exact", "light"])
def test_a_vocabulary_is_the_softmax_over_its_tokens_alone(kind, encoders):
    model = encoders("bert")
    target = tokens(model, SENTENCES)["input_ids"]
    vocabulary = target.unique()
    small = make_decoder(model, kind, vocabulary=vocabulary).eval()
    whole = make_decoder(model, kind).eval()
    vector = sentence_vector(model, tokens(model, DAMAGED))
    logits = whole.logits(states(whole, vector, target[:, :-1]))
    outside = torch.ones(40, dtype=torch.bool)
    outside[vocabulary] = False
    outside[3] = False  # the unknown token belongs to every vocabulary
    expected = torch.nn.functional.cross_entropy(
        logits.masked_fill(outside, float("-inf")).flatten(0, 1),
        target[:, 1:].flatten(),
        ignore_index=1,
    )
    loss = loss_of(small, model)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert loss < loss_of(whole, model)  # fewer tokens to be mistaken for


def test_an_id_outside_the_vocabulary_counts_as_unknown(encoders):
    model = encoders("bert")
    decoder = LightDecoder(model, vocabulary=torch.tensor([0, 2, 5, 6]))
    vector = torch.ones(1, 32)
    mask = torch.ones(1, 3, dtype=torch.long)
    stranger = decoder(vector, torch.tensor([[0, 5, 9]]), mask)
    unknown = decoder(vector, torch.tensor([[0, 5, 3]]), mask)
    assert stranger.item() == unknown.item()
    assert decoder.logits(torch.zeros(1, 32)).shape == (1, 5)


@pytest.mark.parametrize("kind", ["exact", "light"])
def test_a_corpus_own_vocabulary_keeps_the_ranking_of_losses(kind, minilm):
    from course_utils.data import load_texts

    texts = load_texts("medical")[:400:10]
    minilm.eval()
    ids = minilm.tokenizer(load_texts("medical"))["input_ids"]
    vocabulary = torch.tensor(sorted({token for text in ids for token in text}))
    losses = []
    for kept in (None, vocabulary):
        decoder = make_decoder(minilm, kind, vocabulary=kept).eval()
        with torch.no_grad():
            losses.append([loss_of(decoder, minilm, [text], [text]).item() for text in texts])
    assert len(vocabulary) < 15_000
    assert spearmanr(*losses).statistic > 0.95


def test_the_vector_is_taken_before_normalize(tmp_path, encoders):
    bare = encoders("bert")
    model = SentenceTransformer(modules=[*bare, Normalize()], device="cpu")
    features = tokens(model, SENTENCES)
    names = set(features)
    vector = sentence_vector(model, features)
    assert torch.equal(vector, bare(dict(features))["sentence_embedding"])
    assert (vector.norm(dim=1) - 1).abs().min() > 0.1
    assert set(features) == names  # and the features are left as they were


def test_weights_come_from_the_seed_and_other_random_numbers_are_left_alone(encoders):
    model = encoders("bert")
    state = torch.get_rng_state()
    first, again, other = (LightDecoder(model, seed=seed).state_dict() for seed in (1, 1, 2))
    exact = [ExactDecoder(model, seed=seed).state_dict() for seed in (1, 1, 2)]
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(exact[0][name], exact[1][name]) for name in exact[0])
    assert not torch.equal(first["head.dense.weight"], other["head.dense.weight"])
    assert not torch.equal(exact[0]["head.dense.weight"], exact[2]["head.dense.weight"])


def test_a_decoder_is_where_the_encoder_is_and_in_its_number_type(encoders):
    model = encoders("bert")
    from copy import deepcopy

    half = deepcopy(model).to(torch.bfloat16)
    for decoder in decoders(half):
        assert {p.dtype for p in decoder.parameters()} == {torch.bfloat16}
        assert torch.isfinite(loss_of(decoder, half))


def test_wrong_input_is_refused_in_words(encoders):
    model = encoders("bert")
    light, exact = LightDecoder(model, max_tokens=4), ExactDecoder(model)
    ids = torch.full((2, 50), 5)
    ones, vector = torch.ones_like(ids), torch.zeros(2, 32)
    with pytest.raises(ValueError, match=r"49 tokens before the last.*positions for 4"):
        light(vector, ids, ones)
    with pytest.raises(ValueError, match="positions for 40"):
        exact(vector, ids, ones)
    with pytest.raises(ValueError, match="padded on the left"):
        exact(vector, ids[:, :3], torch.tensor([[0, 1, 1], [1, 1, 1]]))
    with pytest.raises(ValueError, match="second token"):
        exact(vector, ids[:, :1], ones[:, :1])
    with pytest.raises(ValueError, match="do not fit"):
        exact(vector[:1], ids[:, :3], ones[:, :3])
    with pytest.raises(ValueError, match="from 0 to 39"):
        LightDecoder(model, vocabulary=torch.tensor([3, 40]))


# What it says when nobody tells it the sentence

SAID = {"first": torch.zeros(4, dtype=torch.long), "max_tokens": 6}


@pytest.fixture(params=["light", "exact"])
def speaking(request, encoders):
    """A decoder, in training, and the vectors of four damaged sentences."""
    model = encoders("bert")
    vectors = sentence_vector(model, tokens(model, DAMAGED)).detach()
    decoder = make_decoder(model, request.param, vocabulary=[0, 2, *range(5, 15)]).train()
    with torch.no_grad():
        for weight in decoder.parameters():  # far from its start, at which all vectors sound alike
            weight.add_(0.5 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)))
    return decoder, vectors


def test_every_token_that_is_rebuilt_is_the_one_with_the_least_loss(speaking):
    decoder, vectors = speaking
    said = decoder.rebuild(vectors, ends=[], **SAID)
    assert [len(row) for row in said] == [6] * 4
    assert len({tuple(row) for row in said}) > 1
    decoder.eval()
    for vector, row in zip(vectors[:, None], said, strict=True):
        assert row[0] == 0
        for place in range(1, 6):
            ids = {token: torch.tensor([[*row[:place], token]]) for token in decoder.kept.tolist()}
            losses = {t: decoder(vector, i, torch.ones_like(i)).item() for t, i in ids.items()}
            assert row[place] == min(losses, key=losses.__getitem__)


def test_rebuilding_stops_at_an_end_which_is_left_out(speaking):
    decoder, vectors = speaking
    whole = decoder.rebuild(vectors, ends=[], **SAID)
    for end in {token for row in whole for token in row}:
        cut = [row[: row.index(end, 1)] if end in row[1:] else row for row in whole]
        assert decoder.rebuild(vectors, ends=[end, 4], **SAID) == cut


def test_rebuilding_draws_nothing_and_leaves_dropout_as_it_is(speaking):
    decoder, vectors = speaking
    before = torch.get_rng_state()
    first = decoder.rebuild(vectors, ends=[2], **SAID)
    assert torch.equal(torch.get_rng_state(), before)
    assert decoder.rebuild(vectors, ends=[2], **SAID) == first
    assert all(part.training for part in decoder.modules())
    decoder.eval()
    assert decoder.rebuild(vectors, ends=[2], **SAID) == first
    assert not decoder.training
