//! What the tests of this crate share: a writer of tables and overlays, and a stream without Envoy.
#![allow(dead_code)] // Each test binary compiles all of it and uses its part.

mod fake_stream;
mod random;
mod table_writer;
mod test_file;

#[allow(unused_imports)]
pub use fake_stream::{Answer, FakeStream};
#[allow(unused_imports)]
pub use random::Random;
#[allow(unused_imports)]
pub use table_writer::{
    assemble, seal, section_offset, Identity, OverlayWriter, SectionBytes, Source, TableWriter, TenantRow,
};
#[allow(unused_imports)]
pub use test_file::TestFile;
