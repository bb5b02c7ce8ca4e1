//! What is done with kept answers: an answer is kept as it passes, and given where its cell is down.

use super::counting::count_of;
use super::Verdict;
use crate::board::Count;
use crate::decide::{shard_of, Subject};
use crate::flow::{Coming, Flow, Keeping, Sent};
use crate::kept::{Answer, Asked, Head, Origin, Outcome, Room, MAX_BODY_BYTES};
use crate::key::PartitionKey;
use crate::route_config::RouteConfig;
use crate::stream::{Reply, Stream};
use crate::table::{Policy, Reads};
use std::sync::Arc;

/// Whether an answer is the cell's, or what was kept of one.
const DATA_SOURCE: &str = "x-data-source";
/// Headers of an answer that a client has already (RFC 9110, 15.4.5).
const NOT_MODIFIED: [&str; 6] = ["cache-control", "content-location", "date", "etag", "expires", "vary"];
/// Room that is taken at first for a body of unknown length; it doubles as the body comes.
const FIRST_BODY_BYTES: usize = 4 * 1024;

/// What the answer to a request will mean for those that are kept; nothing, but by a policy that reads them.
pub(super) fn keeping_of(policy: &Policy, writes: bool, is_whole: bool, is_canary: bool) -> Keeping {
    match policy.reads {
        Reads::Cache(_) if writes => Keeping::Write,
        // A canary's answers are its own.
        Reads::Cache(_) if is_whole && !is_canary => Keeping::Answer,
        _ => Keeping::Nothing,
    }
}

/// Looks at the headers of an answer that goes on to the client, and begins to keep it where it may be.
pub fn keep_headers<S, B>(stream: &S, flow: &mut Flow, config: &RouteConfig<B>, is_whole: bool)
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let (sent, kept) = match (&flow.sent, &config.kept) {
        (Some(sent), Some(kept)) if sent.keeping != Keeping::Nothing => (sent, kept),
        _ => return,
    };
    let tenant = tenant_of(sent);
    let asked = match Asked::of(stream, config.table.base().key_sources(), tenant) {
        Some(asked) => asked,
        None => return,
    };
    let status = stream.response().status.unwrap_or(0);
    if sent.keeping == Keeping::Write {
        if (200..400).contains(&status) {
            kept.forget_path(tenant, &asked.key, stream.clock_ns());
        }
        return;
    }
    let head = if status == 200 { Head::of(stream, &asked) } else { None };
    match head {
        Some(head) => {
            let body_bytes = head.body_bytes.unwrap_or(FIRST_BODY_BYTES);
            let bytes = asked.key.as_bytes().len() + head.bytes() + body_bytes;
            flow.coming = Room::take(kept, bytes).map(|room| {
                Box::new(Coming {
                    key: asked.key,
                    head,
                    body: Vec::with_capacity(body_bytes),
                    room,
                })
            });
            if is_whole {
                keep(stream, flow, config);
            }
        }
        // What was kept is no longer what the cell says to anybody.
        None if asked.is_get && !asked.knows_user && replaces(status) => kept.forget(tenant, &asked.key),
        None => {}
    }
}

/// Takes what has come of the body of an answer that is to be kept.
pub fn keep_body<S, B>(stream: &S, flow: &mut Flow, config: &RouteConfig<B>, is_whole: bool)
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let coming = match &mut flow.coming {
        Some(coming) => coming,
        None => return,
    };
    let mut fits = true;
    stream.response_parts(|part| fits = fits && take_part(coming, part));
    if !fits {
        let key = flow.coming.take().map(|coming| coming.key);
        if let (Some(key), Some(sent), Some(kept)) = (key, &flow.sent, &config.kept) {
            kept.forget(tenant_of(sent), &key);
        }
    } else if is_whole {
        keep(stream, flow, config);
    }
}

/// An answer with trailers is not kept.
pub fn keep_trailers(flow: &mut Flow) {
    flow.coming = None;
}

/// Adds a part to a body; false where it is too large, or there is no room.
fn take_part(coming: &mut Coming, part: &[u8]) -> bool {
    let Coming { body, room, .. } = coming;
    let bytes = body.len() + part.len();
    if bytes > MAX_BODY_BYTES {
        return false;
    }
    if bytes > body.capacity() {
        let more = bytes.max(2 * body.capacity()).min(MAX_BODY_BYTES) - body.capacity();
        if !room.grow(more) {
            return false;
        }
        body.reserve_exact(body.capacity() + more - body.len());
    }
    body.extend_from_slice(part);
    true
}

/// Keeps an answer that has come whole.
fn keep<S, B>(stream: &S, flow: &mut Flow, config: &RouteConfig<B>)
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let (coming, sent, kept) = match (flow.coming.take(), &flow.sent, &config.kept) {
        (Some(coming), Some(sent), Some(kept)) => (*coming, sent, kept),
        _ => return,
    };
    let base = config.table.base();
    let origin = Origin {
        cell: base.cell_id(sent.cell).into(),
        jurisdiction: base.jurisdiction(sent.cell).into(),
        since_ns: sent.since_ns,
    };
    let Coming { key, head, body, room } = coming;
    let outcome = Answer::new(origin, head, body).map(|answer| kept.store(tenant_of(sent), &key, answer));
    drop(room);
    if let Some(Outcome::Stored(evicted)) = outcome {
        count_of(stream, config, sent.cell, Count::Kept, 1);
        count_of(stream, config, sent.cell, Count::KeptEvicted, evicted as u64);
        if let Some(board) = &config.board {
            board.set_kept_bytes(kept.bytes());
        }
    }
}

/// An answer that may be given in place of a cell's.
pub(super) struct Found {
    answer: Arc<Answer>,
    asked: Asked,
    /// Index of the cell whose it is.
    pub(super) cell: u16,
}

/// What was kept for a request whose cell is down: of a cell of its shard, under the law that the cell is still under,
/// and no older than the policy wants it.
pub(super) fn find<S, B>(stream: &S, config: &RouteConfig<B>, subject: &Subject, policy: &Policy) -> Option<Found>
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let longest_s = match policy.reads {
        Reads::Cache(longest_s) => longest_s,
        _ => return None,
    };
    let kept = config.kept.as_deref()?;
    let base = config.table.base();
    let tenant = subject.key().unwrap_or(b"");
    let asked = Asked::of(stream, base.key_sources(), tenant)?;
    if !asked.is_get && !asked.is_head {
        return None;
    }
    let answer = kept.find(tenant, &asked.key)?;
    let shard = shard_of(&config.table, subject)?;
    let Origin { cell, jurisdiction, .. } = answer.origin();
    let is_origin = |place: &u16| base.cell_id(*place) == &**cell && base.jurisdiction(*place) == &**jurisdiction;
    let cell = shard.cells().find(is_origin)?;
    let is_for = answer.is_for(&asked, longest_s.into(), stream.clock_ns());
    is_for.then_some(Found { answer, asked, cell })
}

/// Answers with what was kept.
pub(super) fn give<S, B>(stream: &mut S, config: &RouteConfig<B>, found: &Found) -> Verdict
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let Found { answer, asked, cell } = found;
    let age = answer.age_s(stream.clock_ns()).to_string();
    let is_known = answer.is_known(&asked.if_none_match);
    let mut headers: Vec<(&str, &str)> = answer
        .fields()
        .filter(|(name, _)| !is_known || NOT_MODIFIED.contains(name))
        .collect();
    headers.extend([
        ("age", age.as_str()),
        (DATA_SOURCE, "cache"),
        ("x-cell-id", config.table.base().cell_id(*cell)),
        ("x-cell-epoch", config.epoch_text.as_str()),
    ]);
    stream.mark_refused();
    stream.reply(&Reply {
        status: if is_known { 304 } else { 200 },
        headers: &headers,
        body: if is_known { b"" } else { answer.body() },
        details: "cellplane_kept_answer",
    });
    Verdict::Stop
}

/// Whether an answer takes the place of one before: not where it is of the client's conditions or of the cell's state.
fn replaces(status: u16) -> bool {
    (200..500).contains(&status) && !matches!(status, 206 | 304 | 408 | 412 | 416 | 421 | 429)
}

fn tenant_of(sent: &Sent) -> &[u8] {
    sent.tenant.as_ref().map_or(b"", PartitionKey::as_bytes)
}
