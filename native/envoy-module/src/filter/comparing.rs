//! Two answers to one request: the cell's, which the client gets, and that of the cell which got a copy.
//!
//! The copy goes through a listener of the router itself, on a socket of its own folder, where this filter stands again and
//! keeps the answer that Envoy would otherwise throw away. Nobody waits for either half: each is handed to the agent as
//! it ends, or lost where the agent does not read.

use super::{Verdict, CELL_ID, TENANT_ID};
use crate::board::{Board, Count};
use crate::capture::{Capture, Side};
use crate::decide::Route;
use crate::flow::Flow;
use crate::problem::Code;
use crate::stream::{Headers, Response, Stream};
use crate::table::Base;

/// The listener for copies, as a cluster; no cell can have this name.
const COPIES: &[u8] = b"shadow:";
/// Where the copy goes, which is the above.
const CELL_COMPARED: &[u8] = b":cell-compared";
/// What both halves of a pair say, and the cell that the copy is for. Envoy puts it into the copy as [`PAIR`].
const CELL_PAIR: &[u8] = b":cell-pair";
/// The same, of a copy.
const PAIR: &[u8] = b"x-cell-pair";
/// Hexadecimal digits of what both say.
const PAIR_DIGITS: usize = 16;
const CONTENT_TYPE: &[u8] = b"content-type";
/// What begins the media type of a stream of events.
const EVENTS: &[u8] = b"text/event-stream";
const CONTENT_ENCODING: &[u8] = b"content-encoding";

/// Begins to keep the answer to a request whose copy is compared; false where this worker keeps as many as it may.
pub(super) fn begin<S, B>(stream: &mut S, flow: &mut Flow, base: &Base<B>, route: &Route, key: Option<&[u8]>) -> bool
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let shadow = match route.shadow {
        Some(shadow) if route.compares => base.cell_id(shadow),
        _ => return false,
    };
    let pair = format!("{:08x}{:08x}", stream.random(), stream.random());
    let mut capture = match Capture::begin(Side::Cell, pair.as_bytes()) {
        Some(capture) => capture,
        None => return false,
    };
    capture.say("tenant", key.unwrap_or(b""));
    capture.say("cell", base.cell_id(route.cell).as_bytes());
    capture.say("shadow", shadow.as_bytes());
    for path in base.ignored(route.policy).lines() {
        capture.say("ignored", path.as_bytes());
    }
    // More headers than these there are not: the first look at them would have refused the request.
    let _ = stream.scan(Headers::Request, |name, value| match name {
        b":method" => capture.say("method", value),
        b":path" => capture.say("path", value.split(|byte| *byte == b'?').next().unwrap_or(b"")),
        _ => {}
    });
    stream.add(Headers::Request, CELL_COMPARED, COPIES);
    stream.add(Headers::Request, CELL_PAIR, format!("{pair}{shadow}").as_bytes());
    flow.capture = Some(Box::new(capture));
    true
}

/// Sends a copy on to its cell, and begins to keep the answer.
pub fn on_copy_headers<S: Stream>(stream: &mut S, flow: &mut Flow) -> Verdict {
    let (mut pair, mut tenant) = (Vec::new(), Vec::new());
    let seen = stream.scan(Headers::Request, |name, value| match name {
        PAIR => pair = value.to_vec(),
        TENANT_ID => tenant = value.to_vec(),
        _ => {}
    });
    if seen.is_err() || pair.len() <= PAIR_DIGITS {
        return super::refuse::<S, &[u8]>(stream, Code::NoRoute.into(), None);
    }
    let cell = pair.split_off(PAIR_DIGITS);
    stream.remove(Headers::Request, PAIR);
    stream.set(Headers::Request, CELL_ID, &cell);
    stream.clear_route_cache();
    flow.capture = Capture::begin(Side::Shadow, &pair).map(Box::new);
    if let Some(capture) = &mut flow.capture {
        capture.say("tenant", &tenant);
        capture.say("shadow", &cell);
    }
    Verdict::Continue
}

/// Keeps what an answer's headers say. A stream of events may last as long as its client likes, so it is not kept.
pub fn note_headers<S: Stream>(stream: &S, flow: &mut Flow, has_ended: bool) {
    if flow.capture.is_some() && stream.response_header(CONTENT_TYPE).starts_with(EVENTS) {
        flow.capture = None;
    }
    if let Some(capture) = &mut flow.capture {
        capture.say("type", stream.response_header(CONTENT_TYPE));
        capture.say("encoding", stream.response_header(CONTENT_ENCODING));
        if has_ended {
            capture.end();
        }
    }
}

/// Keeps the next part of an answer's body.
pub fn note_body<S: Stream>(stream: &S, flow: &mut Flow, has_ended: bool) {
    if let Some(capture) = &mut flow.capture {
        stream.response_parts(|part| capture.add(part));
        if has_ended {
            capture.end();
        }
    }
}

/// Takes note that an answer ends with its trailers.
pub fn note_trailers(flow: &mut Flow) {
    if let Some(capture) = &mut flow.capture {
        capture.end();
    }
}

/// Ends a copy.
pub fn on_copy_complete<S: Stream>(stream: &S, flow: &mut Flow) {
    if let Some(mut capture) = flow.capture.take() {
        // Without its half the pair is incomplete, which the agent counts.
        let _ = stream.tell_agent(&capture.datagram(&stream.response()));
    }
}

/// Ends the half of the cell that a request went to, and counts it. The answer of a pass that is followed by another is
/// not what the client gets.
pub(super) fn end<S: Stream>(stream: &S, flow: &mut Flow, board: Option<&Board>, cell: u16, is_retried: bool) {
    if let Some(mut capture) = flow.capture.take() {
        let response = if is_retried {
            Response::default()
        } else {
            stream.response()
        };
        let is_taken = stream.tell_agent(&capture.datagram(&response));
        if let Some(board) = board {
            let counts = board.counts(stream.worker(), cell);
            counts.count(Count::Compared);
            if !is_taken {
                counts.count(Count::Unheard);
            }
        }
    }
}
