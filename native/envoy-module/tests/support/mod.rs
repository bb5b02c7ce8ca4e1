//! What the tests of this crate share: a writer of tables and overlays, and a stream without Envoy.
#![allow(dead_code)] // Each test binary compiles all of it and uses its part.

mod board_writer;
mod fake_stream;
mod random;
mod table_writer;
mod test_file;
mod town;

#[allow(unused_imports)]
pub use board_writer::board_bytes;
#[allow(unused_imports)]
pub use fake_stream::{Answer, FakeStream};
#[allow(unused_imports)]
pub use random::Random;
#[allow(unused_imports)]
pub use table_writer::{
    assemble, seal, section_offset, CellRow, Identity, OverlayWriter, PolicyRow, PoolRow, SectionBytes, Source,
    TableWriter, TenantRow,
};
#[allow(unused_imports)]
pub use test_file::TestFile;
#[allow(unused_imports)]
pub use town::Town;
