"""Data files that come inside ordinary Python packages, found without running the package."""

import hashlib
from importlib.metadata import PackageNotFoundError, distribution, files
from pathlib import Path

from course_utils.models.files import install_line

REINSTALL_COURSE = (
    "Install the course again from its repository; in a copy of that, run: "
    "pip install --force-reinstall --no-deps ."
)


def package_file(
    package: str, relative: str, *, extra: str = "course", sha256: str | None = None
) -> Path:
    """Return the path of a data file of an installed package; no code of the package is run.

    ``package`` is the distribution's name, ``relative`` the path below site-packages with
    forward slashes, ``extra`` the extra of the course that installs it. With ``sha256`` the file
    must be, byte for byte, the one whose counts the course records.

    Raises ``ImportError`` when the package or the file is missing, with the install line, and
    ``ValueError`` when the checksum is another, with both digests.

    >>> package_file("pip", "pip/__init__.py").name
    '__init__.py'
    """
    path = package_path(package, relative, extra=extra)
    if sha256 is not None:
        check_sha256(path.read_bytes(), sha256, where=f"{relative} of {package}", extra=extra)
    return path


def package_path(package: str, relative: str, *, extra: str = "course") -> Path:
    """Return the path of a file or folder of an installed package, unread.

    Arguments are those of ``package_file``. Raises ``ImportError`` when the package or the file is
    missing, with the install line.
    """
    try:
        path = Path(str(distribution(package).locate_file(relative)))
    except PackageNotFoundError:
        raise ImportError(
            f"These texts come with the package {package}, which is not installed. Run: "
            f"{install_line(extra)}"
        ) from None
    if not path.exists():
        raise ImportError(
            f"The package {package} {package_version(package)} is installed, but {relative} is "
            f"not in it. Run: {again_line(extra)}"
        )
    return path


def again_line(extra: str) -> str:
    """Return the command that puts the packages of an extra back as they were published."""
    return f"{install_line(extra)} --force-reinstall --no-deps"


def course_folder(name: str, file: str) -> Path:
    """Return where a folder of the course's own ``datasets/`` lies: in the repository, or where pip put it.

    It is the folder that holds ``file``. It cannot be part of the package: that would need a folder
    ``datasets`` that Python can import, in the way of the library of that name. Raises
    ``FileNotFoundError`` where it is in neither place.
    """
    folder = Path(__file__).parents[2] / "datasets" / name
    try:
        installed = files("course-utils") or ()
    except PackageNotFoundError:
        installed = ()
    listed = [
        Path(str(found.locate())).resolve().parent
        for found in installed
        if found.parts[-2:] == (name, file)
    ]
    for candidate in [folder, *listed]:
        if candidate.joinpath(file).is_file():
            return candidate
    raise FileNotFoundError(
        f"{name}/{file} is neither in {folder} nor among the files of the installed package. "
        f"{REINSTALL_COURSE}"
    )


def package_version(package: str) -> str:
    """Return the version of an installed package; raise ``PackageNotFoundError`` if it is not."""
    return distribution(package).version


def check_sha256(content: bytes, expected: str, *, where: str, extra: str = "course") -> None:
    """Raise ``ValueError`` with both digests unless ``content`` has the ``expected`` sha256."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(
            f"{where} is not what this course was written for: its sha256 is {found}, recorded is "
            f"{expected}. The numbers in the lessons would not hold. Run: {again_line(extra)}"
        )


def check_counts(found: dict[str, int], recorded: dict[str, int], *, where: str) -> None:
    """Raise ``ValueError`` naming every count in ``recorded`` that ``found`` does not reach."""
    wrong = [
        f"{found.get(name)} {name.replace('_', ' ')}, recorded {number}"
        for name, number in recorded.items()
        if found.get(name) != number
    ]
    if wrong:
        raise ValueError(
            f"{where} holds " + "; ".join(wrong) + ". Its format has changed: install the "
            "recorded version, or correct the loader and its counts together."
        )
