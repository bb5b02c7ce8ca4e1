//! What one look at all of a request's headers finds, and what is removed of them.

use super::{TENANT_ID, WEBSOCKET_KEY};
use crate::key::{is_host, HeaderValues, KeyValues};
use crate::stream::{Headers, Stream, TooManyHeaders};
use crate::table::{KeySource, KeySourceKind};

/// What begins so is said by routers only.
const ROUTER_PREFIX: &[u8] = b"x-cell-";
/// What begins so is said to Envoy alone: HTTP/1.1, in which cells are spoken to, has no names that begin with a colon.
const UNSENT_PREFIX: &[u8] = b":cell-";

/// What the client's own `x-tenant-id` is.
pub(super) enum TenantId {
    /// Not there.
    Absent,
    /// The request's key, once.
    Key,
    /// Anything else.
    Other,
}

impl TenantId {
    pub(super) fn of(values: HeaderValues, key: Option<&[u8]>) -> Self {
        match values.count {
            0 => Self::Absent,
            1 if key == Some(values.first) => Self::Key,
            _ => Self::Other,
        }
    }
}

/// What one look at all of a request's headers finds.
pub(super) struct Seen<'a> {
    pub(super) keys: KeyValues<'a>,
    pub(super) tenant_ids: HeaderValues<'a>,
    pub(super) writes: bool,
    /// Whether the proxy has handed over a claim.
    pub(super) has_claim: bool,
    /// Whether a header is there that only routers may set.
    pub(super) spoofed: bool,
    /// Of the body, where the client says so before.
    pub(super) body_bytes: Option<u64>,
    /// Whether it is for a WebSocket, and has no key of one.
    pub(super) lacks_websocket_key: bool,
    /// Whether what it says of its host is one.
    pub(super) has_host: bool,
}

impl<'a> Seen<'a> {
    pub(super) fn of<S: Stream>(stream: &'a S, key_sources: &'a [KeySource]) -> Result<Self, TooManyHeaders> {
        let mut seen = Self {
            keys: KeyValues::new(key_sources),
            tenant_ids: HeaderValues::default(),
            writes: true,
            has_claim: false,
            spoofed: false,
            body_bytes: None,
            lacks_websocket_key: false,
            has_host: true,
        };
        let (mut reads, mut upgrades, mut is_websocket, mut has_key) = (false, false, false, false);
        stream.scan(Headers::Request, |name, value| {
            seen.keys.add(name, value);
            if name == TENANT_ID {
                seen.tenant_ids.add(value);
            }
            if name == b":authority" {
                seen.has_host = is_host(value);
            }
            if name == b":method" {
                reads = matches!(value, b"GET" | b"HEAD" | b"OPTIONS");
            }
            // What passes an upgraded connection, such as a WebSocket, nobody sees: it may well write.
            upgrades |= name == b"upgrade";
            is_websocket |= name == b"upgrade" && value.eq_ignore_ascii_case(b"websocket");
            has_key |= name == WEBSOCKET_KEY;
            if name == b"content-length" {
                seen.body_bytes = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            }
            if is_router_header(name) {
                let is_claim = claims_of(key_sources).any(|source| source.header == name);
                seen.has_claim |= is_claim;
                seen.spoofed |= !is_claim;
            }
        })?;
        seen.writes = !reads || upgrades;
        seen.lacks_websocket_key = is_websocket && !has_key;
        Ok(seen)
    }
}

pub(super) fn claims_of(key_sources: &[KeySource]) -> impl Iterator<Item = &KeySource> {
    key_sources.iter().filter(|source| source.kind == KeySourceKind::Claim)
}

pub(super) fn is_router_header(name: &[u8]) -> bool {
    name.starts_with(ROUTER_PREFIX) || name.starts_with(UNSENT_PREFIX)
}

/// Removes the headers whose name is unwanted. Their names are copied first, as the first removal may free them;
/// this happens to hostile or confused requests only.
pub(super) fn strip<S: Stream>(
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
