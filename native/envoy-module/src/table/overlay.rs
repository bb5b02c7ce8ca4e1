//! An overlay, read in place: all changes of tenants since its base.

use super::base::Base;
use super::directory::read_directory;
use super::error::TableError;
use super::header::{hex, read_header, verify_checksum, FileKind, Header};
use super::tenants::{Lookup, Tenants};

/// A checked overlay over the bytes of a file. Its indexes of cells and pools are those of its base.
#[derive(Debug)]
pub(super) struct Overlay<B> {
    file: B,
    epoch: u64,
    tenants: Tenants,
}

impl<B: AsRef<[u8]>> Overlay<B> {
    /// Checks a file as a whole, against the base that it is given with.
    ///
    /// # Errors
    ///
    /// The file is truncated, foreign, of another kind, version or base, corrupt or inconsistent.
    pub(super) fn new(file: B, base: &Base<B>) -> Result<Self, TableError> {
        let header = read_header(file.as_ref(), FileKind::Overlay)?;
        verify_checksum(file.as_ref(), &header)?;
        Self::new_behind_checksum(file, &header, base)
    }

    /// All that is checked behind the header and the checksum.
    pub(super) fn new_behind_checksum(file: B, header: &Header, base: &Base<B>) -> Result<Self, TableError> {
        if header.base_epoch != base.epoch() {
            let expected = format!("{}, that of its base", base.epoch());
            return Err(TableError::new("base_epoch", expected, header.base_epoch));
        }
        if header.base_sha256 != *base.sha256() {
            let expected = format!("{}, that of its base", hex(base.sha256()));
            return Err(TableError::new("base_sha256", expected, hex(&header.base_sha256)));
        }
        if header.epoch <= base.epoch() {
            let expected = format!("more than {}, that of its base", base.epoch());
            return Err(TableError::new("epoch", expected, header.epoch));
        }
        let sections = read_directory(file.as_ref(), header, FileKind::Overlay)?;
        let tenants = Tenants::new(file.as_ref(), &sections, FileKind::Overlay, base.limits())?;
        Ok(Self {
            file,
            epoch: header.epoch,
            tenants,
        })
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn entry_count(&self) -> usize {
        self.tenants.rows.count
    }

    pub(super) fn find(&self, key: &[u8], hash: u32) -> Lookup {
        self.tenants.find(self.file.as_ref(), key, hash)
    }
}
