//! A file, mapped into memory for reading: shared by all workers, paged in by the system, copied nowhere.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::mem::size_of;
use std::os::raw::c_int;
use std::os::unix::fs::MetadataExt;
use std::os::unix::io::AsRawFd;
use std::path::Path;
use std::ptr::{null_mut, NonNull};
use std::sync::atomic::AtomicU64;

const PROT_READ: c_int = 1;
const PROT_WRITE: c_int = 2;
const MAP_SHARED: c_int = 1;
const MAP_PRIVATE: c_int = 2;
/// What mmap returns where it fails.
const MAP_FAILED: isize = -1;

extern "C" {
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn munmap(address: *mut c_void, length: usize) -> c_int;
}

/// A mapped file.
///
/// Whoever publishes a table writes a new file and renames it; no file is changed once a router may have mapped it.
#[derive(Debug)]
pub struct Mmap {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone, and may be unmapped from any thread.
unsafe impl Send for Mmap {}
// SAFETY: shared access only reads, and nobody writes to the mapping.
unsafe impl Sync for Mmap {}

impl Mmap {
    /// Maps the whole file at `path`.
    ///
    /// # Errors
    ///
    /// It is no regular file, is empty, or cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Self, Error> {
        RegularFile::open(path)?.map()
    }
}

/// Which file it is, and in which state: no other file has the same while this one is open or mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    length: u64,
    modified_s: i64,
    modified_ns: i64,
}

/// An open file that may be mapped.
#[derive(Debug)]
pub struct RegularFile {
    file: File,
    identity: FileIdentity,
}

impl RegularFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    ///
    /// It is no regular file, or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // Asked before the file is opened: to open a FIFO would wait for a writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(Error::new(ErrorKind::InvalidInput, "expected a regular file"));
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let identity = FileIdentity {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        };
        Ok(Self { file, identity })
    }

    /// Which file was opened.
    pub fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Maps the whole file.
    ///
    /// # Errors
    ///
    /// It is empty, or cannot be mapped.
    pub fn map(self) -> Result<Mmap, Error> {
        let length =
            usize::try_from(self.identity.length).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
        if length == 0 {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "expected a table, found an empty file",
            ));
        }
        let start = map_whole(&self.file, length, PROT_READ, MAP_PRIVATE)?;
        Ok(Mmap { start, length })
    }
}

fn map_whole(file: &File, length: usize, protection: c_int, flags: c_int) -> Result<NonNull<u8>, Error> {
    // SAFETY: the system chooses a free address; the length is above 0, and the descriptor is open until the end of
    // this function, which the mapping outlives as POSIX says.
    let address = unsafe { mmap(null_mut(), length, protection, flags, file.as_raw_fd(), 0) };
    if address as isize == MAP_FAILED {
        return Err(Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| Error::new(ErrorKind::Other, "mapped at address 0"))
}

/// A file of words that several processes read and write while it is mapped. Nobody makes it shorter.
#[derive(Debug)]
pub struct SharedMap {
    start: NonNull<u8>,
    words: usize,
}

// SAFETY: the mapping belongs to this value alone, and may be unmapped from any thread.
unsafe impl Send for SharedMap {}
// SAFETY: shared access is by atomic words alone.
unsafe impl Sync for SharedMap {}

impl SharedMap {
    /// Maps the whole file at `path`, which is some words long.
    ///
    /// # Errors
    ///
    /// It is no regular file, not of whole words, empty, or cannot be opened or mapped for writing.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(Error::new(ErrorKind::InvalidInput, "expected a regular file"));
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes =
            usize::try_from(file.metadata()?.len()).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
        if bytes == 0 || bytes % size_of::<AtomicU64>() != 0 {
            return Err(Error::new(ErrorKind::InvalidData, "expected a file of whole words"));
        }
        let start = map_whole(&file, bytes, PROT_READ | PROT_WRITE, MAP_SHARED)?;
        Ok(Self {
            start,
            words: bytes / size_of::<AtomicU64>(),
        })
    }

    /// All its words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many bytes are mapped for reading and writing at a page's start until this value is dropped, which
        // the borrow of `self` forbids meanwhile; whoever else writes there does so by atomic stores of whole words.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.words) }
    }
}

impl Drop for SharedMap {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length, is unmapped once, and no borrow of it is left.
        let result = unsafe { munmap(self.start.as_ptr().cast(), self.words * size_of::<AtomicU64>()) };
        debug_assert_eq!(result, 0, "{}", Error::last_os_error());
    }
}

impl AsRef<[u8]> for Mmap {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `length` readable bytes are mapped at `start` until this value is dropped, which the borrow of
        // `self` forbids meanwhile. They do not change: see the contract of the type.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mmap {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length, is unmapped once, and no borrow of it is left.
        let result = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert_eq!(result, 0, "{}", Error::last_os_error());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_has_the_bytes_of_the_file() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let mapped = Mmap::open(&path).unwrap();
        assert_eq!(mapped.as_ref(), std::fs::read(path).unwrap());
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        assert!(Mmap::open(Path::new("/nowhere/table.cpt")).is_err());
        assert!(Mmap::open(Path::new(env!("CARGO_MANIFEST_DIR"))).is_err());
        assert!(Mmap::open(Path::new("/dev/null")).is_err());
    }
}
