//! Files of tests.

use std::path::{Path, PathBuf};

/// A file of this test process, removed in the end.
pub struct TestFile(PathBuf);

impl TestFile {
    /// A file of these bytes; no other test may use the name.
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("cellplane-{}-{name}.cpt", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        // A test may have moved it.
        let _ = std::fs::remove_file(&self.0);
    }
}
