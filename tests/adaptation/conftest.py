"""A tiny model that trains in no time."""

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from course_utils import load_model

from .toys import WORDS


@pytest.fixture(scope="session")
def folder_of_tiny(tmp_path_factory):
    """The folder of a BERT of two layers with random weights, which a subprocess can load."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    parts = tmp_path_factory.mktemp("tiny-bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(special + WORDS))}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True)
    PreTrainedTokenizerFast(
        tokenizer_object=plain, **{f"{name}_token": token for name, token in names}
    ).save_pretrained(parts)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(
            BertConfig(
                vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2,
                num_attention_heads=4, intermediate_size=64, max_position_embeddings=32,
            )
        ).save_pretrained(parts)  # fmt: skip
    first = Transformer(str(parts), max_seq_length=32)
    model = SentenceTransformer(modules=[first, Pooling(32, "mean"), Normalize()], device="cpu")
    folder = tmp_path_factory.mktemp("tiny") / "tiny-bert"
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture(autouse=True)
def _one_thread(request):
    """Compute on one thread where models are tiny: their matrices are too small for two to share."""
    threads = torch.get_num_threads()
    torch.set_num_threads(threads if "minilm" in request.fixturenames else 1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny(folder_of_tiny):
    """The tiny model, anew for each test."""
    return load_model(folder_of_tiny, device="cpu")
