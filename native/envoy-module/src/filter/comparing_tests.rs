//! Answers that are kept to be compared, on a fake stream.

use super::*;
use crate::board::Board;
use crate::capture::{Capture, Side};
use crate::stream::Response;
use crate::support::{board_bytes, FakeStream, PolicyRow, TableWriter, TestFile};
use crate::table::{Base, Table};
use std::sync::Arc;

/// A fleet of which each request is copied to cell-2, and compared; with a board, and the board's file.
fn config(name: &str, compare_bp: u16) -> (TestFile, RouteConfig<Vec<u8>>) {
    let mut writer = TableWriter::sample();
    writer.policies = vec![PolicyRow {
        shadow: 1,
        compare_bp,
        ignored: "/at\n/items/*",
        ..PolicyRow::default()
    }];
    let base = Base::new(writer.encode()).unwrap();
    let cells = base.cell_count();
    let file = TestFile::new(name, &board_bytes(1, cells as u64, base.sha256()));
    let board = Board::open(file.path(), base.sha256(), cells).unwrap();
    let config = RouteConfig {
        board: Some(board),
        ..RouteConfig::new(Table::new(Arc::new(base)), None)
    };
    (file, config)
}

fn count(file: &TestFile, cell: usize, what: Count) -> u64 {
    let bytes = std::fs::read(file.path()).unwrap();
    let word = 16 + 4 * 3 + cell * 64 + what as usize;
    u64::from_le_bytes(bytes[word * 8..word * 8 + 8].try_into().unwrap())
}

fn get(hears: bool) -> FakeStream {
    let mut stream = FakeStream::new("GET", &[("x-tenant-id", "pinned")]);
    stream.request[1].1 = b"/orders?token=secret".to_vec();
    stream.hears = hears;
    stream
}

/// Answers a request, from its headers to its end.
fn answer(stream: &mut FakeStream, flow: &mut Flow, response: Response, parts: Vec<&'static [u8]>) {
    stream.response = response;
    stream.response_headers = vec![(b"content-type".to_vec(), b"application/json".to_vec())];
    note_headers(stream, flow, false);
    stream.response_parts = parts.into_iter().map(<[u8]>::to_vec).collect();
    note_body(stream, flow, false);
    stream.response_parts = vec![];
    note_body(stream, flow, true);
}

/// All that is copied is compared.
const ALL: u16 = 10_000;

const OK: Response = Response {
    status: Some(200),
    flags: 0,
};

#[test]
fn both_halves_of_a_pair_say_what_they_have_in_common() {
    let (file, config) = config("pair", ALL);
    let (mut stream, mut flow) = (get(true), Flow::default());
    stream.random = 0xAB;
    on_request_headers(&mut stream, &mut flow, Some(&config), true);
    assert_eq!(stream.values(":cell-compared"), ["shadow:"]);
    assert_eq!(stream.values(":cell-pair"), ["000000ab000000abcell-2"]);
    assert!(stream.values(":cell-shadow").is_empty());
    answer(&mut stream, &mut flow, OK, vec![b"{\"a\"", b": 1}"]);
    on_response_headers(&mut stream, &mut flow, &config);
    on_complete(&stream, &mut flow, &config);
    let told = stream.told_agent.borrow().concat();
    assert_eq!(
        told,
        "pair=000000ab000000ab\nside=cell\ntenant=pinned\ncell=cell-4\nshadow=cell-2\nignored=/at\nignored=/items/*\n\
         method=GET\npath=/orders\ntype=application/json\nencoding=\nstatus=200\nlength=8\ndigest=c7f7c344acd8995f\n\n\
         {\"a\": 1}"
    );
    assert_eq!(
        (count(&file, 3, Count::Compared), count(&file, 3, Count::Unheard)),
        (1, 0)
    );

    let mut copy = get(true);
    copy.set(Headers::Request, b"x-cell-pair", b"000000ab000000abcell-2");
    copy.set(Headers::Request, CELL_ID, b"cell-4");
    let mut flow = Flow::default();
    assert_eq!(on_copy_headers(&mut copy, &mut flow), Verdict::Continue);
    assert_eq!(copy.values("x-cell-id"), ["cell-2"]);
    assert_eq!(copy.cluster.as_deref(), Some("cell-2"));
    assert!(copy.values("x-cell-pair").is_empty());
    answer(&mut copy, &mut flow, OK, vec![b"{}"]);
    on_copy_complete(&copy, &mut flow);
    on_copy_complete(&copy, &mut flow);
    let told = copy.told_agent.borrow().concat();
    assert!(
        told.starts_with("pair=000000ab000000ab\nside=shadow\ntenant=pinned\nshadow=cell-2\n"),
        "{told}"
    );
    assert!(
        told.ends_with("status=200\nlength=2\ndigest=08f44b07b5901a25\n\n{}"),
        "{told}"
    );
}

#[test]
fn what_the_agent_does_not_take_is_counted() {
    let (file, config) = config("unheard", ALL);
    let (mut stream, mut flow) = (get(false), Flow::default());
    on_request_headers(&mut stream, &mut flow, Some(&config), true);
    answer(&mut stream, &mut flow, OK, vec![]);
    on_complete(&stream, &mut flow, &config);
    assert_eq!(
        (count(&file, 3, Count::Compared), count(&file, 3, Count::Unheard)),
        (1, 1)
    );
}

#[test]
fn a_client_that_leaves_and_a_pass_that_is_not_the_last_leave_no_answer() {
    let (_file, config) = config("broken", ALL);
    let (mut stream, mut flow) = (get(true), Flow::default());
    on_request_headers(&mut stream, &mut flow, Some(&config), true);
    on_complete(&stream, &mut flow, &config);
    assert!(stream.told_agent.borrow().concat().contains("\nstatus=0\n"));

    let (mut stream, mut flow) = (get(true), Flow::default());
    on_request_headers(&mut stream, &mut flow, Some(&config), true);
    let refused = Response {
        status: Some(503),
        flags: Response::CONNECTION_FAILURE,
    };
    answer(&mut stream, &mut flow, refused, vec![]);
    assert_eq!(on_response_headers(&mut stream, &mut flow, &config), Verdict::Stop);
    assert!(stream.told_agent.borrow().concat().contains("\nstatus=0\n"));
}

#[test]
fn a_second_try_is_not_copied_again() {
    let (file, config) = config("second", ALL);
    let mut stream = get(true);
    on_request_headers(&mut stream, &mut Flow::default(), Some(&config), true);
    let mut second = stream.clone();
    second.remembered = Some(b"cell-4".to_vec());
    on_request_headers(&mut second, &mut Flow::default(), Some(&config), true);
    assert_eq!(second.values("x-cell-id"), ["cell-2"]);
    for name in [":cell-compared", ":cell-pair", ":cell-shadow"] {
        assert!(second.values(name).is_empty(), "{name}");
    }
    assert_eq!(count(&file, 3, Count::Shadowed), 1);
}

#[test]
fn what_is_not_compared_is_copied_all_the_same() {
    let (_file, config) = config("copied-only", 5_000);
    let with = |random: u32| {
        let mut stream = get(true);
        stream.random = random;
        let mut flow = Flow::default();
        on_request_headers(&mut stream, &mut flow, Some(&config), true);
        (stream.values(":cell-shadow").concat(), flow.capture.is_some())
    };
    assert_eq!(with(4_999), (String::new(), true));
    assert_eq!(with(5_000), ("cell-2".to_owned(), false));
    let kept: Vec<Capture> = std::iter::from_fn(|| Capture::begin(Side::Cell, b"17")).collect();
    assert_eq!(with(4_999), ("cell-2".to_owned(), false));
    drop(kept);
}

#[test]
fn a_stream_of_events_is_not_kept() {
    let (file, config) = config("events", ALL);
    let (mut stream, mut flow) = (get(true), Flow::default());
    on_request_headers(&mut stream, &mut flow, Some(&config), true);
    stream.response_headers = vec![(b"content-type".to_vec(), b"text/event-stream; charset=utf-8".to_vec())];
    note_headers(&stream, &mut flow, false);
    assert!(flow.capture.is_none());
    on_complete(&stream, &mut flow, &config);
    assert!(stream.told_agent.borrow().is_empty());
    assert_eq!(count(&file, 3, Count::Compared), 0);
}

#[test]
fn what_is_no_copy_gets_nowhere() {
    for pair in ["", "000000ab000000ab"] {
        let mut stream = get(true);
        stream.set(Headers::Request, b"x-cell-pair", pair.as_bytes());
        assert_eq!(on_copy_headers(&mut stream, &mut Flow::default()), Verdict::Stop);
        assert!(stream.answer.is_some());
    }
}
