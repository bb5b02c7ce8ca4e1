//! The section directory that bases and overlays share.

use super::error::TableError;
use super::header::{FileKind, Header, HEADER_BYTES};
use super::integers::{u32_at, u64_at};

const DIRECTORY_ENTRY_BYTES: usize = 32;
const SECTION_ALIGNMENT: u64 = 64;
const CRITICAL: u32 = 1;

/// What a reader must know about a section type.
struct SectionType {
    code: u32,
    name: &'static str,
    entry_bytes: u32,
    /// Whether entries may be no larger, so that their stride is known when the program is compiled.
    fixed: bool,
    /// Whether overlays have it too.
    in_overlay: bool,
}

#[rustfmt::skip]
const SECTION_TYPES: [SectionType; 10] = [
    SectionType { code: code::STRINGS, name: "STRINGS", entry_bytes: 1, fixed: true, in_overlay: true },
    SectionType { code: code::FLEET, name: "FLEET", entry_bytes: 64, fixed: false, in_overlay: false },
    SectionType { code: code::CELLS, name: "CELLS", entry_bytes: 64, fixed: false, in_overlay: false },
    SectionType { code: code::POOLS, name: "POOLS", entry_bytes: 32, fixed: false, in_overlay: false },
    SectionType { code: code::SLOTS, name: "SLOTS", entry_bytes: 4, fixed: true, in_overlay: false },
    SectionType { code: code::SHARDS, name: "SHARDS", entry_bytes: 16, fixed: false, in_overlay: true },
    SectionType { code: code::TENANTS, name: "TENANTS", entry_bytes: 16, fixed: false, in_overlay: true },
    SectionType { code: code::TENANT_INDEX, name: "TENANT_INDEX", entry_bytes: 4, fixed: true, in_overlay: true },
    SectionType { code: code::KEY_SOURCES, name: "KEY_SOURCES", entry_bytes: 16, fixed: false, in_overlay: false },
    SectionType { code: code::POLICIES, name: "POLICIES", entry_bytes: 32, fixed: false, in_overlay: false },
];

/// The numbers of the section types.
pub(super) mod code {
    pub(crate) const STRINGS: u32 = 1;
    pub(crate) const FLEET: u32 = 2;
    pub(crate) const CELLS: u32 = 3;
    pub(crate) const POOLS: u32 = 4;
    pub(crate) const SLOTS: u32 = 5;
    pub(crate) const SHARDS: u32 = 6;
    pub(crate) const TENANTS: u32 = 7;
    pub(crate) const TENANT_INDEX: u32 = 8;
    pub(crate) const KEY_SOURCES: u32 = 9;
    pub(crate) const POLICIES: u32 = 11;
}

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

/// The sections of a file, in the order of their types. One that the file's kind does not have is None: it is unknown,
/// as a type of a later version is.
pub(super) struct Sections([Option<Section>; SECTION_TYPES.len()]);

impl Sections {
    /// The section of a type.
    ///
    /// # Errors
    ///
    /// The file has none.
    pub(super) fn get(&self, code: u32) -> Result<Section, TableError> {
        let place = place_of(code).expect("a section type of this version");
        self.0[place].ok_or_else(|| TableError::new("directory", SECTION_TYPES[place].name, "no such section"))
    }
}

/// Reads the directory of a file whose header was read.
pub(super) fn read_directory(file: &[u8], header: &Header, kind: FileKind) -> Result<Sections, TableError> {
    let count = header.section_count;
    let end = HEADER_BYTES + count * DIRECTORY_ENTRY_BYTES;
    if end > file.len() {
        let found = format!("{} bytes", file.len());
        return Err(TableError::new(
            "directory",
            format!("{count} sections in {end} bytes"),
            found,
        ));
    }
    let mut sections = Sections([None; SECTION_TYPES.len()]);
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
        let place = place_of(code).filter(|place| kind == FileKind::Base || SECTION_TYPES[*place].in_overlay);
        let name = place.map_or_else(
            || format!("section {code}"),
            |place| SECTION_TYPES[place].name.to_owned(),
        );
        let section = read_section(entry, &name, free_from, file.len() as u64)?;
        free_from = u64_at(entry, 8) + u64_at(entry, 16);
        match place {
            Some(place) => {
                SECTION_TYPES[place].check_stride(section.stride)?;
                sections.0[place] = Some(section);
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
    Ok(sections)
}

fn place_of(code: u32) -> Option<usize> {
    SECTION_TYPES.iter().position(|section_type| section_type.code == code)
}

impl SectionType {
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
