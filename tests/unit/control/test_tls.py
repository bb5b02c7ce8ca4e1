"""TLS of the API by files: who is refused in the handshake, on both sides."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest

from cellplane.client import Client
from cellplane.control.peers import names_of
from cellplane.control.settings import ControlSettings
from cellplane.control.tls import server_tls
from cellplane.control_tls import ControlTls
from cellplane.errors import ControlPlaneError, UnreachableError, ValidationError
from cellplane.router.settings import RouterSettings
from cellplane.router.source import ControlPlane
from unit.control.certificates import Authority
from unit.control.serving import Api, as_holder, eventually, serving


@dataclass(frozen=True)
class Secured:
    """A control plane that asks clients for certificates, and a client that has one."""

    api: Api
    folder: Path
    authority: Authority
    client: ControlTls

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.api.port}"

    def ask(self, tls: ControlTls) -> None:
        with Client(self.url, "test", self.api.token, tls=tls) as client:
            client.get("/v1/cells")


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    authority = Authority(tmp_path, "ours")
    server, shown = authority.sign("server"), authority.sign("router-1")
    client = ControlTls(authority.file, shown.certificate, shown.key)
    with serving(
        tmp_path / "state",
        client_tls=client.context(),
        tls_certificate=server.certificate,
        tls_key=server.key,
        tls_client_ca=authority.file,
        tls_watch_seconds=0.05,
    ) as api:
        yield Secured(api, tmp_path, authority, client)


def test_a_client_with_a_certificate_is_served(secured: Secured) -> None:
    secured.ask(secured.client)
    assert secured.api.get("/healthz").json()["status"] == "ok"


def test_a_router_asks_over_it(secured: Secured) -> None:
    secured.api.fill()
    files = {"control_ca": secured.client.ca, "control_cert": secured.client.certificate}
    settings = RouterSettings(
        router_id="router-1",
        control_url=secured.url,
        state_dir=secured.folder,
        port=1,
        token_file=secured.folder / "state" / "admin-token",
        control_key=secured.client.key,
        **files,  # type: ignore[arg-type]  # paths
    )

    async def fetch() -> bytes | None:
        control = ControlPlane(settings)
        try:
            found = await control.fetch_table(None, None, 0)
            return None if found is None else found.data
        finally:
            await control.close()

    table = asyncio.run(fetch())
    assert table is not None
    assert len(table) > 1000


def test_a_routers_token_counts_with_its_own_certificate_alone(secured: Secured) -> None:
    mine = secured.api.holder(name="edge", role="router", subject="router-1")
    others = secured.api.holder(name="edge", role="router", subject="router-2")
    for token, status in ((mine, 503), (others, 401)):
        assert secured.api.http.get("/v1/table", headers=as_holder(token)).status_code == status
    problem = secured.api.http.get("/v1/table", headers=as_holder(others)).json()
    assert "the token is that of 'router-2', and the certificate that of router-1" in problem["detail"]


def test_a_certificate_names_whom_its_subject_and_its_host_names_name() -> None:
    certificate = {
        "subject": ((("organizationName", "shop"),), (("commonName", "router-1"),)),
        "subjectAltName": (("DNS", "router-2"), ("IP Address", "127.0.0.1"), ("URI", "router-3")),
    }
    assert set(names_of(certificate)) == {"router-1", "router-2"}
    assert set(names_of({})) == set()


def test_a_client_without_a_certificate_is_refused_before_it_says_anything(secured: Secured) -> None:
    with pytest.raises(UnreachableError):
        secured.ask(replace(secured.client, certificate=None, key=None))
    with pytest.raises(httpx2.HTTPError):
        httpx2.get(f"http://127.0.0.1:{secured.api.port}/healthz", trust_env=False)


def test_a_client_of_another_authority_or_of_yesterday_is_refused(secured: Secured) -> None:
    foreign = Authority(secured.folder, "theirs").sign("intruder")
    old = secured.authority.sign("old", days=-1)
    for pair in (foreign, old):
        with pytest.raises(UnreachableError):
            secured.ask(replace(secured.client, certificate=pair.certificate, key=pair.key))
    secured.ask(secured.client)


def test_a_control_plane_of_another_authority_is_not_believed(secured: Secured) -> None:
    other = Authority(secured.folder, "theirs")
    with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        secured.ask(replace(secured.client, ca=other.file))
    with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        secured.ask(replace(secured.client, ca=None))


@pytest.mark.parametrize(
    ("address", "days", "reason"), [("192.0.2.1", 1, "IP address mismatch"), ("127.0.0.1", -1, "expired")]
)
def test_a_control_plane_of_another_name_or_of_yesterday_is_not_believed(
    tmp_path: Path, address: str, days: float, reason: str
) -> None:
    authority = Authority(tmp_path, "ours")
    pair = authority.sign("server", address=address, days=days)
    trusting = ssl._create_unverified_context()
    with (
        serving(tmp_path / "state", client_tls=trusting, tls_certificate=pair.certificate, tls_key=pair.key) as api,
        Client(f"https://127.0.0.1:{api.port}", "test", api.token, tls=ControlTls(authority.file)) as client,
        pytest.raises(UnreachableError, match=reason),
    ):
        client.get("/v1/cells")


def test_a_renewed_certificate_is_shown_without_a_restart_and_a_damaged_one_is_not(secured: Secured) -> None:
    def serial() -> int:
        context = secured.client.context()
        with (
            socket.create_connection(("127.0.0.1", secured.api.port), 30) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
        ):
            found = wrapped.getpeercert()
            assert found is not None
            return int(str(found["serialNumber"]), 16)

    first = serial()
    secured.authority.sign("server")
    eventually(lambda: serial() != first, "the renewed one is shown")
    second = serial()
    (secured.folder / "server.pem").write_text("damaged")
    with pytest.raises(AssertionError, match="not within"):
        eventually(lambda: serial() != second, "a damaged one is shown", seconds=0.5)


def test_tokens_do_not_leave_the_machine_in_the_clear_unless_somebody_says_so(tmp_path: Path) -> None:
    settings = ControlSettings(state_dir=tmp_path, port=1)
    for host in ("127.0.0.1", "::1", "127.1.2.3", "localhost"):
        assert server_tls(replace(settings, host=host)) is None
    for host in ("0.0.0.0", "::", "192.0.2.1", "control.example"):
        with pytest.raises(ValidationError, match="--allow-plain-http"):
            server_tls(replace(settings, host=host))
        assert server_tls(replace(settings, host=host, allow_plain_http=True)) is None
    pair = Authority(tmp_path, "ours").sign("server")
    assert server_tls(replace(settings, host="0.0.0.0", tls_certificate=pair.certificate, tls_key=pair.key))


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    one, other = authority.sign("one"), authority.sign("other")
    settings = ControlSettings(state_dir=tmp_path, port=1)
    with pytest.raises(ValidationError, match="both --tls-cert and --tls-key"):
        server_tls(replace(settings, tls_certificate=one.certificate))
    with pytest.raises(ValidationError, match="--tls-client-ca"):
        server_tls(replace(settings, tls_client_ca=authority.file))
    with pytest.raises(ValidationError, match=r"one\.pem cannot be used"):
        server_tls(replace(settings, tls_certificate=one.certificate, tls_key=other.key))
    with pytest.raises(ValidationError, match="--tls-client-ca"):
        server_tls(replace(settings, tls_certificate=one.certificate, tls_key=one.key, tls_client_ca=tmp_path / "none"))
    with pytest.raises(ControlPlaneError, match="both --control-cert and --control-key"):
        ControlTls(certificate=one.certificate).context()
    with pytest.raises(ControlPlaneError, match="--control-ca"):
        ControlTls(ca=tmp_path / "none").context()
