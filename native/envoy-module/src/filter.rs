//! The filter's work on one request: read the key, name the cell, or answer.

#[cfg(test)]
mod tests;

use crate::decide::{decide, Subject};
use crate::key::{HeaderValues, KeyValues, Seals};
use crate::problem::{Code, Refusal};
use crate::route_config::RouteConfig;
use crate::stream::{Headers, Reply, Stream, TooManyHeaders};
use crate::table::{KeySource, KeySourceKind, Table};

/// The chosen cell; the route's `cluster_header`.
pub const CELL_ID: &[u8] = b"x-cell-id";
/// The epoch of the table that chose it.
pub const CELL_EPOCH: &[u8] = b"x-cell-epoch";
/// The partition key.
pub const TENANT_ID: &[u8] = b"x-tenant-id";
/// What begins so is said by routers only.
const ROUTER_PREFIX: &[u8] = b"x-cell-";

/// What becomes of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on through Envoy.
    Continue,
    /// It has been answered.
    Stop,
}

/// Routes a request by its headers, or answers it. Without a config, and so without a table, nothing passes.
pub fn on_request_headers<S, B>(stream: &mut S, config: Option<&RouteConfig<B>>) -> Verdict
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let table = config.map(|config| &config.table);
    let routed = config
        .ok_or_else(|| Code::NoRoute.into())
        .and_then(|config| route(stream, config));
    match routed {
        Ok(()) => Verdict::Continue,
        Err(refusal) => refuse(stream, refusal, table),
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

/// Answers a request that a fault of this module left undecided.
pub fn fail<S: Stream>(stream: &mut S) -> Verdict {
    refuse::<S, &[u8]>(stream, Code::InternalError.into(), None)
}

impl From<TooManyHeaders> for Refusal {
    fn from(_: TooManyHeaders) -> Self {
        Code::TooManyHeaders.into()
    }
}

fn route<S, B>(stream: &mut S, config: &RouteConfig<B>) -> Result<(), Refusal>
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let RouteConfig {
        table,
        epoch_text,
        cookie_keys,
    } = config;
    let base = table.base();
    let Seen {
        keys,
        tenant_ids,
        writes,
        has_claim,
        spoofed,
    } = Seen::of(stream, base.key_sources())?;
    let now = || stream.unix_seconds();
    let seals = Seals {
        keys: cookie_keys.as_ref(),
        now: &now,
    };
    let subject = Subject::of(base, &keys, seals, || stream.client_address());
    let tenant_id = TenantId::of(tenant_ids, subject.as_ref().ok().and_then(Subject::key));
    if spoofed {
        strip(stream, Headers::Request, is_router_header)?;
        // Envoy may have chosen a route by them, and with it the cluster that a refusal is counted for.
        stream.clear_route_cache();
    } else if has_claim {
        for source in claims_of(base.key_sources()) {
            stream.remove(Headers::Request, &source.header);
        }
    }
    let subject = subject?;
    // Whatever a client sent of these two is gone by now, so each is added once.
    let mut names_cell = false;
    // The cell that is asked about last is the chosen one, so its header and its route are already in place.
    decide(table, &subject, writes, |cell| {
        let cell_id = base.cell_id(cell).as_bytes();
        if names_cell {
            stream.set(CELL_ID, cell_id);
        } else {
            stream.add(CELL_ID, cell_id);
        }
        names_cell = true;
        stream.clear_route_cache();
        stream.healthy_hosts() > 0
    })?;
    stream.add(CELL_EPOCH, epoch_text.as_bytes());
    match (tenant_id, subject.key()) {
        (TenantId::Absent, Some(key)) => stream.add(TENANT_ID, key),
        (TenantId::Other, Some(key)) => stream.set(TENANT_ID, key),
        (TenantId::Other, None) => stream.remove(Headers::Request, TENANT_ID),
        (TenantId::Key, _) | (TenantId::Absent, None) => {}
    }
    Ok(())
}

/// What the client's own `x-tenant-id` is.
enum TenantId {
    /// Not there.
    Absent,
    /// The request's key, once.
    Key,
    /// Anything else.
    Other,
}

impl TenantId {
    fn of(values: HeaderValues, key: Option<&[u8]>) -> Self {
        match values.count {
            0 => Self::Absent,
            1 if key == Some(values.first) => Self::Key,
            _ => Self::Other,
        }
    }
}

/// What one look at all of a request's headers finds.
struct Seen<'a> {
    keys: KeyValues<'a>,
    tenant_ids: HeaderValues<'a>,
    writes: bool,
    /// Whether the proxy has handed over a claim.
    has_claim: bool,
    /// Whether a header is there that only routers may set.
    spoofed: bool,
}

impl<'a> Seen<'a> {
    fn of<S: Stream>(stream: &'a S, key_sources: &'a [KeySource]) -> Result<Self, TooManyHeaders> {
        let mut seen = Self {
            keys: KeyValues::new(key_sources),
            tenant_ids: HeaderValues::default(),
            writes: true,
            has_claim: false,
            spoofed: false,
        };
        stream.scan(Headers::Request, |name, value| {
            seen.keys.add(name, value);
            if name == TENANT_ID {
                seen.tenant_ids.add(value);
            }
            if name == b":method" {
                seen.writes = !matches!(value, b"GET" | b"HEAD" | b"OPTIONS");
            }
            if is_router_header(name) {
                let is_claim = claims_of(key_sources).any(|source| source.header == name);
                seen.has_claim |= is_claim;
                seen.spoofed |= !is_claim;
            }
        })?;
        Ok(seen)
    }
}

fn claims_of(key_sources: &[KeySource]) -> impl Iterator<Item = &KeySource> {
    key_sources.iter().filter(|source| source.kind == KeySourceKind::Claim)
}

fn is_router_header(name: &[u8]) -> bool {
    name.starts_with(ROUTER_PREFIX)
}

/// Removes the headers whose name is unwanted. Their names are copied first, as the first removal may free them;
/// this happens to hostile or confused requests only.
fn strip<S: Stream>(
    stream: &mut S,
    headers: Headers,
    is_unwanted: impl Fn(&[u8]) -> bool,
) -> Result<(), TooManyHeaders> {
    let mut unwanted: Vec<Vec<u8>> = Vec::new();
    stream.scan(headers, |name, _| {
        if is_unwanted(name) {
            unwanted.push(name.to_vec());
        }
    })?;
    for name in &unwanted {
        stream.remove(headers, name);
    }
    Ok(())
}

fn is_grpc<S: Stream>(stream: &S) -> bool {
    let mut found = false;
    let all_seen = stream.scan(Headers::Request, |name, value| {
        found |= name == b"content-type" && value.starts_with(b"application/grpc");
    });
    all_seen.is_ok() && found
}

fn refuse<S, B>(stream: &mut S, refusal: Refusal, table: Option<&Table<B>>) -> Verdict
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let problem = refusal.code.problem();
    let cell = table.zip(refusal.cell).map(|(table, cell)| table.base().cell_id(cell));
    // What may succeed later was refused by a table.
    let retry_after = table
        .filter(|_| problem.status == 503)
        .map(|table| table.base().policy().retry_after_s.to_string());
    let mut headers = vec![if is_grpc(stream) {
        // Envoy makes a gRPC answer of it, and would call it a success.
        ("grpc-status", problem.grpc_status())
    } else {
        ("content-type", "application/problem+json")
    }];
    headers.extend(retry_after.as_deref().map(|seconds| ("retry-after", seconds)));
    if problem.status == 401 {
        headers.push(("www-authenticate", "Bearer"));
    }
    stream.mark_refused();
    stream.reply(&Reply {
        status: problem.status,
        headers: &headers,
        body: &problem.document(cell),
        details: &problem.response_details(),
    });
    Verdict::Stop
}
