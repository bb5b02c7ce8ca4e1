//! Limits, retries and counts, on a fake stream.

use super::*;
use crate::board::{Board, Breaker};
use crate::stream::{Response, MAX_HEADERS};
use crate::support::{board_bytes, CellRow, FakeStream, PolicyRow, TableWriter, TestFile};
use crate::table::{Base, Table};
use std::sync::Arc;

type Config = RouteConfig<Vec<u8>>;

const SECOND: u64 = 1_000_000_000;

/// A config with a board, and the board's file.
fn config(name: &str, change: impl FnOnce(&mut TableWriter)) -> (TestFile, Config) {
    let mut writer = TableWriter::sample();
    change(&mut writer);
    let base = Base::new(writer.encode()).unwrap();
    let cells = base.cell_count();
    let file = TestFile::new(name, &board_bytes(2, cells as u64, base.sha256()));
    let board = Board::open(file.path(), base.sha256(), cells).unwrap();
    let config = RouteConfig {
        board: Some(board),
        is_logged: true,
        tenant_limits: Arc::default(),
        ..RouteConfig::new(Table::new(Arc::new(base)), None)
    };
    (file, config)
}

fn get(tenant: &str) -> FakeStream {
    let mut stream = FakeStream::new("GET", &[("x-tenant-id", tenant)]);
    stream.clock_ns = SECOND;
    stream
}

fn ask(config: &Config, stream: &mut FakeStream) -> (Verdict, Flow) {
    let mut flow = Flow::default();
    let verdict = on_request_headers(stream, &mut flow, Some(config), true);
    (verdict, flow)
}

/// A cell's count of worker 0, as the agent would read it.
fn count(file: &TestFile, cell: usize, what: Count) -> u64 {
    let bytes = std::fs::read(file.path()).unwrap();
    let word = 16 + 4 * 3 + cell * 64 + what as usize;
    u64::from_le_bytes(bytes[word * 8..word * 8 + 8].try_into().unwrap())
}

fn answered(stream: &mut FakeStream, status: u16, flags: u64) {
    stream.response = Response {
        status: Some(status),
        flags,
    };
}

#[test]
fn a_request_is_counted_from_its_start_to_its_end_once() {
    let (file, config) = config("counted", |_| {});
    let mut stream = get("pinned");
    let (verdict, mut flow) = ask(&config, &mut stream);
    assert_eq!(verdict, Verdict::Continue);
    assert_eq!(config.board.as_ref().unwrap().load(3), 1);
    assert_eq!(stream.values("x-cell-pool"), ["shared"]);
    assert_eq!(stream.values("x-cell-reason"), ["assignment"]);
    answered(&mut stream, 500, 0);
    assert_eq!(on_response_headers(&mut stream, &mut flow, &config), Verdict::Continue);
    assert_eq!(stream.response_header(b"x-cell-id"), b"cell-4");
    assert_eq!(stream.response_header(b"x-cell-epoch"), b"17");
    stream.clock_ns += 3_000_000;
    for _ in 0..2 {
        on_complete(&stream, &mut flow, &config);
    }
    assert_eq!(config.board.as_ref().unwrap().load(3), 0);
    let counts = [
        Count::Requests,
        Count::Errors,
        Count::BusyUs,
        Count::Unreachable,
        Count::InFlight,
    ];
    assert_eq!(counts.map(|what| count(&file, 3, what)), [1, 1, 3_000, 0, 0]);
}

#[test]
fn how_a_request_ended_says_whether_the_cell_is_to_blame() {
    const BY_HTTP2: u64 = 0x1000_0000;
    const BY_HTTP1: u64 = 0x80_0000;
    // Status and flags; errors and unreachable.
    for (status, flags, expected) in [
        (Some(200), 0, [0, 0]),
        (Some(500), 0, [1, 0]),
        (None, Response::CLIENT_GONE, [0, 0]),
        (None, BY_HTTP2, [0, 0]),
        (Some(200), BY_HTTP2, [0, 0]),
        (None, 0, [1, 0]),
        (Some(503), Response::CONNECTION_FAILURE, [1, 1]),
        (Some(503), Response::CONNECTION_TERMINATION, [1, 1]),
        (Some(200), Response::CONNECTION_TERMINATION, [1, 0]),
        (Some(200), BY_HTTP1, [1, 0]),
        (Some(101), Response::CONNECTION_TERMINATION, [0, 0]),
    ] {
        let (file, config) = config("ended", |_| {});
        let mut stream = get("pinned");
        let (_, mut flow) = ask(&config, &mut stream);
        stream.response = Response { status, flags };
        on_complete(&stream, &mut flow, &config);
        let found = [Count::Errors, Count::Unreachable].map(|what| count(&file, 3, what));
        assert_eq!(found, expected, "{status:?} {flags:#x}");
        assert_eq!(count(&file, 3, Count::Requests), 1);
    }
}

#[test]
fn what_envoy_sheds_says_nothing_about_the_cell() {
    let (file, config) = config("overflow", |_| {});
    let mut stream = get("pinned");
    let (_, mut flow) = ask(&config, &mut stream);
    answered(&mut stream, 503, Response::OVERFLOW);
    assert_eq!(on_response_headers(&mut stream, &mut flow, &config), Verdict::Continue);
    on_complete(&stream, &mut flow, &config);
    let counts = [Count::Requests, Count::Errors, Count::Shed, Count::InFlight];
    assert_eq!(counts.map(|what| count(&file, 3, what)), [0, 0, 1, 0]);
}

#[test]
fn a_read_that_no_cell_took_is_tried_once_on_the_next_cell() {
    let (file, config) = config("retried", |_| {});
    let mut stream = get("pinned");
    let (_, mut flow) = ask(&config, &mut stream);
    answered(&mut stream, 503, Response::CONNECTION_FAILURE);
    assert_eq!(on_response_headers(&mut stream, &mut flow, &config), Verdict::Stop);
    assert_eq!(stream.begun_anew, 1);
    assert_eq!(stream.remembered.as_deref(), Some(&b"cell-4"[..]));
    // The second pass begins with the headers that the first one has set.
    let (verdict, mut flow) = ask(&config, &mut stream);
    assert_eq!(verdict, Verdict::Continue);
    assert_eq!(stream.values("x-cell-id"), ["cell-2"]);
    answered(&mut stream, 503, Response::CONNECTION_FAILURE);
    assert_eq!(on_response_headers(&mut stream, &mut flow, &config), Verdict::Continue);
    on_complete(&stream, &mut flow, &config);
    assert_eq!(stream.begun_anew, 1);
    assert_eq!([1, 3].map(|cell| count(&file, cell, Count::Unreachable)), [1, 1]);
    assert_eq!([1, 3].map(|cell| count(&file, cell, Count::Retried)), [0, 1]);
    assert_eq!([1, 3].map(|cell| count(&file, cell, Count::InFlight)), [0, 0]);
}

#[test]
fn a_second_try_costs_nothing_of_the_tenants_limit() {
    let (_file, config) = config("retried-limit", |writer| writer.policies[0].rps_milli = 1);
    let mut stream = get("pinned");
    let (_, mut flow) = ask(&config, &mut stream);
    answered(&mut stream, 503, Response::CONNECTION_FAILURE);
    assert_eq!(on_response_headers(&mut stream, &mut flow, &config), Verdict::Stop);
    assert_eq!(ask(&config, &mut stream).0, Verdict::Continue);
    assert_eq!(ask(&config, &mut get("pinned")).0, Verdict::Stop);
}

#[test]
fn nothing_is_tried_again_that_might_have_been_done_or_has_nowhere_to_go() {
    let (_file, config) = config("not-retried", |writer| writer.tenants[3].shard = Some(1));
    let flags = Response::CONNECTION_FAILURE;
    let tries = |tenant: &str, method: &str, is_whole: bool, flags: u64| {
        let mut stream = FakeStream::new(method, &[("x-tenant-id", tenant)]);
        let mut flow = Flow::default();
        on_request_headers(&mut stream, &mut flow, Some(&config), is_whole);
        answered(&mut stream, 503, flags);
        on_response_headers(&mut stream, &mut flow, &config);
        stream.begun_anew
    };
    assert_eq!(tries("pinned", "GET", true, flags), 1);
    assert_eq!(tries("pinned", "POST", true, flags), 0);
    assert_eq!(tries("pinned", "GET", false, flags), 0);
    assert_eq!(tries("pinned", "GET", true, 0), 0);
    assert_eq!(tries("quarantined", "GET", true, flags), 0);
}

#[test]
fn a_client_cannot_pretend_to_be_a_second_pass() {
    let (_file, config) = config("pretended", |_| {});
    let mut stream = FakeStream::new("GET", &[("x-tenant-id", "pinned"), ("x-cell-id", "cell-4")]);
    ask(&config, &mut stream);
    assert_eq!(stream.values("x-cell-id"), ["cell-4"]);
}

#[test]
fn a_tenant_over_its_limit_is_told_so_and_others_are_not() {
    let (file, config) = config("limited", |writer| {
        writer.policies[0] = PolicyRow {
            rps_milli: 2_000,
            burst_ms: 1_500,
            ..PolicyRow::default()
        };
    });
    for _ in 0..3 {
        assert_eq!(ask(&config, &mut get("pinned")).0, Verdict::Continue);
    }
    let mut stream = get("pinned");
    assert_eq!(ask(&config, &mut stream).0, Verdict::Stop);
    let answer = stream.answer.unwrap();
    assert_eq!(
        (answer.status, answer.details.as_str()),
        (429, "cellplane_tenant_limited")
    );
    let header = |name: &str| {
        let found = answer.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(header("retry-after"), Some("1"));
    assert_eq!(header("ratelimit"), Some("\"tenant\";r=0;t=1"));
    assert_eq!(header("ratelimit-policy"), Some("\"tenant\";q=3;w=2"));
    assert_eq!(header("x-cell-id"), Some("cell-4"));
    assert_eq!(ask(&config, &mut get("quarantined")).0, Verdict::Continue);
    assert_eq!(count(&file, 3, Count::Limited), 1);
    assert_eq!(count(&file, 3, Count::InFlight), 3);
}

#[test]
fn without_a_limit_of_its_own_a_tenant_has_its_part_of_the_cell() {
    let (_file, config) = config("part", |writer| {
        let row = CellRow {
            rps_milli: 30_000,
            ..CellRow::default()
        };
        writer.cell_rows = vec![row; 4];
        writer.policies[0].burst_ms = 1;
    });
    // A shard of three cells: a third of 30 a second, for 0.3 seconds.
    let mut passed = 0;
    for number in 0..30 {
        let mut stream = get("pinned");
        stream.clock_ns = SECOND + number * 10 * SECOND / 1_000;
        passed += u32::from(ask(&config, &mut stream).0 == Verdict::Continue);
    }
    assert_eq!(passed, 3);
}

#[test]
fn a_cell_over_its_limit_sheds_and_high_priority_last() {
    let (file, config) = config("shed", |writer| {
        let row = CellRow {
            rps_milli: 100_000,
            ..CellRow::default()
        };
        writer.cell_rows = vec![row; 4];
        let high = PolicyRow {
            priority: 1,
            rps_milli: 1_000_000,
            ..PolicyRow::default()
        };
        writer.policies[0].rps_milli = 1_000_000;
        writer.policies.push(high);
        writer
            .tenants
            .push(crate::support::TenantRow::new("vip", Some(3), 1, 0).with_policy(1));
    });
    let passed = |tenant: &str| {
        (0..20)
            .filter(|_| ask(&config, &mut get(tenant)).0 == Verdict::Continue)
            .count()
    };
    assert_eq!(passed("pinned"), 10);
    assert_eq!(passed("vip"), 5);
    let mut stream = get("vip");
    assert_eq!(ask(&config, &mut stream).0, Verdict::Stop);
    let answer = stream.answer.unwrap();
    assert_eq!(
        (answer.status, answer.details.as_str()),
        (503, "cellplane_cell_overloaded")
    );
    for header in [("retry-after", "1"), ("x-cell-shed", "cell-4")] {
        let header = (header.0.to_owned(), header.1.to_owned());
        assert!(answer.headers.contains(&header), "{:?}", answer.headers);
    }
    assert_eq!(count(&file, 3, Count::Shed), 10 + 15 + 1);
}

#[test]
fn a_copy_is_made_of_what_envoy_can_keep_until_it_is_read() {
    let (_file, config) = config("copied", |writer| writer.policies[0].shadow = 1);
    let copied_to = |method: &str, length: Option<&str>, is_whole: bool| {
        let mut headers = vec![("x-tenant-id", "pinned")];
        headers.extend(length.map(|length| ("content-length", length)));
        let mut stream = FakeStream::new(method, &headers);
        let verdict = on_request_headers(&mut stream, &mut Flow::default(), Some(&config), is_whole);
        assert_eq!(verdict, Verdict::Continue);
        stream.values(":cell-shadow").concat()
    };
    assert_eq!(copied_to("GET", None, true), "cell-2");
    assert_eq!(copied_to("POST", Some("0"), true), "cell-2");
    assert_eq!(copied_to("POST", Some("16384"), false), "cell-2");
    assert_eq!(copied_to("POST", Some("16385"), false), "");
    assert_eq!(copied_to("POST", Some("99999999999999999999"), false), "");
    assert_eq!(copied_to("POST", None, false), "");
}

#[test]
fn a_websocket_of_http2_gets_the_key_that_http1_wants() {
    let (_file, config) = config("websocket", |_| {});
    let keys = |headers: &[(&str, &str)], random: u32| {
        let headers: Vec<_> = [("x-tenant-id", "pinned")].iter().chain(headers).copied().collect();
        let mut stream = FakeStream::new("GET", &headers);
        stream.random = random;
        ask(&config, &mut stream);
        stream.values("sec-websocket-key").concat()
    };
    let upgrade = ("upgrade", "WebSocket");
    assert_eq!(keys(&[upgrade], 1), "BBBBBBBBBBBBBBBBBBBBBQ==");
    assert_eq!(keys(&[upgrade], u32::MAX), "/////////////////////w==");
    assert_eq!(keys(&[upgrade, ("sec-websocket-key", "own")], 1), "own");
    assert_eq!(keys(&[("upgrade", "other")], 1), "");
    assert_eq!(keys(&[], 1), "");
}

#[test]
fn high_priority_is_said_to_envoy_before_it_chooses_the_route() {
    let (_file, config) = config("priority", |writer| writer.policies[0].priority = 1);
    let mut stream = get("pinned");
    ask(&config, &mut stream);
    assert_eq!(stream.values("x-cell-priority"), ["high"]);
    assert_eq!(stream.cluster.as_deref(), Some("cell-4"));
}

#[test]
fn an_open_breaker_is_like_a_cell_that_is_down_and_a_half_open_one_lets_probes_through() {
    let (file, config) = config("breaker", |_| {});
    let write = |cell: usize, word: u64| {
        let mut bytes = std::fs::read(file.path()).unwrap();
        bytes[(16 + cell * 3) * 8..][..8].copy_from_slice(&word.to_le_bytes());
        // In place: the board is mapped.
        use std::io::Write;
        let mut shared = std::fs::OpenOptions::new().write(true).open(file.path()).unwrap();
        shared.write_all(&bytes).unwrap();
    };
    let cell = |random: u32| {
        let mut stream = get("pinned");
        stream.random = random;
        ask(&config, &mut stream);
        stream.values("x-cell-id").concat()
    };
    assert_eq!(cell(0), "cell-4");
    write(3, 1);
    assert_eq!(cell(0), "cell-2");
    write(3, 2 | 1_000 << 16);
    assert_eq!(config.board.as_ref().unwrap().breaker(3), Breaker::HalfOpen(1_000));
    assert_eq!(cell(999), "cell-4");
    assert_eq!(cell(1_000), "cell-2");
    assert_eq!(count(&file, 3, Count::Probes), 1);
    write(3, 3);
    assert_eq!(cell(0), "cell-2");
    write(1, 3);
    write(0, 1);
    assert_eq!(cell(0), "cell-4");
    write(3, 0);
    assert_eq!(cell(5_000), "cell-4");
}

#[test]
fn an_avoided_cell_counts_before_what_was_kept_of_its_answers() {
    let (file, config) = config("avoided", |writer| {
        writer.policies[0].reads = 2;
        writer.policies[0].cache_s = 60;
        writer.tenants[3].shard = Some(1);
    });
    let mut bytes = std::fs::read(file.path()).unwrap();
    for cell in 0..4 {
        bytes[(16 + cell * 3) * 8] = 3;
    }
    // In place: the board is mapped.
    use std::io::Write;
    let mut shared = std::fs::OpenOptions::new().write(true).open(file.path()).unwrap();
    shared.write_all(&bytes).unwrap();
    assert_eq!(ask(&config, &mut get("quarantined")).0, Verdict::Continue);
    for cell in 0..4 {
        bytes[(16 + cell * 3) * 8] = 1;
    }
    let mut shared = std::fs::OpenOptions::new().write(true).open(file.path()).unwrap();
    shared.write_all(&bytes).unwrap();
    assert_eq!(ask(&config, &mut get("quarantined")).0, Verdict::Stop);
}

#[test]
fn nothing_is_copied_from_or_to_a_cell_of_http2() {
    // The tenant's cell is cell-4, the shadow cell-2.
    for (place, copies) in [(0, true), (1, false), (3, false)] {
        let (_file, config) = config(&format!("copied-http2-{place}"), |writer| {
            writer.policies[0].shadow = 1;
            writer.cell_rows = vec![CellRow::default(); 4];
            writer.cell_rows[place].protocol = 1;
        });
        let mut stream = get("pinned");
        assert_eq!(ask(&config, &mut stream).0, Verdict::Continue);
        assert_eq!(!stream.values(":cell-shadow").is_empty(), copies, "{place}");
    }
}

#[test]
fn what_a_cell_says_of_its_load_is_noted_and_taken_off_its_answer() {
    let (file, config) = config("load", |_| {});
    let mut stream = get("pinned");
    let (_, mut flow) = ask(&config, &mut stream);
    answered(&mut stream, 200, 0);
    let said = b"TEXT named_metrics.queue_lag_seconds=2";
    stream.response_headers.push((load::HEADER.to_vec(), said.to_vec()));
    assert_eq!(on_response_headers(&mut stream, &mut flow, &config), Verdict::Continue);
    assert!(stream.response_headers.iter().all(|(name, _)| name != load::HEADER));
    let bytes = std::fs::read(file.path()).unwrap();
    let word = |cell: usize| u64::from_le_bytes(bytes[(16 + cell * 3 + 2) * 8..][..8].try_into().unwrap());
    assert_eq!(word(3), 2_000 | 0xFFFF << 32 | 1 << 48);
    assert_eq!(word(0), 0);
}

#[test]
fn what_a_cell_says_of_who_answers_is_replaced_however_many_headers_it_sends() {
    for more in [0, MAX_HEADERS] {
        let (_file, config) = config("said", |_| {});
        let mut stream = get("pinned");
        let (_, mut flow) = ask(&config, &mut stream);
        answered(&mut stream, 200, 0);
        let others = (0..more).map(|place| (format!("x-{place}").into_bytes(), b"1".to_vec()));
        stream.response_headers = others.collect();
        for name in [&b"x-cell-id"[..], b"x-cell-epoch", b"x-cell-id", load::HEADER] {
            stream.response_headers.push((name.to_vec(), b"cell-9".to_vec()));
        }
        assert_eq!(on_response_headers(&mut stream, &mut flow, &config), Verdict::Continue);
        let values = |name: &[u8]| -> Vec<&[u8]> {
            let found = stream.response_headers.iter().filter(|(found, _)| found == name);
            found.map(|(_, value)| value.as_slice()).collect()
        };
        assert_eq!(values(b"x-cell-id"), [b"cell-4"]);
        assert_eq!(values(b"x-cell-epoch"), [b"17"]);
        assert!(values(load::HEADER).is_empty());
    }
}

#[test]
fn a_redirect_names_the_cells_own_address_with_the_path() {
    let (file, config) = config("redirected", |writer| {
        writer.policies[0].mode = 1;
        let row = CellRow {
            public_url: "https://cell-4.shop.example",
            ..CellRow::default()
        };
        writer.cell_rows = vec![row; 4];
    });
    let mut stream = get("pinned");
    assert_eq!(ask(&config, &mut stream).0, Verdict::Stop);
    let answer = stream.answer.unwrap();
    assert_eq!(answer.status, 307);
    for header in [
        ("location", "https://cell-4.shop.example/"),
        ("strict-transport-security", "max-age=31536000"),
    ] {
        let header = (header.0.to_owned(), header.1.to_owned());
        assert!(answer.headers.contains(&header), "{:?}", answer.headers);
    }
    assert_eq!(count(&file, 3, Count::Redirected), 1);
}

#[test]
fn a_cell_in_maintenance_shows_its_page_as_the_client_wants_it() {
    let (_file, config) = config("maintained", |writer| {
        let row = CellRow {
            maintenance_page: "Back at \"noon\" <UTC>\n& rested \\o/",
            ..CellRow::default()
        };
        writer.cell_rows = vec![row; 4];
    });
    let answer = |accept: &'static str| {
        let mut stream = FakeStream::new("GET", &[("x-tenant-id", "maintained"), ("accept", accept)]);
        ask(&config, &mut stream);
        stream.answer.unwrap()
    };
    let page = answer("text/html,application/xhtml+xml,*/*;q=0.8");
    assert_eq!(page.status, 503);
    assert_eq!(page.headers[0].1, "text/html; charset=utf-8");
    assert!(
        page.body
            .contains("Back at \"noon\" &lt;UTC&gt;<br>\n&amp; rested \\o/"),
        "{}",
        page.body
    );
    for accept in ["*/*", "application/json", "application/json, text/html"] {
        let problem = answer(accept);
        assert_eq!(problem.headers[0].1, "application/problem+json");
        let detail = r#""detail":"Back at \"noon\" <UTC>\n& rested \\o/","#;
        assert!(problem.body.contains(detail), "{}", problem.body);
    }
}

/// A request that was let through, and its cell's 421 with this epoch.
fn sent_away(config: &Config, epoch: &str) -> (FakeStream, Flow, Verdict) {
    let mut stream = get("pinned");
    stream.asked_agent = Some(Vec::new());
    let (_, mut flow) = ask(config, &mut stream);
    answered(&mut stream, 421, 0);
    stream.response_headers = vec![(b"x-cell-epoch".to_vec(), epoch.as_bytes().to_vec())];
    let verdict = on_response_headers(&mut stream, &mut flow, config);
    (stream, flow, verdict)
}

#[test]
fn a_request_that_a_cell_of_a_newer_epoch_sends_away_is_sent_again_once() {
    let (file, config) = config("refetched", |_| {});
    let (mut stream, mut flow, verdict) = sent_away(&config, "18");
    assert_eq!(verdict, Verdict::Hold);
    assert_eq!(stream.asked_agent, Some(vec!["/epochs/18".to_owned()]));
    on_agent_answer(&mut stream, &mut flow, &config, true);
    assert_eq!((stream.begun_anew, stream.continued), (1, 0));
    assert_eq!(
        [Count::Misrouted, Count::Retried, Count::InFlight].map(|what| count(&file, 3, what)),
        [1, 1, 0]
    );
    let (_, mut flow) = ask(&config, &mut stream);
    answered(&mut stream, 421, 0);
    stream.response_headers = vec![(b"x-cell-epoch".to_vec(), b"19".to_vec())];
    assert_eq!(on_response_headers(&mut stream, &mut flow, &config), Verdict::Continue);
    assert_eq!(stream.begun_anew, 1);
}

#[test]
fn where_no_newer_table_comes_the_client_gets_the_421() {
    let (_file, config) = config("not-refetched", |_| {});
    let (mut stream, mut flow, _) = sent_away(&config, "18");
    for _ in 0..2 {
        on_agent_answer(&mut stream, &mut flow, &config, false);
    }
    assert_eq!((stream.begun_anew, stream.continued), (0, 1));
    assert_eq!(stream.response_header(b"x-cell-epoch"), b"17");
    on_complete(&stream, &mut flow, &config);
    assert_eq!(config.board.as_ref().unwrap().load(3), 0);
    for epoch in ["17", "3", "", "x", "-1", "99999999999999999999999"] {
        let (stream, _, verdict) = sent_away(&config, epoch);
        assert_eq!(
            (verdict, stream.asked_agent),
            (Verdict::Continue, Some(vec![])),
            "{epoch}"
        );
    }
}
