//! Proof for a cell that a router sent a request: `cpp1.<time>.<key id>.<MAC>`, as `cellplane.cell.proof` verifies it.

use crate::base64url::digest_text;
use crate::cookie::Keyring;
use std::borrow::Cow;

const VERSION: &[u8] = b"cpp1";

/// What a proof is bound to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bound<'a> {
    /// The cell that the request goes to.
    pub cell: &'a [u8],
    /// The epoch of the table that chose it, in decimal.
    pub epoch: &'a [u8],
    /// The tenant; empty where there is none.
    pub tenant: &'a [u8],
    /// The request's method.
    pub method: &'a [u8],
    /// Its path and query, as Envoy sends them on.
    pub path: &'a [u8],
}

/// A proof by the first of these keys, for requests that are sent at `now`, Unix seconds.
pub fn proof(keys: &Keyring, bound: Bound, now: u64) -> String {
    let seconds = now.to_string();
    let (path, query) = match bound.path.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&bound.path[..mark], &bound.path[mark + 1..]),
        None => (bound.path, &b""[..]),
    };
    let (id, key) = keys.first();
    // No part but the last can have a newline, so no two requests have the same text.
    let mac = key.mac([
        VERSION,
        b"\n",
        bound.cell,
        b"\n",
        bound.epoch,
        b"\n",
        bound.tenant,
        b"\n",
        bound.method,
        b"\n",
        seconds.as_bytes(),
        b"\n",
        id.as_bytes(),
        b"\n",
        query,
        b"\n",
        &decoded(path),
    ]);
    let mac = digest_text(&mac);
    let mac = std::str::from_utf8(&mac).expect("base64url is ASCII");
    format!("cpp1.{seconds}.{id}.{mac}")
}

/// A path without its percent-encoding, which not every server keeps; what is no escape stays.
fn decoded(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let mut found = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, behind)) = rest.split_first() {
        match (byte, behind) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                found.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            _ => {
                found.push(*byte);
                rest = behind;
            }
        }
    }
    Cow::Owned(found)
}

fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        _ => (hex | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_once() {
        for (path, expected) in [
            (&b"/a"[..], &b"/a"[..]),
            (b"/a%20b", b"/a b"),
            (b"/%C3%a4", b"/\xc3\xa4"),
            (b"/%zz%4", b"/%zz%4"),
            (b"/%2541", b"/%41"),
            (b"%", b"%"),
            (b"%%41", b"%A"),
        ] {
            assert_eq!(&decoded(path)[..], expected, "{path:?}");
        }
    }
}
