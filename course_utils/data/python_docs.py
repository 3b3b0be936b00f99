"""Documentation of the scientific Python stack, harvested from the libraries installed.

Every learner already has these texts, so searching them needs no download, and what is found
is of use. What is harvested depends on the versions installed; ``source.version`` names them.
"""

import hashlib
import importlib
import inspect
import json
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from course_utils.data import docstrings, sentences
from course_utils.data.tasks import ClusteringTask, RetrievalTask, Source
from course_utils.files import write_text
from course_utils.models.files import install_line

# The public modules of each library, most general first: where an object can be reached
# through several, the first gives it its name.
LIBRARIES = {
    "numpy": """numpy numpy.linalg numpy.fft numpy.random numpy.ma numpy.polynomial
        numpy.polynomial.polynomial numpy.polynomial.chebyshev numpy.strings numpy.char numpy.rec
        numpy.lib.stride_tricks numpy.lib.format numpy.testing numpy.ctypeslib numpy.exceptions""",
    "scipy": """scipy.cluster.hierarchy scipy.cluster.vq scipy.differentiate scipy.fft
        scipy.integrate scipy.interpolate scipy.io scipy.linalg scipy.ndimage scipy.optimize
        scipy.signal scipy.signal.windows scipy.sparse scipy.sparse.csgraph scipy.sparse.linalg
        scipy.spatial scipy.spatial.distance scipy.spatial.transform scipy.special scipy.stats
        scipy.stats.contingency scipy.stats.mstats scipy.stats.qmc scipy.stats.sampling
        scipy.constants scipy.datasets""",
    "pandas": """pandas pandas.api.extensions pandas.api.indexers pandas.api.types pandas.errors
        pandas.plotting pandas.testing pandas.tseries.frequencies pandas.tseries.offsets
        pandas.api.typing""",
    "scikit-learn": """sklearn sklearn.base sklearn.calibration sklearn.cluster sklearn.compose
        sklearn.covariance sklearn.cross_decomposition sklearn.datasets sklearn.decomposition
        sklearn.discriminant_analysis sklearn.dummy sklearn.ensemble sklearn.exceptions
        sklearn.feature_extraction sklearn.feature_extraction.image
        sklearn.feature_extraction.text sklearn.feature_selection sklearn.gaussian_process
        sklearn.gaussian_process.kernels sklearn.impute sklearn.inspection sklearn.isotonic
        sklearn.kernel_approximation sklearn.kernel_ridge sklearn.linear_model sklearn.manifold
        sklearn.metrics sklearn.metrics.pairwise sklearn.metrics.cluster sklearn.mixture
        sklearn.model_selection sklearn.multiclass sklearn.multioutput sklearn.naive_bayes
        sklearn.neighbors sklearn.neural_network sklearn.pipeline sklearn.preprocessing
        sklearn.random_projection sklearn.semi_supervised sklearn.svm sklearn.tree sklearn.utils
        sklearn.utils.extmath sklearn.utils.validation sklearn.utils.multiclass""",
    "matplotlib": """matplotlib matplotlib.pyplot matplotlib.axes matplotlib.figure
        matplotlib.animation matplotlib.artist matplotlib.axis matplotlib.backend_bases
        matplotlib.cbook matplotlib.cm matplotlib.collections matplotlib.colorbar
        matplotlib.colors matplotlib.contour matplotlib.dates matplotlib.font_manager
        matplotlib.gridspec matplotlib.image matplotlib.legend matplotlib.lines matplotlib.markers
        matplotlib.mlab matplotlib.offsetbox matplotlib.patches matplotlib.path
        matplotlib.patheffects matplotlib.projections matplotlib.quiver matplotlib.scale
        matplotlib.spines matplotlib.table matplotlib.text matplotlib.textpath matplotlib.ticker
        matplotlib.transforms matplotlib.tri matplotlib.widgets""",
    "torch": """torch torch.nn torch.nn.functional torch.nn.init torch.nn.utils
        torch.nn.utils.rnn torch.nn.utils.parametrize torch.nn.parallel torch.optim
        torch.optim.lr_scheduler torch.optim.swa_utils torch.autograd torch.autograd.functional
        torch.amp torch.cuda torch.distributions torch.fft torch.func torch.fx torch.hub torch.jit
        torch.linalg torch.nested torch.profiler torch.signal.windows torch.sparse torch.special
        torch.utils.checkpoint torch.utils.data torch.utils.dlpack torch.utils.tensorboard""",
}
# The classes whose methods and properties count as documents of their own. Those of the
# others mostly repeat each other (several hundred say "Fit the model").
CLASSES_WITH_MEMBERS = ("numpy.ndarray", "pandas.DataFrame", "pandas.Series", "torch.Tensor")

_LIBRARY_NAMES = re.compile(
    r"\b(numpy|np|scipy|pandas|pd|sklearn|scikit-learn|matplotlib|mpl|pyplot|plt|pytorch|torch)"
    r"(\.|\b)",
    re.IGNORECASE,
)
_MIN_SUMMARY_WORDS = 2
_MIN_BODY_WORDS = 10

# Harvests that no file could keep, by their names: kept here for as long as the process lives.
_unkept: dict[str, list["Document"]] = {}


@dataclass(frozen=True)
class Document:
    """One documented function, class, method or property.

    ``id`` is its qualified public name (``numpy.argsort``), ``module`` the public module it
    was found in, ``kind`` one of class, function, method, property, object; ``summary`` is the
    first sentence of its docstring, ``body`` the rest without mark-up, code and examples (one
    paragraph or list item a line), and ``see_also`` the ids of the documents that its *See
    Also* section names.
    """

    id: str
    library: str
    module: str
    kind: str
    summary: str
    body: str
    see_also: tuple[str, ...] = ()


def load_python_docs() -> list[Document]:
    """Return the documents harvested from the installed libraries, in a fixed order.

    One object reachable under several names, and several objects with one and the same
    docstring, make one document, under the first name in the order of ``LIBRARIES``.
    Docstrings whose summary has fewer than 2 words or whose body fewer than 10 are left out.
    The first call imports the libraries and takes some seconds; the harvest is then kept in
    ``cache_dir()`` under a name made from the versions of the libraries, Python and this code.
    Where it cannot be kept there, a ``UserWarning`` says so once, and this process remembers it.

    Raises ``ImportError`` when one of the six libraries is missing.
    """
    from course_utils.models.loading import cache_dir

    name = f"python-docs-{_cache_key()}.json"
    if name in _unkept:
        return list(_unkept[name])
    try:
        rows = json.loads((cache_dir() / name).read_text(encoding="utf-8"))
        return [Document(**{**row, "see_also": tuple(row["see_also"])}) for row in rows]
    except (OSError, RuntimeError, ValueError, TypeError, KeyError):
        pass  # absent or damaged: harvest again and write it anew
    documents = harvest()
    rows = [asdict(document) for document in documents]
    try:
        write_text(cache_dir() / name, json.dumps(rows, ensure_ascii=False))
    except (OSError, RuntimeError) as error:  # the latter where there is no home folder
        _unkept[name] = list(documents)
        warnings.warn(
            f"The documentation harvested cannot be kept ({error}), so every new process takes "
            "some seconds to harvest it again. Set COURSE_UTILS_CACHE to a folder that can be written.",
            stacklevel=2,
        )
    return documents


def load_known_item(*, max_words: int = 48) -> RetrievalTask:
    """Return the known-item task ``python-docs``: find the documentation that a summary belongs to.

    A query is the summary of a docstring; the corpus holds the bodies, which never contain
    their summary, cut after ``max_words`` words so that encoding thousands of them stays
    quick. Documents with one and the same summary make one query, and all are relevant. A cut
    body shared by documents with different summaries is boilerplate that identifies none of
    them; those documents are left out, and counted in ``source.counts``.

    Raises ``ValueError`` when ``max_words`` is below 10, ``ImportError`` as ``load_python_docs``.
    """
    if max_words < _MIN_BODY_WORDS:
        raise ValueError(f"max_words={max_words}: ask for at least {_MIN_BODY_WORDS} words.")
    documents = load_python_docs()
    with_text: dict[str, list[Document]] = {}
    for document in documents:
        text = " ".join(document.body.split()[:max_words])
        with_text.setdefault(text, []).append(document)
    corpus: dict[str, str] = {}
    first_with_summary: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for text, alike in with_text.items():
        if len({document.summary for document in alike}) > 1:
            continue
        corpus[alike[0].id] = text
        query = first_with_summary.setdefault(alike[0].summary, alike[0].id)
        qrels.setdefault(query, {})[alike[0].id] = 1
    return RetrievalTask(
        "python-docs",
        corpus,
        {query: summary for summary, query in first_with_summary.items()},
        qrels,
        _source(
            documents,
            searched=len(corpus),
            left_out_as_boilerplate=len(documents) - len(corpus),
            queries=len(first_with_summary),
        ),
    )


def load_see_also() -> RetrievalTask:
    """Return the task ``python-docs/see-also``: find what a function's authors say to see also.

    A query is a summary; the corpus texts are ``name: summary``; relevant is what the
    *See Also* section names. A document's own text would be found first and is not relevant,
    so no document is on both sides: each is either asked with or searched for. The division
    (a local search for the largest directed cut, no random numbers) keeps as many of the
    pairs as it can; ``source.counts`` says how many there were and how many were kept.

    Raises ``ImportError`` as ``load_python_docs`` does.
    """
    documents = load_python_docs()
    by_id = {document.id: document for document in documents}
    pairs = [(d.id, other) for d in documents for other in d.see_also]
    asked = _divide(pairs)
    kept = [(query, other) for query, other in pairs if query in asked and other not in asked]
    qrels: dict[str, dict[str, int]] = {}
    for query, other in kept:
        qrels.setdefault(query, {})[other] = 1
    return RetrievalTask(
        "python-docs/see-also",
        {d.id: f"{d.id}: {d.summary}" for d in documents if d.id not in asked},
        {query: by_id[query].summary for query in qrels},
        qrels,
        _source(documents, see_also_pairs=len(pairs), see_also_pairs_kept=len(kept)),
    )


def load_library_labels() -> ClusteringTask:
    """Return the clustering task ``python-docs/library``: which library does a summary come from?

    The texts are summaries without the name of what they document and with the names of the
    libraries and their customary abbreviations (``np``, ``plt``) taken out, so that the label
    is not written in the text. A text that two libraries share is left out.

    Raises ``ImportError`` as ``load_python_docs`` does.
    """
    documents = load_python_docs()
    libraries_of: dict[str, set[str]] = {}
    for document in documents:
        text = " ".join(_LIBRARY_NAMES.sub(" ", document.summary).split())
        if len(text.split()) >= _MIN_SUMMARY_WORDS:
            libraries_of.setdefault(text, set()).add(document.library)
    labelled = {text: min(names) for text, names in libraries_of.items() if len(names) == 1}
    return ClusteringTask(
        "python-docs/library",
        list(labelled),
        list(labelled.values()),
        _source(
            documents, texts=len(labelled), texts_in_two_libraries=len(libraries_of) - len(labelled)
        ),
    )


def load_sentences() -> list[str]:
    """Return every different sentence of four words or more in summaries and bodies, in order.

    Raises ``ImportError`` as ``load_python_docs`` does.
    """
    texts = (part for d in load_python_docs() for part in (d.summary, d.body))
    lines = (line for text in texts for line in text.split("\n"))
    found = (s for line in lines for s in sentences.split_sentences(line, min_words=4))
    return list(dict.fromkeys(found))


def harvest() -> list[Document]:
    """Return the documents of the installed libraries, read from the imported libraries themselves.

    Importing prints no warnings and opens no figure or window. ``load_python_docs`` does the
    same and remembers the result.

    Raises ``ImportError`` when one of the six libraries is missing.
    """
    aliases: dict[str, str] = {}
    by_text: dict[tuple[str, str, str], str] = {}
    documents: dict[str, Document] = {}
    named: dict[str, tuple[str, ...]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # All first: SciPy rewrites some of NumPy's docstrings when it is imported.
        modules = {library: list(_import_modules(library)) for library in LIBRARIES}
        found: dict[int, str] = {}  # by id(object); the modules keep the objects alive
        for library in LIBRARIES:
            for module, name, kind, obj in _documented_objects(library, modules):
                if id(obj) in found:
                    aliases[name] = found[id(obj)]
                    continue
                parsed = docstrings.parse_docstring(obj.__doc__ or "")
                known = by_text.setdefault((library, parsed.summary, parsed.body), name)
                aliases[name] = found[id(obj)] = known
                if known == name and _long_enough(parsed):
                    documents[name] = Document(
                        name, library, module, kind, parsed.summary, parsed.body
                    )
                    named[name] = parsed.see_also
    return [
        replace(document, see_also=_resolve(document, named[name], aliases, documents))
        for name, document in documents.items()
    ]


def _import_modules(library: str) -> Iterator:
    importlib.import_module(_import_name(library))
    for name in LIBRARIES[library].split():
        try:
            yield importlib.import_module(name)
        except ModuleNotFoundError:
            continue  # this version of the library has no such module, or lacks an extra


def _documented_objects(library: str, modules) -> Iterator[tuple[str, str, str, object]]:
    """Yield (module, qualified name, kind, object) for what the library's public modules hold."""
    root = _import_name(library)
    for module in modules[library]:
        for name in sorted(set(getattr(module, "__all__", None) or vars(module))):
            try:
                obj = getattr(module, name, None)
            except ImportError:
                continue  # scikit-learn's experimental classes ask to be enabled first
            if name.startswith("_") or not _has_own_docstring(obj, root):
                continue
            qualified = f"{module.__name__}.{name}"
            yield module.__name__, qualified, _kind(obj), obj
            if qualified in CLASSES_WITH_MEMBERS:
                yield from _members(module.__name__, qualified, obj, root)


def _import_name(library: str) -> str:
    return "sklearn" if library == "scikit-learn" else library


def _members(module_name, qualified, cls, root):
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        member = getattr(member, "__func__", member)
        is_property = isinstance(member, property) or inspect.isgetsetdescriptor(member)
        if name.startswith("_") or not (is_property or inspect.isroutine(member)):
            continue
        if _has_own_docstring(member, root):
            kind = "property" if is_property else "method"
            yield module_name, f"{qualified}.{name}", kind, member


def _has_own_docstring(obj, root: str) -> bool:
    """Return whether the library wrote a docstring for this object (and not for its type)."""
    doc = getattr(obj, "__doc__", None)
    if inspect.ismodule(obj) or not isinstance(doc, str):
        return False
    if not callable(obj) and not inspect.isdatadescriptor(obj):
        return False  # a value, such as numpy.True_, shows the docstring of its type
    if not (inspect.isclass(obj) or inspect.isroutine(obj)) and doc == type(obj).__doc__:
        return False
    home = getattr(obj, "__module__", None)
    return not isinstance(home, str) or home.split(".")[0] in (root, "builtins")


def _kind(obj) -> str:
    if inspect.isclass(obj):
        return "class"
    is_function = inspect.isroutine(obj) or type(obj).__name__ == "ufunc"
    return "function" if is_function else "object"


def _long_enough(parsed) -> bool:
    return (
        len(parsed.summary.split()) >= _MIN_SUMMARY_WORDS
        and len(parsed.body.split()) >= _MIN_BODY_WORDS
    )


def _resolve(document, names, aliases, documents) -> tuple[str, ...]:
    """Return the ids of the documents that ``names``, written as seen from ``document``, stand for."""
    root = _import_name(document.library)
    parent = document.id.rpartition(".")[0]
    scopes = ["", f"{parent}.", f"{document.module}.", f"{root}."]
    scopes += [f"{module}." for module in LIBRARIES[document.library].split()]
    resolved = []
    for name in names:
        target = next((aliases[s + name] for s in scopes if s + name in aliases), "")
        if target in documents and target != document.id:
            resolved.append(target)
    return tuple(dict.fromkeys(resolved))


def _divide(pairs) -> set[str]:
    """Return the ids to ask with, so that many pairs run from this side to the other.

    Starts from the ids that name more than they are named by, then moves one id at a time to
    the other side as long as that keeps more pairs.
    """
    out: dict[str, list[str]] = {}
    into: dict[str, list[str]] = {}
    for query, other in pairs:
        out.setdefault(query, []).append(other)
        into.setdefault(other, []).append(query)
    nodes = sorted({*out, *into})
    asked = {n for n in nodes if len(out.get(n, ())) > len(into.get(n, ()))}
    moved = True
    while moved:
        moved = False
        for node in nodes:
            as_query = sum(other not in asked for other in out.get(node, ()))
            as_document = sum(query in asked for query in into.get(node, ()))
            if (node in asked and as_document > as_query) or (
                node not in asked and as_query > as_document
            ):
                asked ^= {node}
                moved = True
    return asked


def _source(documents, **counts) -> Source:
    per_library: dict[str, int] = {}
    for document in documents:
        per_library[document.library] = per_library.get(document.library, 0) + 1
    return Source(
        name="docstrings of " + ", ".join(LIBRARIES),
        version=", ".join(_versions()),
        licence="each library's own: BSD-3-Clause or, for Matplotlib, a PSF-style licence",
        citation="the documentation of the installed libraries, by their contributors",
        counts={"documents": len(documents), **counts, **per_library},
    )


def _versions() -> list[str]:
    """Return each library with its version; ImportError with the line to type where one is missing."""
    try:
        return [f"{library} {version(library)}" for library in LIBRARIES]
    except PackageNotFoundError as missing:
        raise ImportError(
            f"The texts of python-docs are the documentation of {', '.join(LIBRARIES)}, and "
            f"{missing.name} is not installed. Run: {install_line('course')}"
        ) from missing


def _cache_key() -> str:
    """Return a short name for one harvest: these libraries, this Python, this code."""
    parts = _versions()
    parts.append(f"python {sys.version_info.major}.{sys.version_info.minor}")
    parts += [
        Path(file).read_text("utf-8")
        for file in (__file__, docstrings.__file__, sentences.__file__)
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
