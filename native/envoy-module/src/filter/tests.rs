//! Behaviour of the filter on a fake stream.

use super::*;
use crate::cookie::Keyring;
use crate::proof::{proof, Bound};
use crate::stream::MAX_HEADERS;
use crate::support::{Answer, FakeStream, OverlayWriter, Source, TableWriter};
use crate::table::{Base, Table};
use crate::xxh32::xxh32;
use std::sync::Arc;

type Config = RouteConfig<Vec<u8>>;

fn config(change: impl FnOnce(&mut TableWriter)) -> Config {
    let mut writer = TableWriter::sample();
    change(&mut writer);
    RouteConfig::new(Table::new(Arc::new(Base::new(writer.encode()).unwrap())), None)
}

const COOKIE_KEYS: &str = "new AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
/// As `Keyring.parse(COOKIE_KEYS).sign("route", "pinned", expires=2_000_000_000)` of `cellplane.signed_cookie` writes it.
const COOKIE: &str = "route=cp1.2000000000.new.UKCy6_AZwHBn5LncyL1c3R0KCstZkAyFa3tCey2yDQQ.pinned";

/// A config whose sources are verified: a claim, else a cookie.
fn verifying() -> Config {
    let writer = TableWriter {
        key_sources: vec![Source::claim("org.id"), Source::cookie("route")],
        ..TableWriter::sample()
    };
    let table = Table::new(Arc::new(Base::new(writer.encode()).unwrap()));
    RouteConfig::new(table, Some(Keyring::parse(COOKIE_KEYS).unwrap()))
}

fn routed(config: &Config, mut stream: FakeStream) -> FakeStream {
    let verdict = on_request_headers(&mut stream, &mut Flow::default(), Some(config), true);
    assert_eq!(verdict, Verdict::Continue, "{:?}", stream.answer);
    assert_eq!(stream.answer, None);
    stream
}

fn refused(config: Option<&Config>, mut stream: FakeStream) -> Answer {
    assert_eq!(
        on_request_headers(&mut stream, &mut Flow::default(), config, true),
        Verdict::Stop
    );
    stream.answer.expect("a request that is stopped is answered")
}

fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = headers.iter();
    pairs
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

#[test]
fn a_request_for_two_hosts_or_for_none_is_refused_whoever_it_is_for() {
    let config = config(|_| {});
    for host in ["a.example,b.example", "user@shop.example", "a b"] {
        let headers = [(":authority", host), ("x-tenant-id", "pinned"), ("x-cell-id", "a")];
        let answer = refused(Some(&config), FakeStream::new("GET", &headers));
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(r#""code":"invalid-host""#), "{}", answer.body);
    }
}

#[test]
fn a_cell_is_told_by_a_key_that_a_router_sent_the_request() {
    let proving = || Config {
        proof_keys: Some(Keyring::parse(COOKIE_KEYS).unwrap()),
        ..config(|_| {})
    };
    let headers = [
        ("x-tenant-id", "pinned"),
        (":path", "/a?b"),
        ("x-cell-proof", "a client's own"),
    ];
    let stream = routed(&proving(), FakeStream::new("POST", &headers));
    let bound = Bound {
        cell: b"cell-4",
        epoch: b"17",
        tenant: b"pinned",
        method: b"POST",
        path: b"/a?b",
    };
    let keys = Keyring::parse(COOKIE_KEYS).unwrap();
    assert_eq!(
        stream.values("x-cell-proof"),
        [proof(&keys, bound, stream.unix_seconds())]
    );
    let stream = routed(&config(|_| {}), FakeStream::new("POST", &headers));
    assert!(stream.values("x-cell-proof").is_empty());
}

#[test]
fn a_routed_request_names_its_cell_epoch_and_tenant() {
    let stream = routed(
        &config(|_| {}),
        FakeStream::new("POST", &[("x-tenant-id", "pinned"), ("accept", "*/*")]),
    );
    assert_eq!(stream.values("x-cell-id"), ["cell-4"]);
    assert_eq!(stream.values("x-cell-epoch"), ["17"]);
    assert_eq!(stream.values("x-tenant-id"), ["pinned"]);
    assert_eq!(stream.values("accept"), ["*/*"]);
    assert_eq!(stream.cluster.as_deref(), Some("cell-4"));
}

#[test]
fn the_next_cell_of_a_shard_takes_over_where_the_first_is_down() {
    let mut stream = FakeStream::new("GET", &[("x-tenant-id", "pinned")]);
    stream.down = vec!["cell-4", "cell-2"];
    assert_eq!(routed(&config(|_| {}), stream).values("x-cell-id"), ["cell-1"]);
}

#[test]
fn what_only_routers_say_is_removed_from_a_request() {
    let stream = routed(
        &config(|_| {}),
        FakeStream::new(
            "GET",
            &[
                ("x-cell-id", "cell-1"),
                ("x-cell-id", "cell-2"),
                ("x-cell-epoch", "99"),
                ("x-tenant-id", "pinned"),
                ("x-cell-anything", "1"),
                ("x-cellar", "wine"),
            ],
        ),
    );
    assert_eq!(stream.values("x-cell-id"), ["cell-4"]);
    assert_eq!(stream.values("x-cell-epoch"), ["17"]);
    assert_eq!(stream.values("x-cell-anything"), [""; 0]);
    assert_eq!(stream.values("x-cellar"), ["wine"]);
}

#[test]
fn a_claim_that_the_proxy_hands_over_is_the_key_and_goes_no_further() {
    let stream = routed(
        &verifying(),
        FakeStream::new("GET", &[("x-cell-claim-a16404e4", "pinned"), ("x-tenant-id", "other")]),
    );
    assert_eq!(stream.values("x-tenant-id"), ["pinned"]);
    assert_eq!(stream.values("x-cell-id"), ["cell-4"]);
    assert_eq!(stream.values("x-cell-claim-a16404e4"), [""; 0]);
}

#[test]
fn a_claim_that_no_source_reads_is_what_a_client_made_up() {
    for name in ["x-cell-claim-1", "x-cell-claim-00", "x-cell-claim-"] {
        let headers = [(name, "pinned"), ("x-tenant-id", "pinned")];
        let answer = refused(Some(&verifying()), FakeStream::new("GET", &headers));
        assert_eq!(answer.details, "cellplane_unauthenticated", "{name}");
    }
    let stream = routed(
        &config(|_| {}),
        FakeStream::new("GET", &[("x-cell-claim-a16404e4", "a"), ("x-tenant-id", "pinned")]),
    );
    assert_eq!(stream.values("x-cell-claim-a16404e4"), [""; 0]);
}

#[test]
fn a_signed_cookie_is_the_key_until_it_expires() {
    let mut stream = FakeStream::new("GET", &[("cookie", COOKIE)]);
    stream.now = 1_999_999_999;
    assert_eq!(routed(&verifying(), stream.clone()).values("x-tenant-id"), ["pinned"]);
    stream.now += 1;
    let answer = refused(Some(&verifying()), stream);
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.headers,
        owned(&[
            ("content-type", "application/problem+json"),
            ("www-authenticate", "Bearer"),
            ("x-cell-epoch", "17")
        ])
    );
}

#[test]
fn a_refused_request_has_no_route_by_what_it_spoofed() {
    let mut stream = FakeStream::new("GET", &[("x-tenant-id", "suspended"), ("x-cell-id", "cell-1")]);
    assert_eq!(
        on_request_headers(&mut stream, &mut Flow::default(), Some(&config(|_| {})), true),
        Verdict::Stop
    );
    assert_eq!(stream.values("x-cell-id"), [""; 0]);
    assert_eq!(stream.cluster, None);
}

#[test]
fn only_a_refused_request_is_marked_as_refused() {
    let mut stream = FakeStream::new("GET", &[("x-tenant-id", "suspended")]);
    assert_eq!(
        on_request_headers(&mut stream, &mut Flow::default(), Some(&config(|_| {})), true),
        Verdict::Stop
    );
    assert!(stream.marked);
    assert!(!routed(&config(|_| {}), FakeStream::new("GET", &[("x-tenant-id", "pinned")])).marked);
}

#[test]
fn another_key_header_passes_and_overwrites_the_tenant() {
    let config = config(|writer| writer.key_sources = vec![Source::header("x-org")]);
    let stream = routed(
        &config,
        FakeStream::new(
            "GET",
            &[("x-tenant-id", "a"), ("x-org", "pinned"), ("x-tenant-id", "b")],
        ),
    );
    assert_eq!(stream.values("x-org"), ["pinned"]);
    assert_eq!(stream.values("x-tenant-id"), ["pinned"]);
    let answer = refused(Some(&config), FakeStream::new("GET", &[("x-tenant-id", "pinned")]));
    assert_eq!(answer.details, "cellplane_missing_key");
}

#[test]
fn a_tenant_id_that_is_not_the_key_is_overwritten() {
    let config = config(|writer| writer.key_sources = vec![Source::subdomain("tests"), Source::header("x-tenant-id")]);
    let ask = |authority: &str, headers: &[(&str, &str)]| {
        let mut stream = FakeStream::new("GET", headers);
        stream.set(Headers::Request, b":authority", authority.as_bytes());
        routed(&config, stream).values("x-tenant-id").join(", ")
    };
    assert_eq!(ask("pinned.tests", &[("x-tenant-id", "other")]), "pinned");
    assert_eq!(
        ask("pinned.tests", &[("x-tenant-id", "other"), ("x-tenant-id", "pinned")]),
        "pinned"
    );
    assert_eq!(ask("PINNED.tests", &[("x-tenant-id", "PINNED")]), "pinned");
    assert_eq!(ask("pinned.tests", &[]), "pinned");
    assert_eq!(ask("tests", &[("x-tenant-id", "other")]), "other");
}

#[test]
fn a_request_without_a_key_names_its_cell_and_epoch_only() {
    // Every third slot has the second shard; the cells of the others are the first, and one in maintenance.
    let by_source = ["cell-1", "cell-2", "cell-1"][(xxh32(b"192.0.2.1") & 0xFFFF) as usize % 3];
    for (code, cell) in [(1, "cell-2"), (2, by_source)] {
        let config = config(|writer| {
            writer.key_sources = vec![Source::path("/t/"), Source::header("x-tenant-id")];
            writer.missing_key = code;
            writer.default_shard = Some(1).filter(|_| code == 1);
        });
        let mut stream = FakeStream::new("GET", &[("x-tenant-id", ""), ("x-cell-id", "cell-4")]);
        stream.address = "192.0.2.1:50000";
        let stream = routed(&config, stream);
        assert_eq!(stream.values("x-cell-id"), [cell]);
        assert_eq!(stream.values("x-cell-epoch"), ["17"]);
        assert_eq!(stream.values("x-tenant-id"), [""; 0]);
    }
}

#[test]
fn an_overlay_changes_tenants_and_the_epoch() {
    let base = TableWriter::sample().encode();
    let overlay = OverlayWriter::sample(&base).encode();
    let base = Arc::new(Base::new(base).unwrap());
    let config = RouteConfig::new(Table::with_overlay(base, overlay).unwrap(), None);
    for (key, cell) in [("pinned", "cell-2"), ("arrived", "cell-1"), ("quarantined", "cell-2")] {
        let stream = routed(&config, FakeStream::new("GET", &[("x-tenant-id", key)]));
        assert_eq!(stream.values("x-cell-id"), [cell], "{key}");
        assert_eq!(stream.values("x-cell-epoch"), ["18"]);
    }
}

#[test]
fn only_get_head_and_options_read() {
    let config = config(|_| {});
    for method in ["GET", "HEAD", "OPTIONS"] {
        let stream = routed(&config, FakeStream::new(method, &[("x-tenant-id", "moving")]));
        assert_eq!(stream.values("x-cell-id"), ["cell-1"], "{method}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "get", "QUERY", ""] {
        let answer = refused(Some(&config), FakeStream::new(method, &[("x-tenant-id", "moving")]));
        assert_eq!(answer.details, "cellplane_tenant_moving", "{method}");
    }
}

#[test]
fn a_refusal_is_a_problem_document() {
    let answer = refused(
        Some(&config(|_| {})),
        FakeStream::new("GET", &[("x-tenant-id", "maintained")]),
    );
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.headers,
        owned(&[
            ("content-type", "application/problem+json"),
            ("retry-after", "3"),
            ("x-cell-id", "cell-3"),
            ("x-cell-epoch", "17"),
        ])
    );
    assert_eq!(
        answer.body,
        Code::CellMaintenance.problem().document(Some("cell-3"), "")
    );
    assert_eq!(answer.details, "cellplane_cell_maintenance");
}

#[test]
fn a_grpc_client_is_told_a_grpc_status() {
    let headers = |key| [("x-tenant-id", key), ("content-type", "application/grpc+proto")];
    for (key, status) in [("suspended", "7"), ("maintained", "14"), ("/", "3")] {
        let answer = refused(Some(&config(|_| {})), FakeStream::new("POST", &headers(key)));
        assert_eq!(answer.headers[0], ("grpc-status".to_owned(), status.to_owned()));
    }
}

#[test]
fn only_a_503_says_when_to_retry() {
    let answer = refused(
        Some(&config(|_| {})),
        FakeStream::new("GET", &[("x-tenant-id", "suspended")]),
    );
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.headers,
        owned(&[("content-type", "application/problem+json"), ("x-cell-epoch", "17")])
    );
}

#[test]
fn a_refusal_does_not_repeat_what_the_request_says() {
    let config = config(|writer| writer.unknown_tenant = 1);
    for key in ["<script>", "unheard-of"] {
        let answer = refused(Some(&config), FakeStream::new("GET", &[("x-tenant-id", key)]));
        assert!(!format!("{answer:?}").contains(key), "{answer:?}");
    }
}

#[test]
fn a_request_whose_cells_are_all_down_is_refused() {
    let mut stream = FakeStream::new("GET", &[("x-tenant-id", "pinned")]);
    stream.down = vec!["cell-1", "cell-2", "cell-4"];
    let answer = refused(Some(&config(|_| {})), stream);
    assert_eq!(
        answer.body,
        Code::CellUnavailable.problem().document(Some("cell-4"), "")
    );
}

#[test]
fn nothing_passes_without_a_table() {
    let answer = refused(
        None,
        FakeStream::new("CONNECT", &[("x-tenant-id", "pinned"), ("x-cell-id", "cell-1")]),
    );
    assert_eq!((answer.status, answer.details.as_str()), (404, "cellplane_no_route"));
    assert_eq!(answer.headers.len(), 1);
}

#[test]
fn more_headers_than_a_scan_sees_are_refused() {
    let mut stream = FakeStream::new("GET", &[("x-tenant-id", "pinned")]);
    stream
        .request
        .resize(MAX_HEADERS, (b"accept".to_vec(), b"*/*".to_vec()));
    let one_more = {
        let mut stream = stream.clone();
        stream
            .request
            .resize(MAX_HEADERS + 1, (b"x-cell-id".to_vec(), b"cell-1".to_vec()));
        stream
    };
    routed(&config(|_| {}), stream);
    let answer = refused(Some(&config(|_| {})), one_more);
    assert_eq!(
        (answer.status, answer.details.as_str()),
        (431, "cellplane_too_many_headers")
    );
}

#[test]
fn trailers_cannot_say_what_routers_say() {
    let mut stream = FakeStream::new("POST", &[]).with_trailers(&[
        ("x-cell-id", "cell-1"),
        ("x-tenant-id", "pinned"),
        ("grpc-status", "0"),
        ("x-cell-id", "cell-2"),
    ]);
    assert_eq!(on_request_trailers(&mut stream), Verdict::Continue);
    assert_eq!(stream.trailers, [(b"grpc-status".to_vec(), b"0".to_vec())]);
    stream
        .trailers
        .resize(MAX_HEADERS + 1, (b"x-cell-id".to_vec(), b"cell-1".to_vec()));
    assert_eq!(on_request_trailers(&mut stream), Verdict::Stop);
}

#[test]
fn a_fault_is_answered_with_500() {
    let mut stream = FakeStream::new("GET", &[]);
    assert_eq!(fail(&mut stream), Verdict::Stop);
    assert_eq!(
        stream.answer.unwrap().body,
        Code::InternalError.problem().document(None, "")
    );
}
