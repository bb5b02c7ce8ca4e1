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
