"""A service in a cell as files, for `cellplane cell init`: FastAPI on the SDK, tests, a manifest, a Dockerfile.

The files are templates in ``template/``: ``$name`` and ``$package`` in them, ``package`` in their paths.
"""

from cellplane.scaffold.project import MAX_NAME_CHARS, Project
from cellplane.scaffold.write import Written, write

__all__ = ["MAX_NAME_CHARS", "Project", "Written", "write"]
