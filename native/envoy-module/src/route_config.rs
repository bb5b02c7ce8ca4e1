//! The config of a route: which table it has, opened and checked.
//!
//! Its text has two lines, in any order:
//!
//! ```text
//! table=/var/lib/cellplane/table-17.cpt
//! epoch=17
//! ```

use crate::mmap::Mmap;
use crate::table::{Table, TableError};
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// A route's table, and the texts that its requests need of it.
#[derive(Debug)]
pub struct RouteConfig<B> {
    /// The table.
    pub table: Table<B>,
    /// The table's epoch in decimal.
    pub epoch_text: String,
}

/// Why a route's config is refused.
#[derive(Debug)]
pub enum ConfigError {
    /// The text is not of the form above.
    Text(String),
    /// The file cannot be mapped.
    File(PathBuf, io::Error),
    /// The file is no valid table.
    Table(PathBuf, TableError),
    /// The file has another epoch than the text says.
    Epoch {
        /// The file.
        path: PathBuf,
        /// Of the text.
        expected: u64,
        /// Of the table.
        found: u64,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(reason) => write!(out, "config: {reason}"),
            Self::File(path, error) => write!(out, "{}: {error}", path.display()),
            Self::Table(path, error) => write!(out, "{}: {error}", path.display()),
            Self::Epoch { path, expected, found } => {
                write!(
                    out,
                    "{}: epoch: expected {expected} as configured, found {found}",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl<B: AsRef<[u8]>> RouteConfig<B> {
    /// A route's config over an open table.
    pub fn new(table: Table<B>) -> Self {
        let epoch_text = table.epoch().to_string();
        Self { table, epoch_text }
    }
}

impl RouteConfig<Mmap> {
    /// Parses the text of a config, and opens the table that it names.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn load(text: &[u8]) -> Result<Self, ConfigError> {
        let ConfigText { path, epoch } = ConfigText::parse(text).map_err(ConfigError::Text)?;
        let file = match Mmap::open(&path) {
            Ok(file) => file,
            Err(error) => return Err(ConfigError::File(path, error)),
        };
        match Table::new(file) {
            Ok(table) if table.epoch() == epoch => Ok(Self::new(table)),
            Ok(table) => Err(ConfigError::Epoch {
                path,
                expected: epoch,
                found: table.epoch(),
            }),
            Err(error) => Err(ConfigError::Table(path, error)),
        }
    }
}

#[derive(Debug)]
struct ConfigText {
    path: PathBuf,
    epoch: u64,
}

impl ConfigText {
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| format!("expected UTF-8, found {error}"))?;
        let (mut path, mut epoch) = (None, None);
        for line in text.lines() {
            let before = match line.split_once('=') {
                Some(("table", value)) => path.replace(parse_path(value)?).map(|_| ()),
                Some(("epoch", value)) => epoch.replace(parse_epoch(value)?).map(|_| ()),
                _ => return Err(format!("expected table=… and epoch=…, found {line:?}")),
            };
            if before.is_some() {
                return Err(format!("expected each setting once, found another {line:?}"));
            }
        }
        Ok(Self {
            path: path.ok_or("expected a line table=…, found none")?,
            epoch: epoch.ok_or("expected a line epoch=…, found none")?,
        })
    }
}

fn parse_path(value: &str) -> Result<PathBuf, String> {
    let path = Path::new(value);
    if path.is_absolute() {
        Ok(path.to_owned())
    } else {
        Err(format!("table: expected an absolute path, found {value:?}"))
    }
}

fn parse_epoch(value: &str) -> Result<u64, String> {
    value
        .parse()
        .map_err(|_| format!("epoch: expected a decimal number below 2^64, found {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::TableWriter;

    fn refusal(text: &str) -> String {
        RouteConfig::load(text.as_bytes()).unwrap_err().to_string()
    }

    /// A file of this test process, removed in the end.
    struct TestFile(PathBuf);

    impl TestFile {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("cellplane-{}-{name}.cpt", std::process::id()));
            std::fs::write(&path, bytes).unwrap();
            Self(path)
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).unwrap();
        }
    }

    #[test]
    fn a_config_names_a_table_and_its_epoch() {
        let file = TestFile::new("good", &TableWriter::sample().encode());
        for text in [
            format!("table={}\nepoch=17\n", file.0.display()),
            format!("epoch=17\ntable={}", file.0.display()),
        ] {
            let config = RouteConfig::load(text.as_bytes()).unwrap();
            assert_eq!((config.table.epoch(), config.epoch_text.as_str()), (17, "17"));
        }
    }

    #[test]
    fn another_epoch_than_the_configured_is_refused() {
        let file = TestFile::new("epoch", &TableWriter::sample().encode());
        let message = refusal(&format!("table={}\nepoch=18", file.0.display()));
        assert!(
            message.ends_with("epoch: expected 18 as configured, found 17"),
            "{message}"
        );
    }

    #[test]
    fn a_broken_or_absent_file_is_refused_with_its_name() {
        let mut bytes = TableWriter::sample().encode();
        bytes[400] ^= 1;
        let file = TestFile::new("broken", &bytes);
        let message = refusal(&format!("table={}\nepoch=17", file.0.display()));
        assert!(
            message.starts_with(&format!("{}: sha256: expected ", file.0.display())),
            "{message}"
        );
        assert!(refusal("table=/nowhere/t.cpt\nepoch=17").starts_with("/nowhere/t.cpt: No such file"));
    }

    #[test]
    fn every_other_text_is_refused() {
        for (text, reason) in [
            ("", "expected a line table=…"),
            ("epoch=17", "expected a line table=…"),
            ("table=/t.cpt", "expected a line epoch=…"),
            ("table=t.cpt\nepoch=17", "an absolute path"),
            ("table=/t.cpt\nepoch=-1", "a decimal number"),
            ("table=/t.cpt\nepoch=", "a decimal number"),
            ("table=/t.cpt\nepoch=17\nepoch=17", "each setting once"),
            ("table=/t.cpt\nepoch=17\nmode=fast", "found \"mode=fast\""),
            ("table=/t.cpt\n\nepoch=17", "found \"\""),
        ] {
            let message = refusal(text);
            assert!(message.contains(reason), "{text:?}: {message}");
        }
        assert!(RouteConfig::load(b"table=/\xff").is_err());
    }
}
