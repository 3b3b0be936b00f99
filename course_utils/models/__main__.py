"""Fetch a model once: ``python -m course_utils.models NAME [FOLDER]``."""

import sys

from course_utils.models.loading import prefetch

if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m course_utils.models NAME [FOLDER]")
    print(prefetch(*sys.argv[1:]))
