//! The filter's work on one request: read the key, name the cell, or answer; then count how it went.

mod asking;
mod comparing;
#[cfg(test)]
mod comparing_tests;
mod counting;
mod keeping;
#[cfg(test)]
mod keeping_tests;
mod proving;
mod reply;
mod seen;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traffic_tests;

use crate::board::Count;
use crate::decide::{decide, no_key, unavailable, Reason, Route, Subject};
use crate::flow::{Flow, Sent};
use crate::key::{PartitionKey, Seals};
use crate::limits::take_of_cell;
use crate::load::{self, Load};
use crate::problem::{Code, Refusal};
use crate::route_config::RouteConfig;
use crate::stream::{Headers, Stream, TooManyHeaders};
use crate::table::Reads;
use asking::{Asking, CellName};
pub use comparing::{note_body, note_headers, note_trailers, on_copy_complete, on_copy_headers};
use counting::{count_of, count_refusal, count_sent, end};
pub use keeping::{keep_body, keep_headers, keep_trailers};
use proving::prove;
use reply::{redirect, refuse};
use seen::{claims_of, is_router_header, strip, Seen, TenantId};

/// The chosen cell; the route's `cluster_header`.
pub const CELL_ID: &[u8] = b"x-cell-id";
/// The epoch of the table that chose it.
pub const CELL_EPOCH: &[u8] = b"x-cell-epoch";
/// The tenant's pool.
pub const CELL_POOL: &[u8] = b"x-cell-pool";
/// What named the shard.
pub const CELL_REASON: &[u8] = b"x-cell-reason";
/// Chooses the route of requests that are shed last.
pub const CELL_PRIORITY: &[u8] = b"x-cell-priority";
/// The cell that gets a copy.
pub const CELL_SHADOW: &[u8] = b":cell-shadow";
/// By which the cell knows that a router sent the request.
pub const CELL_PROOF: &[u8] = b"x-cell-proof";
/// The same for the cell that gets a copy; Envoy puts it into the copy as [`CELL_PROOF`].
pub const CELL_SHADOW_PROOF: &[u8] = b":cell-shadow-proof";
/// The partition key.
pub const TENANT_ID: &[u8] = b"x-tenant-id";
/// By which a WebSocket of HTTP/1.1 begins (RFC 6455, 4.1).
const WEBSOCKET_KEY: &[u8] = b"sec-websocket-key";
/// The status of a cell that is not meant (RFC 9110, 15.5.20).
const MISDIRECTED: u16 = 421;
/// What a second pass remembers whose first cell sent it away; no cell has this id.
const REFETCHED: &[u8] = b"!";
/// Largest body that is copied. Envoy holds a request back while its copy is not read: up to so much it can keep itself,
/// so that nobody waits for a shadow.
const MAX_COPIED_BYTES: u64 = 16 * 1024;

/// What becomes of the request, or of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on through Envoy.
    Continue,
    /// It has been answered, or begun anew.
    Stop,
    /// It is held until the agent has said something.
    Hold,
}

/// Routes a request by its headers, or answers it. Without a config, and so without a table, nothing passes.
pub fn on_request_headers<S, B>(
    stream: &mut S,
    flow: &mut Flow,
    config: Option<&RouteConfig<B>>,
    is_whole: bool,
) -> Verdict
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let config = match config {
        Some(config) => config,
        None => return refuse::<S, &[u8]>(stream, Code::NoRoute.into(), None),
    };
    match route(stream, flow, config, is_whole) {
        Ok(Outcome::Sent) => Verdict::Continue,
        Ok(Outcome::Redirected(cell)) => redirect(stream, config, cell),
        Ok(Outcome::Kept(found)) => keeping::give(stream, config, &found),
        Err(refusal) => {
            count_refusal(stream, config, &refusal);
            refuse(stream, refusal, Some(config))
        }
    }
}

/// Removes from a request's trailers what only routers say.
pub fn on_request_trailers<S: Stream>(stream: &mut S) -> Verdict {
    match strip(stream, Headers::Trailers, |name| {
        is_router_header(name) || name == TENANT_ID
    }) {
        Ok(()) => Verdict::Continue,
        Err(TooManyHeaders) => refuse::<S, &[u8]>(stream, Code::TooManyHeaders.into(), None),
    }
}

/// Says in an answer who gave it; or tries the request on the shard's next cell, where this one could not be reached.
pub fn on_response_headers<S, B>(stream: &mut S, flow: &mut Flow, config: &RouteConfig<B>) -> Verdict
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let sent = match &flow.sent {
        Some(sent) => sent,
        None => return Verdict::Continue,
    };
    let (cell, may_refetch) = (sent.cell, sent.may_refetch);
    let response = stream.response();
    if sent.may_retry && response.is_unreachable() {
        // What this pass has counted is counted before the next one begins, which is inside of `begin_anew`.
        end(stream, flow, config, true);
        stream.remember(config.table.base().cell_id(cell).as_bytes());
        if stream.begin_anew() {
            return Verdict::Stop;
        }
    }
    if may_refetch && response.status == Some(MISDIRECTED) {
        // The cell knows a newer epoch, by which the tenant is elsewhere: the agent is about to have it.
        let known = number(stream.response_header(CELL_EPOCH));
        let newer = known.filter(|known| *known > config.table.epoch());
        if newer.map_or(false, |epoch| stream.ask_agent(&format!("/epochs/{epoch}"))) {
            flow.is_waiting = true;
            return Verdict::Hold;
        }
    }
    describe_response(stream, cell, config);
    Verdict::Continue
}

/// Goes on with an answer that was held: tries the request anew where the agent has a newer table live.
pub fn on_agent_answer<S, B>(stream: &mut S, flow: &mut Flow, config: &RouteConfig<B>, is_live: bool)
where
    S: Stream,
    B: AsRef<[u8]>,
{
    if !std::mem::take(&mut flow.is_waiting) {
        return;
    }
    let cell = flow.sent.as_ref().map(|sent| sent.cell);
    if is_live {
        end(stream, flow, config, true);
        stream.remember(REFETCHED);
        if stream.begin_anew() {
            return;
        }
    }
    if let Some(cell) = cell {
        describe_response(stream, cell, config);
    }
    stream.continue_response();
}

/// Says who has answered, in place of what the cell says of that, and takes what it says of its load off its answer.
fn describe_response<S, B>(stream: &mut S, cell: u16, config: &RouteConfig<B>)
where
    S: Stream,
    B: AsRef<[u8]>,
{
    // One look at all headers costs less than a search for each, and what is not there need not be searched again.
    let (mut says_cell, mut says_epoch, mut load) = (false, false, None);
    let scanned = stream.scan(Headers::Response, |name, value| match name {
        CELL_ID => says_cell = true,
        CELL_EPOCH => says_epoch = true,
        load::HEADER => load = load.or_else(|| Some(Load::parse(value))),
        _ => {}
    });
    // Of more headers than can be looked at nothing is known.
    let is_unknown = scanned.is_err();
    if let Some(load) = load {
        if let (Some(load), Some(board)) = (load, &config.board) {
            board.note_load(cell, load);
        }
    }
    if load.is_some() || is_unknown {
        stream.remove(Headers::Response, load::HEADER);
    }
    for (name, value, is_there) in [
        (CELL_ID, config.table.base().cell_id(cell), says_cell),
        (CELL_EPOCH, config.epoch_text.as_str(), says_epoch),
    ] {
        if is_there || is_unknown {
            stream.set(Headers::Response, name, value.as_bytes());
        } else {
            stream.add(Headers::Response, name, value.as_bytes());
        }
    }
}

/// A decimal number; None where these bytes are none.
fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Counts a request that has ended, or whose client has gone.
pub fn on_complete<S, B>(stream: &S, flow: &mut Flow, config: &RouteConfig<B>)
where
    S: Stream,
    B: AsRef<[u8]>,
{
    end(stream, flow, config, false);
}

/// Answers a request that a fault of this module left undecided.
pub fn fail<S: Stream>(stream: &mut S) -> Verdict {
    refuse::<S, &[u8]>(stream, Code::InternalError.into(), None)
}

impl From<TooManyHeaders> for Refusal {
    fn from(_: TooManyHeaders) -> Self {
        Code::TooManyHeaders.into()
    }
}

/// What a decision has come to.
enum Outcome {
    Sent,
    /// The client is to ask the cell itself.
    Redirected(u16),
    /// What was kept of the cell's answers is given.
    Kept(keeping::Found),
}

fn route<S, B>(stream: &mut S, flow: &mut Flow, config: &RouteConfig<B>, is_whole: bool) -> Result<Outcome, Refusal>
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let RouteConfig {
        table,
        cookie_keys,
        board,
        tenant_limits,
        ..
    } = config;
    let base = table.base();
    let Seen {
        keys,
        tenant_ids,
        writes,
        has_claim,
        spoofed,
        body_bytes,
        lacks_websocket_key,
        has_host,
    } = Seen::of(stream, base.key_sources())?;
    let now = || stream.unix_seconds();
    let seals = Seals {
        keys: cookie_keys.as_ref(),
        now: &now,
    };
    let subject = Subject::of(base, &keys, writes, seals, || stream.client_address());
    let tenant_id = TenantId::of(tenant_ids, subject.as_ref().ok().and_then(Subject::key));
    // Another pass of a request has the headers that the first one set; it is rare, and so is a client that says so.
    let failed = if spoofed {
        stream.remembered().and_then(CellName::new)
    } else {
        None
    };
    if spoofed {
        strip(stream, Headers::Request, is_router_header)?;
        // Envoy may have chosen a route by them, and with it the cluster that a refusal is counted for.
        stream.clear_route_cache();
    } else if has_claim {
        for source in claims_of(base.key_sources()) {
            stream.remove(Headers::Request, &source.header);
        }
    }
    if !has_host {
        return Err(Code::InvalidHost.into());
    }
    let subject = subject?;
    let mut asking = Asking::new(stream, base, board.as_ref(), failed);
    let mut decision = decide(table, &subject, writes, &mut asking);
    let has_no_cell = decision.as_ref().map_or(true, |route| route.is_stale);
    if has_no_cell && asking.takes_what_it_avoided() {
        decision = decide(table, &subject, writes, &mut asking);
    }
    let mut route = decision?;
    // A cookie whose key is of another jurisdiction says nothing.
    if let (Subject::Key(key), Some(keys)) = (&subject, cookie_keys) {
        if !keys.speaks_for(key.signers(), base.jurisdiction(route.cell)) {
            return Err(no_key(base));
        }
    }
    // What names the shadow to Envoy alone would go to a cell by HTTP/2, which knows such names and refuses this one.
    route.shadow = route
        .shadow
        .filter(|shadow| !base.speaks_http2(*shadow) && !base.speaks_http2(route.cell));
    // A second try is no second request of the shadow's.
    if failed.is_some() || (!is_whole && body_bytes.map_or(true, |bytes| bytes > MAX_COPIED_BYTES)) {
        route.shadow = None;
    }
    let is_probe = asking.is_probe(route.cell);
    let worker = stream.worker();
    let refused = |code| Refusal {
        cell: Some(route.cell),
        ..Refusal::from(code)
    };
    let counts = board.as_ref().map(|board| board.counts(worker, route.cell));
    if route.redirects {
        if let Some(counts) = counts {
            counts.count(Count::Redirected);
        }
        return Ok(Outcome::Redirected(route.cell));
    }
    let policy = base.policy_at(route.policy);
    let found = if route.is_stale {
        let nothing_kept = Refusal {
            nothing_kept: true,
            ..unavailable(base, route.cell)
        };
        Some(keeping::find(stream, config, &subject, policy).ok_or(nothing_kept)?)
    } else {
        None
    };
    let now_ns = stream.clock_ns();
    // Whoever is over a limit of its own takes nothing of the cell's.
    let rps_milli = match policy.rps_milli {
        0 => share_of(base.cell_rps_milli(route.cell), route.shard_size),
        own => own,
    };
    // A second try is no second request of the tenant.
    if failed.is_none() {
        tenant_limits
            .take(subject.key().unwrap_or(b""), rps_milli, policy.burst_ms, now_ns)
            .map_err(|over| refused(Code::TenantLimited).over(over))?;
    }
    if let Some(found) = found {
        stream.set(Headers::Request, CELL_ID, base.cell_id(found.cell).as_bytes());
        describe(stream, config, &route);
        say_tenant(stream, &tenant_id, &subject);
        count_of(stream, config, found.cell, Count::Stale, 1);
        return Ok(Outcome::Kept(found));
    }
    if let Some(board) = board {
        let limit = board.cell_limit(route.cell);
        take_of_cell(limit, base.cell_rps_milli(route.cell), policy.high_priority, now_ns)
            .map_err(|over| refused(Code::CellOverloaded).over(over))?;
    }
    describe(stream, config, &route);
    if let Some(shadow) = route.shadow {
        if !comparing::begin(stream, flow, base, &route, subject.key()) {
            stream.add(Headers::Request, CELL_SHADOW, base.cell_id(shadow).as_bytes());
        }
        // The routes that copy are others.
        stream.clear_route_cache();
    }
    say_tenant(stream, &tenant_id, &subject);
    prove(stream, config, CELL_PROOF, route.cell, subject.key());
    if let Some(shadow) = route.shadow {
        prove(stream, config, CELL_SHADOW_PROOF, shadow, subject.key());
    }
    if lacks_websocket_key {
        let key = websocket_key(stream);
        stream.add(Headers::Request, WEBSOCKET_KEY, &key);
    }
    if let Some(counts) = counts {
        count_sent(&counts, &route, is_probe);
    }
    let has_other =
        route.shard_size > 1 || route.is_canary || matches!(policy.reads, Reads::Standby(_) | Reads::Cache(_));
    flow.sent = Some(Sent {
        cell: route.cell,
        tenant: subject.key().and_then(PartitionKey::new),
        since_ns: now_ns,
        may_retry: failed.is_none() && !writes && is_whole && has_other,
        keeping: keeping::keeping_of(policy, writes, is_whole, route.is_canary),
        may_refetch: failed.is_none() && is_whole,
    });
    Ok(Outcome::Sent)
}

/// Says whose request it is, or that it is nobody's, in place of what the client said.
fn say_tenant<S: Stream>(stream: &mut S, found: &TenantId, subject: &Subject) {
    match (found, subject.key()) {
        (TenantId::Absent, Some(key)) => stream.add(Headers::Request, TENANT_ID, key),
        (TenantId::Other, Some(key)) => stream.set(Headers::Request, TENANT_ID, key),
        (TenantId::Other, None) => stream.remove(Headers::Request, TENANT_ID),
        (TenantId::Key, _) | (TenantId::Absent, None) => {}
    }
}

/// A client of HTTP/2 sends none (RFC 8441, 5), and Envoy makes an upgrade of HTTP/1.1 without one of its request, which a
/// cell must refuse: 16 random bytes in base64, of which the last character has two bits.
fn websocket_key<S: Stream>(stream: &S) -> [u8; 24] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut key = [b'='; 24];
    for place in &mut key[..21] {
        *place = ALPHABET[stream.random() as usize % ALPHABET.len()];
    }
    key[21] = b"AQgw"[stream.random() as usize % 4];
    key
}

/// Says to the cell, and to Envoy's log where there is one, what was decided. The cell's id is already there.
fn describe<S, B>(stream: &mut S, config: &RouteConfig<B>, route: &Route)
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let base = config.table.base();
    stream.add(Headers::Request, CELL_EPOCH, config.epoch_text.as_bytes());
    if config.is_logged {
        if let Some(pool) = route.pool {
            stream.add(Headers::Request, CELL_POOL, base.pool_name(pool).as_bytes());
        }
        stream.add(Headers::Request, CELL_REASON, reason_text(route).as_bytes());
    }
    if base.policy_at(route.policy).high_priority {
        stream.add(Headers::Request, CELL_PRIORITY, b"high");
        stream.clear_route_cache();
    }
}

fn reason_text(route: &Route) -> &'static str {
    match route.reason {
        _ if route.is_canary => "canary",
        Reason::Assignment => "assignment",
        Reason::Slot => "slot",
        Reason::Default => "default",
        Reason::Source => "source",
    }
}

/// A tenant's part of a cell's limit, where its shard has so many cells; at least the smallest that there is.
fn share_of(rps_milli: u32, shard_size: usize) -> u32 {
    match rps_milli {
        0 => 0,
        limit => (limit / shard_size as u32).max(1),
    }
}
