"""Until when certificates count: those in files, and those that servers show."""

import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from cellplane.doctor.facts import CertificateFact
from cellplane.doctor.settings import DoctorSettings


def of_file(path: Path, settings: DoctorSettings) -> CertificateFact:
    """The certificates of a PEM file: that which ends first."""
    try:
        with path.open("rb") as file:
            found = x509.load_pem_x509_certificates(file.read(settings.max_file_bytes))
    except (OSError, ValueError) as error:
        return CertificateFact(str(path), failure=f"it cannot be read ({error}): expected certificates in PEM")
    return min((_fact(str(path), each) for each in found), key=lambda fact: fact.not_after)


def shown_by(
    host: str, port: int, settings: DoctorSettings, client: tuple[Path, Path] | None = None
) -> CertificateFact:
    """The certificate that a server shows, whoever vouches for it: an expired one is to be seen too.

    Args:
        client: files of the certificate and key that are shown to it, where it asks for some.
    """
    about = f"{host}:{port}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        if client is not None:
            context.load_cert_chain(*client, password=lambda: "")
        with (
            socket.create_connection((host, port), timeout=settings.probe_seconds) as connection,
            context.wrap_socket(connection, server_hostname=host) as tls,
        ):
            data = tls.getpeercert(binary_form=True)
        if data is None:
            return CertificateFact(about, failure="it shows no certificate")
        return _fact(about, x509.load_der_x509_certificate(data))
    except (OSError, ValueError) as error:
        return CertificateFact(about, failure=f"its certificate could not be had ({error})")


def address_of(url: str) -> tuple[str, int] | None:
    """Host and port of an https URL; None for another."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (host, port or 443) if parts.scheme == "https" and host is not None else None


def _fact(about: str, certificate: x509.Certificate) -> CertificateFact:
    return CertificateFact(
        about, certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    )
