"""How a cell asks the control plane: by the standard library's client, past proxies, and following no redirect."""

import ssl
import urllib.request
from typing import Any


def opener(tls: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """A client whose token goes to the control plane, or nowhere.

    Args:
        tls: for https; None takes the system's authorities.
    """
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls), _NoRedirect()
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none."""
