//! What a cell is told so that it knows that a router sent a request.

use crate::proof::{proof, Bound};
use crate::route_config::RouteConfig;
use crate::stream::{Headers, Stream};

/// Proves to a cell that a router sent this request, where this one has keys for that. Every pass of a request does it
/// anew, as it may go to another cell, and its proof does not count for ever.
pub(super) fn prove<S, B>(stream: &mut S, config: &RouteConfig<B>, header: &[u8], cell: u16, tenant: Option<&[u8]>)
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let keys = match &config.proof_keys {
        Some(keys) => keys,
        None => return,
    };
    let mut bound = Bound {
        cell: config.table.base().cell_id(cell).as_bytes(),
        epoch: config.epoch_text.as_bytes(),
        tenant: tenant.unwrap_or(b""),
        ..Bound::default()
    };
    // More headers than these there are not: the first look at them would have refused the request.
    let _ = stream.scan(Headers::Request, |name, value| match name {
        b":method" => bound.method = value,
        b":path" => bound.path = value,
        _ => {}
    });
    let value = proof(keys, bound, stream.unix_seconds());
    stream.add(Headers::Request, header, value.as_bytes());
}
