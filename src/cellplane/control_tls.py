"""How clients of the control plane, routers and the command line, know it, and show who they are, by TLS."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from cellplane.errors import ControlPlaneError


@dataclass(frozen=True, slots=True)
class ControlTls:
    """Files, in PEM.

    Attributes:
        ca: the authorities that vouch for the control plane; None for those of the system.
        certificate: what this client shows; None where it shows none.
        key: its private key.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """The TLS context of these files; the name in the URL has to be in the control plane's certificate.

        Raises:
            ControlPlaneError: a file cannot be used.
        """
        if (self.certificate is None) != (self.key is None):
            raise ControlPlaneError("a client's certificate needs its key: name both --control-cert and --control-key")
        try:
            context = ssl.create_default_context(cafile=self.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate is not None:
                # No password is asked for at a terminal that nobody watches.
                context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            raise ControlPlaneError(
                f"the files of --control-ca, --control-cert and --control-key cannot be used: {error}. Expected PEM, a "
                "certificate with its own key"
            ) from error
        return context
