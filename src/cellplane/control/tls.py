"""TLS of the control plane's API, by files: its own certificate, and whose certificates it asks clients for."""

import asyncio
import ipaddress
import ssl
from pathlib import Path

import structlog

from cellplane.control.settings import ControlSettings
from cellplane.errors import ValidationError

log = structlog.get_logger()


class ServerTls:
    """The TLS context of a control plane.

    A certificate that is renewed in its files is used for new connections within ``tls_watch_seconds``; other
    authorities for clients need a restart.

    Raises:
        ValidationError: a file cannot be used; the field is the option that names it.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None, watch_seconds: float) -> None:
        self._certificate = certificate
        self._key = key
        self._watch_seconds = watch_seconds
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._signature()
        self._load(self.context)
        if client_ca is not None:
            try:
                self.context.load_verify_locations(cafile=client_ca)
            except (OSError, ssl.SSLError) as error:
                raise _unusable("--tls-client-ca", client_ca, error) from error
            # Whoever has none is refused in the handshake: no byte of a request is read.
            self.context.verify_mode = ssl.CERT_REQUIRED

    async def follow(self) -> None:
        """Take renewed files, until cancelled; what is damaged leaves the certificate before."""
        while True:
            await asyncio.sleep(self._watch_seconds)
            seen = self._signature()
            if seen == self._seen:
                continue
            self._seen = seen
            try:
                # Tried on another context first: one that is half loaded shows a certificate with another's key.
                self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
                self._load(self.context)
            except ValidationError as error:
                log.error("certificate_not_taken", error=str(error))
            else:
                log.info("certificate_taken", file=str(self._certificate))

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            # No password is asked for at a terminal that nobody watches.
            context.load_cert_chain(self._certificate, self._key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            raise _unusable("--tls-cert", self._certificate, error) from error

    def _signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_signature, (self._certificate, self._key)))


def server_tls(settings: ControlSettings) -> ServerTls | None:
    """That of these settings; None where they name no certificate.

    Raises:
        ValidationError: they contradict each other, would send tokens in the clear to other machines, or name files
            that cannot be used.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if (certificate is None) != (key is None):
        raise ValidationError("--tls-cert", "TLS needs both --tls-cert and --tls-key")
    if certificate is None or key is None:
        if settings.tls_client_ca is not None:
            raise ValidationError("--tls-client-ca", "clients show certificates over TLS alone: name --tls-cert too")
        if not is_loopback(settings.host) and not settings.allow_plain_http:
            raise ValidationError(
                "--host",
                f"{settings.host} is reached from other machines, and without TLS whoever is on the way reads tokens: "
                "name --tls-cert and --tls-key, or, where something in front speaks TLS, say --allow-plain-http",
            )
        return None
    return ServerTls(certificate, key, settings.tls_client_ca, settings.tls_watch_seconds)


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _unusable(field: str, path: Path, error: Exception) -> ValidationError:
    return ValidationError(field, f"{path} cannot be used: {error}. Expected PEM, the certificate with its own key")
