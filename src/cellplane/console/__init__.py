"""The console: pages for a browser, which ask the control plane's API with the token that somebody gives them.

A page is a file each of HTML, script and style, without a build, and with nothing of others: ``PAGES`` lists them.
"""

from importlib.resources import files

PAGES = {
    "moves": ("moves.html", "text/html; charset=utf-8"),
    "moves.js": ("moves.js", "text/javascript; charset=utf-8"),
    "moves.css": ("moves.css", "text/css; charset=utf-8"),
}
"""Name in the path → file, and its media type."""


def page(name: str) -> tuple[bytes, str]:
    """The bytes of a page, and their media type; ``name`` is one of ``PAGES``."""
    file, media_type = PAGES[name]
    return files(__package__).joinpath(file).read_bytes(), media_type
