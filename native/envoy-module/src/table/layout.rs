//! The frame of a routing table: header, checksum and section directory.

use super::error::TableError;
use super::integers::{u16_at, u32_at, u64_at};
use crate::sha256::{sha256, DIGEST_BYTES};

const MAGIC: [u8; 8] = *b"\x89CPT\r\n\x1a\n";
const MAJOR: u16 = 1;
const KIND_BASE: u32 = 1;
const HEADER_BYTES: usize = 128;
const BASE_SHA256_AT: usize = 48;
const CHECKSUM_AT: usize = 96;
const MAX_SECTIONS: u32 = 64;
const DIRECTORY_ENTRY_BYTES: usize = 32;
const SECTION_ALIGNMENT: u64 = 64;
const CRITICAL: u32 = 1;

/// What a reader must know about a section type.
struct Kind {
    code: u32,
    name: &'static str,
    entry_bytes: u32,
    /// Whether entries may be no larger, so that their stride is known when the program is compiled.
    fixed: bool,
}

#[rustfmt::skip]
const KINDS: [Kind; 8] = [
    Kind { code: 1, name: "STRINGS", entry_bytes: 1, fixed: true },
    Kind { code: 2, name: "FLEET", entry_bytes: 64, fixed: false },
    Kind { code: 3, name: "CELLS", entry_bytes: 64, fixed: false },
    Kind { code: 4, name: "POOLS", entry_bytes: 32, fixed: false },
    Kind { code: 5, name: "SLOTS", entry_bytes: 4, fixed: true },
    Kind { code: 6, name: "SHARDS", entry_bytes: 16, fixed: false },
    Kind { code: 7, name: "TENANTS", entry_bytes: 16, fixed: false },
    Kind { code: 8, name: "TENANT_INDEX", entry_bytes: 4, fixed: true },
];

/// A section: `count` entries of `stride` bytes, all inside of the file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Section {
    pub(super) start: usize,
    pub(super) stride: usize,
    pub(super) count: usize,
}

impl Section {
    /// The bytes of one entry.
    pub(super) fn entry<'a>(&self, file: &'a [u8], place: usize) -> &'a [u8] {
        let start = self.start + place * self.stride;
        &file[start..start + self.stride]
    }

    /// The bytes of all entries.
    pub(super) fn bytes<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        &file[self.start..self.start + self.stride * self.count]
    }

    /// All entries in their order.
    pub(super) fn entries<'a>(&self, file: &'a [u8]) -> std::slice::ChunksExact<'a, u8> {
        self.bytes(file).chunks_exact(self.stride)
    }
}

/// The sections of a base.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sections {
    pub(super) strings: Section,
    pub(super) fleet: Section,
    pub(super) cells: Section,
    pub(super) pools: Section,
    pub(super) slots: Section,
    pub(super) shards: Section,
    pub(super) tenants: Section,
    pub(super) tenant_index: Section,
}

/// Checks all that the header says, without its checksum. Gives the epoch.
pub(super) fn read_header(file: &[u8]) -> Result<u64, TableError> {
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
    if u32_at(file, 12) != KIND_BASE {
        return Err(TableError::new("kind", "1 (a base)", u32_at(file, 12)));
    }
    let epoch = u64_at(file, 16);
    if epoch == 0 {
        return Err(TableError::new("epoch", "at least 1", epoch));
    }
    if u64_at(file, 24) != 0 {
        return Err(TableError::new("base_epoch", "0 in a base", u64_at(file, 24)));
    }
    if u64_at(file, 32) != file.len() as u64 {
        let found = format!("a file of {} bytes", file.len());
        return Err(TableError::new("file_length", u64_at(file, 32), found));
    }
    if u32_at(file, 40) > MAX_SECTIONS {
        return Err(TableError::new("section_count", "at most 64", u32_at(file, 40)));
    }
    let base_sha256 = &file[BASE_SHA256_AT..BASE_SHA256_AT + DIGEST_BYTES];
    if base_sha256 != [0; DIGEST_BYTES] {
        return Err(TableError::new("base_sha256", "zeros in a base", hex(base_sha256)));
    }
    Ok(epoch)
}

/// Compares the checksum of a file whose header was read.
pub(super) fn verify_checksum(file: &[u8]) -> Result<(), TableError> {
    let stored = &file[CHECKSUM_AT..HEADER_BYTES];
    let computed = sha256(&[&file[..CHECKSUM_AT], &file[HEADER_BYTES..]]);
    if computed != stored {
        return Err(TableError::new("sha256", hex(stored), hex(&computed)));
    }
    Ok(())
}

/// Reads the directory of a file whose header was read.
pub(super) fn read_directory(file: &[u8]) -> Result<Sections, TableError> {
    let count = u32_at(file, 40) as usize;
    let end = HEADER_BYTES + count * DIRECTORY_ENTRY_BYTES;
    if end > file.len() {
        let found = format!("{} bytes", file.len());
        return Err(TableError::new(
            "directory",
            format!("{count} sections in {end} bytes"),
            found,
        ));
    }
    let mut found: [Option<Section>; KINDS.len()] = [None; KINDS.len()];
    let mut code_before = 0;
    // Sections stand in the order of the directory, so each begins where the one before it ends, or behind.
    let mut free_from = end as u64;
    for entry in file[HEADER_BYTES..end].chunks_exact(DIRECTORY_ENTRY_BYTES) {
        let code = u32_at(entry, 0);
        if code <= code_before {
            let expected = format!("a section type above {code_before}");
            return Err(TableError::new("directory", expected, code));
        }
        code_before = code;
        let kind = KINDS.iter().position(|kind| kind.code == code);
        let name = kind.map_or_else(|| format!("section {code}"), |place| KINDS[place].name.to_owned());
        let section = read_section(entry, &name, free_from, file.len() as u64)?;
        free_from = u64_at(entry, 8) + u64_at(entry, 16);
        match kind {
            Some(place) => {
                KINDS[place].check_stride(section.stride)?;
                found[place] = Some(section);
            }
            None if u32_at(entry, 4) & CRITICAL != 0 => {
                return Err(TableError::new(
                    name,
                    "no unknown critical section",
                    "one: update this router",
                ));
            }
            None => {}
        }
    }
    let section =
        |place: usize| found[place].ok_or_else(|| TableError::new("directory", KINDS[place].name, "no such section"));
    Ok(Sections {
        strings: section(0)?,
        fleet: section(1)?,
        cells: section(2)?,
        pools: section(3)?,
        slots: section(4)?,
        shards: section(5)?,
        tenants: section(6)?,
        tenant_index: section(7)?,
    })
}

impl Kind {
    fn check_stride(&self, stride: usize) -> Result<(), TableError> {
        let entry_bytes = self.entry_bytes as usize;
        if stride < entry_bytes || (self.fixed && stride != entry_bytes) {
            let bound = if self.fixed { "exactly" } else { "at least" };
            let expected = format!("entries of {bound} {entry_bytes} bytes");
            return Err(TableError::new(self.name, expected, stride));
        }
        Ok(())
    }
}

fn read_section(entry: &[u8], name: &str, free_from: u64, file_bytes: u64) -> Result<Section, TableError> {
    let (offset, length) = (u64_at(entry, 8), u64_at(entry, 16));
    let (stride, count) = (u32_at(entry, 24), u32_at(entry, 28));
    if offset % SECTION_ALIGNMENT != 0 {
        return Err(TableError::new(name, "an offset that is a multiple of 64", offset));
    }
    if u64::from(stride) * u64::from(count) != length {
        let expected = format!("a length of {count} entries of {stride} bytes");
        return Err(TableError::new(name, expected, length));
    }
    let inside = match offset.checked_add(length) {
        Some(end) => offset >= free_from && end <= file_bytes,
        None => false,
    };
    if !inside {
        let found = format!("{length} bytes at {offset}");
        return Err(TableError::new(
            name,
            format!("a place in {free_from}..{file_bytes}"),
            found,
        ));
    }
    // All three fit: they lie inside of a file that is in memory, and pointers have 64 bits.
    Ok(Section {
        start: offset as usize,
        stride: stride as usize,
        count: count as usize,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
