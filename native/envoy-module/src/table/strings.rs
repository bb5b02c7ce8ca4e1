//! Text inside of STRINGS.

use super::error::TableError;
use super::integers::u32_at;

/// A `StrRef` has its length behind its offset.
const LENGTH: usize = 4;

/// The bytes that the `StrRef` at `offset` of an entry names, or None where they are outside of STRINGS.
pub(super) fn bytes_at<'a>(strings: &'a [u8], entry: &[u8], offset: usize) -> Option<&'a [u8]> {
    let start = u32_at(entry, offset) as usize;
    let length = u32_at(entry, offset + LENGTH) as usize;
    strings.get(start..start + length)
}

/// The text that the `StrRef` at `offset` of an entry names.
///
/// # Errors
///
/// It is outside of STRINGS, or no UTF-8; `place` says whose text it is.
pub(super) fn text_at<'a>(
    strings: &'a [u8],
    entry: &[u8],
    offset: usize,
    place: impl Fn() -> String,
) -> Result<&'a str, TableError> {
    let bytes = bytes_at(strings, entry, offset).ok_or_else(|| {
        let expected = format!("text inside the {} bytes of STRINGS", strings.len());
        let (start, length) = (u32_at(entry, offset), u32_at(entry, offset + LENGTH));
        TableError::new(place(), expected, format!("{length} bytes at {start}"))
    })?;
    std::str::from_utf8(bytes).map_err(|error| TableError::new(place(), "UTF-8", error))
}

/// Whether this text may name a cell: a DNS label in lower case.
pub(super) fn is_label(text: &str) -> bool {
    const MAX_BYTES: usize = 63;
    let bytes = text.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            let inner = bytes.iter().all(|byte| plain(byte) || *byte == b'-');
            bytes.len() <= MAX_BYTES && plain(first) && plain(last) && inner
        }
        _ => false,
    }
}

/// Whether clients can be sent to this address: a scheme, a host, and nothing that would end a header.
pub(super) fn is_public_url(text: &str) -> bool {
    const MAX_BYTES: usize = 1_024;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let has_host = rest.map_or(false, |rest| !rest.is_empty() && !rest.starts_with('/'));
    has_host && text.len() <= MAX_BYTES && !text.ends_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether this text can be shown of a cell in maintenance.
pub(super) fn is_page(text: &str) -> bool {
    const MAX_BYTES: usize = 8_000;
    text.len() <= MAX_BYTES && text.bytes().all(|byte| byte == b'\n' || (byte >= b' ' && byte != 0x7F))
}
