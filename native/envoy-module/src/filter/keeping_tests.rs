//! Answers that are kept and given, on a fake stream.

use super::*;
use crate::board::{Board, Count};
use crate::kept::Kept;
use crate::stream::Response;
use crate::support::{board_bytes, Answer, CellRow, FakeStream, PoolRow, TableWriter, TenantRow, TestFile};
use crate::table::{Base, Table};
use std::sync::Arc;

type Config = RouteConfig<Vec<u8>>;

const SECOND: u64 = 1_000_000_000;
const MIB: usize = 1024 * 1024;

/// A config whose tenants read what was kept, for a minute.
fn config(change: impl FnOnce(&mut TableWriter)) -> Config {
    let mut writer = TableWriter::sample();
    writer.policies[0].reads = 2;
    writer.policies[0].cache_s = 60;
    writer.tenants.push(TenantRow::new("globex", Some(1), 1, 0));
    change(&mut writer);
    RouteConfig {
        kept: Some(Arc::new(Kept::new(MIB))),
        tenant_limits: Arc::default(),
        ..RouteConfig::new(Table::new(Arc::new(Base::new(writer.encode()).unwrap())), None)
    }
}

fn request(method: &str, tenant: &str, headers: &[(&str, &str)]) -> FakeStream {
    let headers: Vec<_> = [("x-tenant-id", tenant)].iter().chain(headers).copied().collect();
    let mut stream = FakeStream::new(method, &headers);
    stream.clock_ns = 10 * SECOND;
    stream
}

/// Sends a request to its cell, which answers so, in these parts.
fn answered(config: &Config, mut stream: FakeStream, status: u16, said: &[(&str, &str)], parts: &[&[u8]]) -> Flow {
    let mut flow = Flow::default();
    let verdict = on_request_headers(&mut stream, &mut flow, Some(config), true);
    assert_eq!(verdict, Verdict::Continue, "{:?}", stream.answer);
    stream.response = Response {
        status: Some(status),
        flags: 0,
    };
    stream.response_headers = said
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect();
    assert_eq!(on_response_headers(&mut stream, &mut flow, config), Verdict::Continue);
    keep_headers(&stream, &mut flow, config, parts.is_empty());
    for (place, part) in parts.iter().enumerate() {
        stream.response_parts = part.chunks(7).map(<[u8]>::to_vec).collect();
        keep_body(&stream, &mut flow, config, place + 1 == parts.len());
    }
    flow
}

fn get(config: &Config, tenant: &str, said: &[(&str, &str)]) {
    answered(
        config,
        request("GET", tenant, &[]),
        200,
        said,
        &[b"of ", tenant.as_bytes()],
    );
}

/// The answer to a request while all cells are down.
fn down(config: &Config, mut stream: FakeStream) -> Answer {
    stream.down = vec!["cell-1", "cell-2", "cell-3", "cell-4"];
    assert_eq!(
        on_request_headers(&mut stream, &mut Flow::default(), Some(config), true),
        Verdict::Stop
    );
    stream.answer.unwrap()
}

fn status(config: &Config, tenant: &str) -> u16 {
    down(config, request("GET", tenant, &[])).status
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let found = answer.headers.iter().find(|(found, _)| found == name);
    found.map(|(_, value)| value.as_str())
}

#[test]
fn what_was_kept_is_given_and_says_so() {
    let config = config(|_| {});
    get(
        &config,
        "pinned",
        &[("content-type", "text/plain"), ("x-cell-id", "forged")],
    );
    let mut later = request("GET", "pinned", &[]);
    later.clock_ns += 7 * SECOND;
    let answer = down(&config, later);
    assert_eq!((answer.status, answer.body.as_str()), (200, "of pinned"));
    assert_eq!(answer.details, "cellplane_kept_answer");
    for (name, value) in [
        ("content-type", "text/plain"),
        ("age", "7"),
        ("x-data-source", "cache"),
        ("x-cell-id", "cell-4"),
        ("x-cell-epoch", "17"),
    ] {
        assert_eq!(header(&answer, name), Some(value));
    }
    assert_eq!(answer.headers.iter().filter(|(name, _)| name == "x-cell-id").count(), 1);
}

#[test]
fn where_nothing_was_kept_the_refusal_says_so() {
    let config = config(|writer| {
        let row = CellRow {
            maintenance_page: "Back at noon.",
            ..CellRow::default()
        };
        writer.cell_rows = vec![row; 4];
    });
    let answer = down(&config, request("GET", "pinned", &[("accept", "text/html")]));
    assert_eq!(
        (answer.status, answer.details.as_str()),
        (503, "cellplane_cell_unavailable")
    );
    assert!(answer.body.contains("and no answer to it was kept."), "{}", answer.body);
    let answer = down(&config, request("POST", "pinned", &[]));
    assert!(answer.body.contains("can serve the request now.\""), "{}", answer.body);
    let answer = down(&config, request("GET", "maintained", &[]));
    assert_eq!(answer.details, "cellplane_cell_maintenance");
    assert!(answer.body.contains("Back at noon."), "{}", answer.body);
}

#[test]
fn only_the_tenant_that_was_answered_gets_the_answer() {
    let config = config(|_| {});
    get(&config, "pinned", &[]);
    assert_eq!(
        ["pinned", "globex", "tenant-1"].map(|tenant| status(&config, tenant)),
        [200, 503, 503]
    );
    get(&config, "globex", &[]);
    assert_eq!(down(&config, request("GET", "globex", &[])).body, "of globex");
    assert_eq!(down(&config, request("GET", "pinned", &[])).body, "of pinned");
}

#[test]
fn a_head_gets_what_a_get_would_and_other_methods_nothing() {
    let config = config(|_| {});
    answered(
        &config,
        request("HEAD", "pinned", &[]),
        200,
        &[("content-length", "9")],
        &[],
    );
    assert_eq!(status(&config, "pinned"), 503);
    get(&config, "pinned", &[]);
    let methods = ["HEAD", "OPTIONS", "POST", "GET"];
    let statuses = methods.map(|method| down(&config, request(method, "pinned", &[])).status);
    assert_eq!(statuses, [200, 503, 503, 200]);
}

#[test]
fn who_has_the_answer_already_is_told_so() {
    let config = config(|_| {});
    get(&config, "pinned", &[("etag", "\"a\""), ("content-type", "text/plain")]);
    let answer = down(&config, request("GET", "pinned", &[("if-none-match", "W/\"a\"")]));
    assert_eq!((answer.status, answer.body.as_str()), (304, ""));
    assert_eq!(
        [header(&answer, "etag"), header(&answer, "content-type")],
        [Some("\"a\""), None]
    );
    assert_eq!(header(&answer, "x-data-source"), Some("cache"));
    assert_eq!(
        down(&config, request("GET", "pinned", &[("if-none-match", "\"b\"")])).status,
        200
    );
}

#[test]
fn a_write_that_succeeded_takes_away_what_was_kept_of_its_path() {
    for (method, answer, left) in [
        ("POST", 201, 503),
        ("DELETE", 204, 503),
        ("PATCH", 303, 503),
        ("PUT", 409, 200),
        ("POST", 500, 200),
        ("OPTIONS", 200, 200),
        ("HEAD", 200, 200),
    ] {
        let config = config(|_| {});
        get(&config, "pinned", &[]);
        get(&config, "globex", &[]);
        let mut stream = request(method, "pinned", &[("authorization", "any")]);
        crate::stream::Stream::set(&mut stream, crate::stream::Headers::Request, b":path", b"/?query");
        answered(&config, stream, answer, &[], &[]);
        assert_eq!(status(&config, "pinned"), left, "{method} {answer}");
        assert_eq!(status(&config, "globex"), 200);
    }
}

#[test]
fn an_answer_that_was_asked_for_before_a_write_is_not_kept() {
    let config = config(|_| {});
    let mut stream = request("GET", "pinned", &[]);
    let mut flow = Flow::default();
    on_request_headers(&mut stream, &mut flow, Some(&config), true);
    let mut write = request("POST", "pinned", &[]);
    write.clock_ns += SECOND;
    answered(&config, write, 200, &[], &[]);
    stream.clock_ns += 2 * SECOND;
    stream.response.status = Some(200);
    keep_headers(&stream, &mut flow, &config, true);
    assert_eq!(status(&config, "pinned"), 503);
    let mut later = request("GET", "pinned", &[]);
    later.clock_ns += 2 * SECOND;
    answered(&config, later, 200, &[], &[b"new"]);
    assert_eq!(status(&config, "pinned"), 200);
}

#[test]
fn another_answer_takes_the_place_of_the_one_before_where_it_says_something_of_it() {
    for (answer, said, left) in [
        (404, "", 503),
        (401, "", 503),
        (200, "no-store", 503),
        (304, "", 200),
        (206, "", 200),
        (429, "", 200),
        (500, "", 200),
        (503, "", 200),
    ] {
        let config = config(|_| {});
        get(&config, "pinned", &[]);
        answered(
            &config,
            request("GET", "pinned", &[]),
            answer,
            &[("cache-control", said)],
            &[b"x"],
        );
        assert_eq!(status(&config, "pinned"), left, "{answer} {said}");
    }
    let config = config(|_| {});
    get(&config, "pinned", &[]);
    answered(
        &config,
        request("GET", "pinned", &[("cookie", "a=b")]),
        404,
        &[],
        &[b"x"],
    );
    assert_eq!(
        status(&config, "pinned"),
        200,
        "what one user does not get says nothing of the others"
    );
}

#[test]
fn a_body_is_kept_up_to_its_limit_and_whole_or_not_at_all() {
    let config = config(|_| {});
    for (bytes, expected) in [(0, 200), (4_095, 200), (4_096, 200), (9_000, 200), (12_001, 503)] {
        // A tenant has 12 KiB here, a sixty-fourth of three quarters.
        let body = vec![b'x'; bytes];
        answered(
            &config,
            request("GET", "pinned", &[]),
            200,
            &[],
            &[&body[..bytes / 2], &body[bytes / 2..]],
        );
        let found = down(&config, request("GET", "pinned", &[]));
        assert_eq!(found.status, expected, "{bytes}");
        if expected == 200 {
            assert_eq!(found.body.len(), bytes);
        }
    }
    let large = config_of(64 * MIB);
    let kept = large.kept.as_ref().unwrap();
    for (bytes, expected) in [(64 * 1024, 200), (64 * 1024 + 1, 503)] {
        let body = vec![b'x'; bytes];
        let flow = answered(&large, request("GET", "pinned", &[]), 200, &[], &[&body]);
        assert_eq!(status(&large, "pinned"), expected, "{bytes}");
        assert!(flow.coming.is_none());
    }
    assert_eq!(kept.bytes(), 0);
}

fn config_of(bytes: usize) -> Config {
    Config {
        kept: Some(Arc::new(Kept::new(bytes))),
        ..config(|_| {})
    }
}

#[test]
fn what_did_not_end_or_has_trailers_is_not_kept() {
    let config = config(|_| {});
    let mut stream = request("GET", "pinned", &[]);
    let mut flow = Flow::default();
    on_request_headers(&mut stream, &mut flow, Some(&config), true);
    stream.response.status = Some(200);
    keep_headers(&stream, &mut flow, &config, false);
    stream.response_parts = vec![b"some".to_vec()];
    keep_body(&stream, &mut flow, &config, false);
    keep_trailers(&mut flow);
    keep_body(&stream, &mut flow, &config, true);
    assert_eq!(status(&config, "pinned"), 503);
    assert_eq!(config.kept.as_ref().unwrap().bytes(), 0);
}

#[test]
fn an_answer_is_no_older_than_the_policy_of_now_wants_it() {
    let config = config(|_| {});
    get(&config, "pinned", &[]);
    for (seconds, expected) in [(60, 200), (61, 503)] {
        let mut stream = request("GET", "pinned", &[]);
        stream.clock_ns += seconds * SECOND;
        assert_eq!(down(&config, stream).status, expected);
    }
}

#[test]
fn an_answer_counts_while_its_cell_is_of_the_tenants_shard_and_under_the_same_law() {
    let before = config(|_| {});
    get(&before, "pinned", &[]);
    let after = |change: &dyn Fn(&mut TableWriter)| {
        let changed = Config {
            kept: before.kept.clone(),
            ..config(|writer| change(writer))
        };
        status(&changed, "pinned")
    };
    assert_eq!(after(&|_| {}), 200);
    assert_eq!(after(&|writer| writer.tenants[0].shard = Some(1)), 503, "moved");
    assert_eq!(after(&|writer| writer.tenants[0].state = 2), 403, "suspended");
    let foreign = CellRow {
        jurisdiction: "us",
        ..CellRow::default()
    };
    assert_eq!(
        after(&|writer| writer.cell_rows = vec![foreign.clone(); 4]),
        503,
        "another law"
    );
    let fails = |writer: &mut TableWriter| {
        writer.policies[0].reads = 3;
        writer.policies[0].cache_s = 0;
    };
    assert_eq!(after(&fails), 503, "not read any more");
}

#[test]
fn without_the_policy_nothing_is_looked_at() {
    let config = config(|writer| {
        writer.policies[0].reads = 0;
        writer.policies[0].cache_s = 0;
    });
    let flow = answered(&config, request("GET", "pinned", &[]), 200, &[], &[b"x"]);
    assert!(flow.coming.is_none());
    assert_eq!(config.kept.as_ref().unwrap().bytes(), 0);
}

#[test]
fn a_canarys_answers_are_not_kept() {
    let config = config(|writer| {
        let canary = PoolRow {
            canary_cell: 0,
            canary_bp: 10_000,
            ..PoolRow::default()
        };
        writer.pool_rows = vec![canary.clone(), canary];
    });
    get(&config, "pinned", &[]);
    assert_eq!(status(&config, "pinned"), 503);
}

#[test]
fn a_read_that_its_cell_does_not_take_gets_what_was_kept_also_with_a_shard_of_one() {
    let config = config(|_| {});
    get(&config, "globex", &[]);
    let mut stream = request("GET", "globex", &[]);
    let mut flow = Flow::default();
    on_request_headers(&mut stream, &mut flow, Some(&config), true);
    stream.response = Response {
        status: Some(503),
        flags: Response::CONNECTION_FAILURE,
    };
    assert_eq!(on_response_headers(&mut stream, &mut flow, &config), Verdict::Stop);
    assert_eq!(
        on_request_headers(&mut stream, &mut Flow::default(), Some(&config), true),
        Verdict::Stop
    );
    assert_eq!(stream.answer.unwrap().body, "of globex");
}

#[test]
fn a_kept_answer_counts_against_the_tenants_limit_and_a_miss_does_not() {
    let config = config(|writer| {
        writer.policies[0].rps_milli = 1;
        writer.policies[0].burst_ms = 3_000_000;
    });
    get(&config, "pinned", &[]);
    assert_eq!(down(&config, request("OPTIONS", "pinned", &[])).status, 503);
    let statuses = [(); 3].map(|()| status(&config, "pinned"));
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn what_is_kept_given_and_missed_is_counted_and_logged() {
    let config = config(|_| {});
    let base = config.table.base();
    let file = TestFile::new("kept-board", &board_bytes(1, base.cell_count() as u64, base.sha256()));
    let config = Config {
        board: Some(Board::open(file.path(), base.sha256(), base.cell_count()).unwrap()),
        is_logged: true,
        ..config
    };
    get(&config, "pinned", &[]);
    let mut stream = request("GET", "pinned", &[]);
    stream.down = vec!["cell-1", "cell-2", "cell-4"];
    on_request_headers(&mut stream, &mut Flow::default(), Some(&config), true);
    let logged = [
        "x-cell-id",
        "x-cell-reason",
        "x-cell-pool",
        "x-cell-epoch",
        "x-tenant-id",
    ];
    assert_eq!(
        logged.map(|name| stream.values(name).concat()),
        ["cell-4", "assignment", "shared", "17", "pinned"]
    );
    down(&config, request("OPTIONS", "pinned", &[]));
    let bytes = std::fs::read(file.path()).unwrap();
    let word = |place: usize| u64::from_le_bytes(bytes[place * 8..place * 8 + 8].try_into().unwrap());
    let counts = [
        Count::Kept,
        Count::Stale,
        Count::KeptMissed,
        Count::KeptEvicted,
        Count::Unavailable,
    ];
    let counts = counts.map(|what| word(16 + 4 * 3 + 3 * 64 + what as usize));
    assert_eq!(counts, [1, 1, 1, 0, 1]);
    assert_eq!(word(8), config.kept.as_ref().unwrap().bytes() as u64);
}
