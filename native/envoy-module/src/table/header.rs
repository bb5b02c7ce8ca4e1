//! The header that bases and overlays share, and their checksum.

use super::error::TableError;
use super::integers::{array_at, u16_at, u32_at, u64_at};
use crate::sha256::{sha256, DIGEST_BYTES};

const MAGIC: [u8; 8] = *b"\x89CPT\r\n\x1a\n";
const MAJOR: u16 = 1;
const BASE_SHA256_AT: usize = 48;
const CHECKSUM_AT: usize = 96;
const MAX_SECTIONS: usize = 64;
pub(super) const HEADER_BYTES: usize = 128;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Base = 1,
    Overlay = 2,
}

/// What a header says that its reader needs later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) epoch: u64,
    /// 0 in a base.
    pub(super) base_epoch: u64,
    /// Zeros in a base.
    pub(super) base_sha256: [u8; DIGEST_BYTES],
    pub(super) sha256: [u8; DIGEST_BYTES],
    pub(super) section_count: usize,
}

impl FileKind {
    fn described(self) -> &'static str {
        match self {
            Self::Base => "1 (a base)",
            Self::Overlay => "2 (an overlay)",
        }
    }
}

/// Checks all that the header says, without its checksum.
pub(super) fn read_header(file: &[u8], kind: FileKind) -> Result<Header, TableError> {
    if file.len() < HEADER_BYTES {
        return Err(TableError::new("file", "at least 128 bytes", file.len()));
    }
    if file[..MAGIC.len()] != MAGIC {
        let found = format!("{:02x?}", &file[..MAGIC.len()]);
        return Err(TableError::new("magic", format!("{MAGIC:02x?}"), found));
    }
    if u16_at(file, 8) != MAJOR {
        return Err(TableError::new("major", MAJOR, u16_at(file, 8)));
    }
    if u32_at(file, 12) != kind as u32 {
        return Err(TableError::new("kind", kind.described(), u32_at(file, 12)));
    }
    let header = Header {
        epoch: u64_at(file, 16),
        base_epoch: u64_at(file, 24),
        base_sha256: array_at(file, BASE_SHA256_AT),
        sha256: array_at(file, CHECKSUM_AT),
        section_count: u32_at(file, 40) as usize,
    };
    if header.epoch == 0 {
        return Err(TableError::new("epoch", "at least 1", header.epoch));
    }
    if kind == FileKind::Base && header.base_epoch != 0 {
        return Err(TableError::new("base_epoch", "0 in a base", header.base_epoch));
    }
    if u64_at(file, 32) != file.len() as u64 {
        let found = format!("a file of {} bytes", file.len());
        return Err(TableError::new("file_length", u64_at(file, 32), found));
    }
    if header.section_count > MAX_SECTIONS {
        return Err(TableError::new("section_count", "at most 64", header.section_count));
    }
    if kind == FileKind::Base && header.base_sha256 != [0; DIGEST_BYTES] {
        let found = hex(&header.base_sha256);
        return Err(TableError::new("base_sha256", "zeros in a base", found));
    }
    Ok(header)
}

/// Compares the checksum of a file with what its header says.
pub(super) fn verify_checksum(file: &[u8], header: &Header) -> Result<(), TableError> {
    let computed = sha256([&file[..CHECKSUM_AT], &file[HEADER_BYTES..]]);
    if computed != header.sha256 {
        return Err(TableError::new("sha256", hex(&header.sha256), hex(&computed)));
    }
    Ok(())
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
