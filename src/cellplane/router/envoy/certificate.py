"""Renders TLS at the edge: which certificate clients are shown, from files that may change while Envoy runs."""

from typing import Any

from cellplane.router.envoy.names import CERTIFICATE, CERTIFICATE_FILE
from cellplane.router.settings import RouterSettings

Json = dict[str, Any]

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
STRICT_TRANSPORT = "max-age=31536000"
"""How long a browser is to ask by HTTPS alone, once it was answered so: a year."""


def certificate(settings: RouterSettings) -> Json:
    """SDS: the one secret. Envoy looks at the files again when they, or a folder that they are in, are replaced; a pair
    that does not fit changes nothing.
    """
    assert settings.tls_certificate is not None, "TLS has a certificate"
    assert settings.tls_key is not None, "TLS has a key"
    chain, key = settings.tls_certificate.absolute(), settings.tls_key.absolute()
    return {
        "@type": f"{_TLS}.Secret",
        "name": CERTIFICATE,
        "tls_certificate": {
            "certificate_chain": {"filename": str(chain)},
            "private_key": {"filename": str(key)},
            "watched_directory": {"path": str(chain.parent)},
        },
    }


def transport_socket(settings: RouterSettings) -> Json:
    """What makes a listener's connections TLS: 1.2 or later, HTTP/2 or HTTP/1.1."""
    path = settings.state_dir.absolute() / "envoy" / CERTIFICATE_FILE
    source = {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TLS}.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificate_sds_secret_configs": [{"name": CERTIFICATE, "sds_config": source}],
            },
        },
    }
