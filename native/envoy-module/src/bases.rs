//! The bases that routes use now, so that an overlay on one of them needs no second look at it.
//!
//! To check a base of a million tenants takes Envoy's main thread a noticeable time, and many overlays come one after
//! the other on it. Only the configs of routes ask here, never a request.

use crate::mmap::{FileIdentity, Mmap, RegularFile};
use crate::route_config::ConfigError;
use crate::table::Base;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A file that was opened as a base.
struct Known {
    path: PathBuf,
    identity: FileIdentity,
    base: Weak<Base<Mmap>>,
}

/// Bases by their files. A base stays for as long as a route uses it.
pub struct Bases(Mutex<Vec<Known>>);

/// Those of this process.
pub static BASES: Bases = Bases::new();

impl Bases {
    /// No bases yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The base at `path`: mapped and checked now, or the one that is in use, where the file is the same.
    ///
    /// # Errors
    ///
    /// The file cannot be mapped, or is no valid base.
    pub fn open(&self, path: &Path) -> Result<Arc<Base<Mmap>>, ConfigError> {
        let file = RegularFile::open(path).map_err(|error| ConfigError::File(path.to_owned(), error))?;
        // What a panic leaves behind is a list of bases that were checked.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.base.strong_count() > 0);
        let same = known
            .iter()
            .find(|known| known.path == path && known.identity == file.identity());
        if let Some(base) = same.and_then(|known| known.base.upgrade()) {
            return Ok(base);
        }
        let identity = file.identity();
        let mapped = file.map().map_err(|error| ConfigError::File(path.to_owned(), error))?;
        let base = Base::new(mapped).map_err(|error| ConfigError::Table(path.to_owned(), error))?;
        let base = Arc::new(base);
        known.push(Known {
            path: path.to_owned(),
            identity,
            base: Arc::downgrade(&base),
        });
        Ok(base)
    }
}

impl Default for Bases {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{TableWriter, TestFile};

    #[test]
    fn a_base_in_use_is_opened_once() {
        let (bases, file) = (Bases::new(), TestFile::new("once", &TableWriter::sample().encode()));
        let first = bases.open(file.path()).unwrap();
        let second = bases.open(file.path()).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn a_base_that_nobody_uses_is_forgotten() {
        let (bases, file) = (
            Bases::new(),
            TestFile::new("forgotten", &TableWriter::sample().encode()),
        );
        let first = Arc::downgrade(&bases.open(file.path()).unwrap());
        assert!(first.upgrade().is_none());
        let other = TestFile::new("other", &TableWriter::sample().encode());
        let _in_use = bases.open(other.path()).unwrap();
        assert_eq!(bases.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn another_file_of_the_same_name_is_another_base() {
        let (bases, file) = (Bases::new(), TestFile::new("renamed", &TableWriter::sample().encode()));
        let first = bases.open(file.path()).unwrap();
        let mut writer = TableWriter::sample();
        writer.epoch = 18;
        let next = TestFile::new("renamed-next", &writer.encode());
        std::fs::rename(next.path(), file.path()).unwrap();
        let second = bases.open(file.path()).unwrap();
        assert_eq!((first.epoch(), second.epoch()), (17, 18));
    }

    #[test]
    fn a_broken_file_is_refused_each_time() {
        let mut bytes = TableWriter::sample().encode();
        bytes[400] ^= 1;
        let (bases, file) = (Bases::new(), TestFile::new("twice-broken", &bytes));
        for _ in 0..2 {
            assert!(matches!(bases.open(file.path()), Err(ConfigError::Table(..))));
        }
    }
}
