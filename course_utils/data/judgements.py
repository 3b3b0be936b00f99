"""Human judgements of similarity: 50 news texts (Lee), WordSim-353 and SimLex-999; 300 more news.

The files come inside gensim, among the data of its own tests; gensim itself is not imported.
"""

import re
from collections import Counter

import numpy as np

from course_utils.data.packages import check_counts, package_file, package_version
from course_utils.data.sentences import split_sentences
from course_utils.data.tasks import SimilarityTask, Source

_SENTENCES = 3  # in a paragraph, so that a model seldom cuts it
_OCCURRENCES = 5
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_FOLDER = "gensim/test/test_data"
_SHA256 = {
    "lee.cor": "a878f9a58f6743c32985c56c2f2f75988386216b38a4023a01fd3bcf7884d93e",
    "lee_background.cor": "5d78d6dafd953bbf65797bef09a9ffb9ec430583381be705f8fd460000f370fb",
    "similarities0-1.txt": "23762bc6b728897144dda3d324a2c032dc1e059e1009806226d64b6dd123ed79",
    "wordsim353.tsv": "f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d",
    "simlex999.txt": "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d",
}


def load_lee() -> SimilarityTask:
    """Return the task ``lee``: how alike people found each of the 1,225 pairs of 50 news texts.

    The texts are of 45 to 126 words. A score is the mean of people's ratings from 1 (highly
    unrelated) to 5 (highly related), divided by 5. The file holds the upper triangle of a
    50 × 50 matrix; each pair is taken once and no text is paired with itself.

    Raises ``ImportError`` when gensim is missing, ``ValueError`` when its file is not as recorded.

    Source: Lee, Pincombe & Welsh (2005).

    >>> load_lee()
    SimilarityTask 'lee': 1,225 pairs, scores 0.2 to 1 (scale: 0.2 (highly unrelated) to 1 \
(highly related): mean rating of 1 to 5, divided by 5)
    """
    texts = _read("lee.cor", encoding="cp1252")
    matrix = np.array([row.split() for row in _read("similarities0-1.txt")], dtype=np.float64)
    check_counts({"texts": len(texts), "rows": len(matrix)}, {"texts": 50, "rows": 50}, where="lee")
    first, second = np.triu_indices(len(texts), k=1)
    return SimilarityTask(
        "lee",
        [(texts[i], texts[j]) for i, j in zip(first, second, strict=True)],
        matrix[first, second],
        "0.2 (highly unrelated) to 1 (highly related): mean rating of 1 to 5, divided by 5",
        _source(
            "Lee news texts",
            "Lee, Pincombe & Welsh (2005). An empirical evaluation of models of text document "
            "similarity. Proceedings of the Cognitive Science Society 27.",
            texts=len(texts),
            pairs=len(first),
        ),
    )


def load_everyday() -> list[str]:
    """Return the texts ``everyday``: 963 paragraphs of news and 1,392 single words, of no field in particular.

    The paragraphs, of three sentences, come from the 300 news texts of the Lee study that nobody
    judged; the words are those that occur in them five times or more. They serve to keep what a
    model knows while it learns a field, so nothing is among them that measures just that: no judged
    news text, no word of WordSim-353 or SimLex-999.

    Raises ``ImportError`` when gensim is missing, ``ValueError`` when its file is not as recorded.

    Source: Lee, Pincombe & Welsh (2005).
    """
    texts = _read("lee_background.cor", encoding="cp1252")
    check_counts({"texts": len(texts)}, {"texts": 300}, where="lee_background.cor")
    split = [split_sentences(text) for text in texts]
    paragraphs = dict.fromkeys(
        " ".join(sentences[start : start + _SENTENCES])
        for sentences in split
        for start in range(0, len(sentences), _SENTENCES)
    )
    counts = Counter(word for text in paragraphs for word in _WORD.findall(text.lower()))
    tasks = load_wordsim353(), load_simlex999()
    judged = {word.lower() for task in tasks for pair in task.pairs for word in pair}
    words = [word for word, n in counts.items() if n >= _OCCURRENCES and word not in judged]
    return [*paragraphs, *words]


def load_wordsim353() -> SimilarityTask:
    """Return the task ``wordsim353``: how related people found 353 pairs of words, from 0 to 10.

    Relatedness counts here, not only likeness: *coffee* and *cup* go together. Two pairs
    (*money* with *cash* and with *bank*) are in the collection twice, in both orders; all rows
    are kept.

    Raises ``ImportError`` when gensim is missing, ``ValueError`` when its file is not as recorded.

    Source: Finkelstein et al. (2002).
    """
    return _load_words(
        "wordsim353",
        "wordsim353.tsv",
        353,
        "0 (totally unrelated) to 10 (very much related or identical)",
        "Finkelstein et al. (2002). Placing search in context: the concept revisited. "
        "ACM Transactions on Information Systems 20(1), 116-131.",
    )


def load_simlex999() -> SimilarityTask:
    """Return the task ``simlex999``: how similar people found 999 pairs of words, from 0 to 10.

    Similarity proper, not relatedness: *old* and *new* score low.

    Raises ``ImportError`` when gensim is missing, ``ValueError`` when its file is not as recorded.

    Source: Hill, Reichart & Korhonen (2015).
    """
    return _load_words(
        "simlex999",
        "simlex999.txt",
        999,
        "0 (not similar) to 10 (very similar)",
        "Hill, Reichart & Korhonen (2015). SimLex-999: evaluating semantic models with (genuine) "
        "similarity estimation. Computational Linguistics 41(4), 665-695.",
    )


def _load_words(name, file, number, scale, citation) -> SimilarityTask:
    rows = [line.split("\t") for line in _read(file) if not line.startswith("#")]
    check_counts({"pairs": len(rows)}, {"pairs": number}, where=file)
    return SimilarityTask(
        name,
        [(first, second) for first, second, _ in rows],
        np.array([score for _, _, score in rows], dtype=np.float64),
        scale,
        _source(name, citation, pairs=len(rows)),
    )


def _read(file: str, encoding: str = "utf-8") -> list[str]:
    """Return the lines of one of gensim's test files that are not blank."""
    path = package_file("gensim", f"{_FOLDER}/{file}", sha256=_SHA256[file])
    return [line for line in path.read_text(encoding=encoding).splitlines() if line.strip()]


def _source(name, citation, **counts) -> Source:
    return Source(
        name=f"{name} (among the test data of gensim)",
        version=f"gensim {package_version('gensim')}",
        licence="none stated with the file; gensim is LGPL-2.1-only",
        citation=citation,
        counts=counts,
    )
