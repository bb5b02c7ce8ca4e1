//! The config of a route: which table it has, opened and checked.
//!
//! Its text has two to eight lines, in any order. The epoch is the overlay's where there is one, else the table's. The
//! cookie keys are needed where a key source of the table is a cookie, and looked at there only. Where there are proof
//! keys, cells are told by them that a router sent a request:
//!
//! ```text
//! table=/var/lib/cellplane/table-17.cpt
//! overlay=/var/lib/cellplane/overlay-21.cpt
//! cookie-keys=/etc/cellplane/cookie-keys
//! proof-keys=/etc/cellplane/proof-keys
//! board=/var/lib/cellplane/board-17
//! kept-bytes=67108864
//! logged=1
//! epoch=21
//! ```

use crate::bases::{Bases, BASES};
use crate::board::Board;
use crate::cookie::Keyring;
use crate::kept::Kept;
use crate::limits::TenantLimits;
use crate::mmap::Mmap;
use crate::table::{KeySourceKind, Reads, Table, TableError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::{fmt, io};

/// A route's table, and the texts that its requests need of it.
#[derive(Debug)]
pub struct RouteConfig<B> {
    /// The table.
    pub table: Table<B>,
    /// The table's epoch in decimal.
    pub epoch_text: String,
    /// By what routing cookies are verified; None where no key source is a cookie.
    pub cookie_keys: Option<Keyring>,
    /// By what cells know that a router sent a request; None where they are not told.
    pub proof_keys: Option<Keyring>,
    /// What is shared with the router's agent.
    pub board: Option<Board>,
    /// What is kept of cells' answers, of this process; None where no policy reads it, or there is no room.
    pub kept: Option<Arc<Kept>>,
    /// Whether Envoy's log wants to know what was decided, which it reads from request headers.
    pub is_logged: bool,
    /// Of this process, whatever its tables.
    pub tenant_limits: Arc<TenantLimits>,
}

/// The limits of this process, while a route uses them.
static TENANT_LIMITS: Mutex<Option<Weak<TenantLimits>>> = Mutex::new(None);

fn shared_limits() -> Arc<TenantLimits> {
    // What a panic leaves behind is a reference.
    let mut known = TENANT_LIMITS.lock().unwrap_or_else(PoisonError::into_inner);
    known.as_ref().and_then(Weak::upgrade).unwrap_or_else(|| {
        let limits = Arc::new(TenantLimits::new());
        *known = Some(Arc::downgrade(&limits));
        limits
    })
}

/// Why a route's config is refused.
#[derive(Debug)]
pub enum ConfigError {
    /// The text is not of the form above.
    Text(String),
    /// The file cannot be mapped.
    File(PathBuf, io::Error),
    /// The file is no valid table, or no overlay on the one that it is given with.
    Table(PathBuf, TableError),
    /// The file has no keys of cookies, or a key source needs some and none are named.
    CookieKeys(PathBuf, String),
    /// The file has no keys of proofs.
    ProofKeys(PathBuf, String),
    /// The board cannot be used.
    Board(PathBuf, String),
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
            Self::CookieKeys(path, reason) | Self::ProofKeys(path, reason) | Self::Board(path, reason) => {
                write!(out, "{}: {reason}", path.display())
            }
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
    pub fn new(table: Table<B>, cookie_keys: Option<Keyring>) -> Self {
        Self {
            epoch_text: table.epoch().to_string(),
            table,
            cookie_keys,
            proof_keys: None,
            board: None,
            kept: None,
            is_logged: false,
            tenant_limits: shared_limits(),
        }
    }
}

impl RouteConfig<Mmap> {
    /// Parses the text of a config, and opens the table that it names. A base that another route of this process uses
    /// is not checked again.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn load(text: &[u8]) -> Result<Self, ConfigError> {
        Self::load_with(text, &BASES)
    }

    fn load_with(text: &[u8], bases: &Bases) -> Result<Self, ConfigError> {
        let ConfigText {
            table,
            overlay,
            cookie_keys,
            proof_keys,
            board,
            kept_bytes,
            is_logged,
            epoch,
        } = ConfigText::parse(text).map_err(ConfigError::Text)?;
        let path = overlay.clone().unwrap_or_else(|| table.clone());
        let table = open_table(&table, overlay.as_deref(), bases)?;
        if table.epoch() != epoch {
            return Err(ConfigError::Epoch {
                path,
                expected: epoch,
                found: table.epoch(),
            });
        }
        let sources = table.base().key_sources();
        let reads_cookie = sources.iter().any(|source| source.kind == KeySourceKind::Cookie);
        let cookie_keys = match cookie_keys {
            Some(file) if reads_cookie => {
                Some(read_keys(&file).map_err(|reason| ConfigError::CookieKeys(file, reason))?)
            }
            None if reads_cookie => {
                let reason = "a key source is a signed cookie, and this router has no keys of cookies";
                return Err(ConfigError::CookieKeys(path, reason.to_owned()));
            }
            _ => None,
        };
        let proof_keys = proof_keys.map(read_proof_keys).transpose()?;
        let board = board.map(|path| open_board(path, &table)).transpose()?;
        let reads_kept = table
            .base()
            .policies()
            .iter()
            .any(|policy| matches!(policy.reads, Reads::Cache(_)));
        let kept = kept_bytes.filter(|_| reads_kept).map(Kept::shared);
        if let Some(board) = &board {
            board.set_kept_bytes(kept.as_ref().map_or(0, |kept| kept.bytes()));
        }
        Ok(Self {
            proof_keys,
            board,
            kept,
            is_logged,
            ..Self::new(table, cookie_keys)
        })
    }
}

/// Opens a table, and checks it as a whole: all that is asked of it before a request is routed by it.
///
/// # Errors
///
/// A file cannot be mapped, is no valid table, or no overlay of that base.
pub fn open_table(path: &Path, overlay: Option<&Path>, bases: &Bases) -> Result<Table<Mmap>, ConfigError> {
    let base = bases.open(path)?;
    let overlay = match overlay {
        None => return Ok(Table::new(base)),
        Some(overlay) => overlay,
    };
    let file = Mmap::open(overlay).map_err(|error| ConfigError::File(overlay.to_owned(), error))?;
    Table::with_overlay(base, file).map_err(|error| ConfigError::Table(overlay.to_owned(), error))
}

fn open_board(path: PathBuf, table: &Table<Mmap>) -> Result<Board, ConfigError> {
    let base = table.base();
    Board::open(&path, base.sha256(), base.cell_count()).map_err(|reason| ConfigError::Board(path, reason))
}

fn read_proof_keys(path: PathBuf) -> Result<Keyring, ConfigError> {
    match read_keys(&path) {
        Ok(keys) if keys.has_jurisdiction() => {
            let reason = "expected keys without a jurisdiction".to_owned();
            Err(ConfigError::ProofKeys(path, reason))
        }
        Ok(keys) => Ok(keys),
        Err(reason) => Err(ConfigError::ProofKeys(path, reason)),
    }
}

fn read_keys(path: &Path) -> Result<Keyring, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    Keyring::parse(&text)
}

#[derive(Debug)]
struct ConfigText {
    table: PathBuf,
    overlay: Option<PathBuf>,
    cookie_keys: Option<PathBuf>,
    proof_keys: Option<PathBuf>,
    board: Option<PathBuf>,
    kept_bytes: Option<usize>,
    is_logged: bool,
    epoch: u64,
}

impl ConfigText {
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| format!("expected UTF-8, found {error}"))?;
        let (mut table, mut overlay, mut cookie_keys, mut board, mut epoch) = (None, None, None, None, None);
        let (mut proof_keys, mut kept_bytes, mut is_logged) = (None, None, false);
        for line in text.lines() {
            let is_second = match line.split_once('=') {
                Some(("table", value)) => table.replace(parse_path("table", value)?).is_some(),
                Some(("overlay", value)) => overlay.replace(parse_path("overlay", value)?).is_some(),
                Some(("cookie-keys", value)) => cookie_keys.replace(parse_path("cookie-keys", value)?).is_some(),
                Some(("proof-keys", value)) => proof_keys.replace(parse_path("proof-keys", value)?).is_some(),
                Some(("board", value)) => board.replace(parse_path("board", value)?).is_some(),
                Some(("kept-bytes", value)) => kept_bytes.replace(parse_number("kept-bytes", value)?).is_some(),
                Some(("logged", "1")) => std::mem::replace(&mut is_logged, true),
                Some(("epoch", value)) => epoch.replace(parse_number("epoch", value)?).is_some(),
                _ => {
                    return Err(format!(
                        "expected table=…, overlay=…, cookie-keys=…, proof-keys=…, board=…, kept-bytes=…, logged=1 or \
                         epoch=…, found {line:?}"
                    ))
                }
            };
            if is_second {
                return Err(format!("expected each setting once, found another {line:?}"));
            }
        }
        Ok(Self {
            table: table.ok_or("expected a line table=…, found none")?,
            overlay,
            cookie_keys,
            proof_keys,
            board,
            kept_bytes: kept_bytes.map(|bytes| bytes as usize),
            is_logged,
            epoch: epoch.ok_or("expected a line epoch=…, found none")?,
        })
    }
}

fn parse_path(name: &str, value: &str) -> Result<PathBuf, String> {
    let path = Path::new(value);
    if path.is_absolute() {
        Ok(path.to_owned())
    } else {
        Err(format!("{name}: expected an absolute path, found {value:?}"))
    }
}

fn parse_number(name: &str, value: &str) -> Result<u64, String> {
    value
        .parse()
        .map_err(|_| format!("{name}: expected a decimal number below 2^64, found {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{OverlayWriter, Source, TableWriter, TestFile};

    fn refusal(text: &str) -> String {
        RouteConfig::load(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_config_names_a_table_and_its_epoch() {
        let file = TestFile::new("good", &TableWriter::sample().encode());
        for text in [
            format!("table={}\nepoch=17\n", file.path().display()),
            format!("epoch=17\ntable={}", file.path().display()),
        ] {
            let config = RouteConfig::load(text.as_bytes()).unwrap();
            assert_eq!((config.table.epoch(), config.epoch_text.as_str()), (17, "17"));
        }
    }

    #[test]
    fn another_epoch_than_the_configured_is_refused() {
        let file = TestFile::new("epoch", &TableWriter::sample().encode());
        let message = refusal(&format!("table={}\nepoch=18", file.path().display()));
        assert!(
            message.ends_with("epoch: expected 18 as configured, found 17"),
            "{message}"
        );
    }

    #[test]
    fn a_config_may_name_an_overlay_whose_epoch_counts() {
        let (bases, base) = (Bases::new(), TableWriter::sample().encode());
        let table = TestFile::new("overlaid", &base);
        let load = |overlay: &TestFile, epoch: u64| {
            let (table, overlay) = (table.path().display(), overlay.path().display());
            let text = format!("table={table}\noverlay={overlay}\nepoch={epoch}\n");
            RouteConfig::load_with(text.as_bytes(), &bases)
        };
        let mut writer = OverlayWriter::sample(&base);
        let first = TestFile::new("overlay-1", &writer.encode());
        writer.epoch += 1;
        let second = TestFile::new("overlay-2", &writer.encode());
        let (first, second) = (load(&first, 18), load(&second, 19).unwrap());
        let first = first.unwrap();
        assert_eq!((first.epoch_text.as_str(), second.epoch_text.as_str()), ("18", "19"));
        assert!(std::ptr::eq(first.table.base(), second.table.base()));
    }

    #[test]
    fn an_overlay_is_refused_with_its_own_name() {
        let base = TableWriter::sample().encode();
        let table = TestFile::new("refused-base", &base);
        let overlay = TestFile::new("refused-overlay", &OverlayWriter::sample(&base).encode());
        let text = |table: &TestFile, overlay: &TestFile, epoch: u64| {
            let (table, overlay) = (table.path().display(), overlay.path().display());
            format!("table={table}\noverlay={overlay}\nepoch={epoch}")
        };
        let name = overlay.path().display().to_string();
        let message = refusal(&text(&table, &overlay, 17));
        assert_eq!(message, format!("{name}: epoch: expected 17 as configured, found 18"));
        let message = refusal(&text(&overlay, &overlay, 18));
        assert_eq!(message, format!("{name}: kind: expected 1 (a base), found 2"));
        let message = refusal(&text(&table, &table, 18));
        assert!(message.ends_with("kind: expected 2 (an overlay), found 1"), "{message}");
        let message = refusal(&format!(
            "table={}\noverlay=/nowhere/o.cpt\nepoch=18",
            table.path().display()
        ));
        assert!(message.starts_with("/nowhere/o.cpt: No such file"), "{message}");
    }

    #[test]
    fn a_broken_or_absent_file_is_refused_with_its_name() {
        let mut bytes = TableWriter::sample().encode();
        bytes[400] ^= 1;
        let file = TestFile::new("broken", &bytes);
        let message = refusal(&format!("table={}\nepoch=17", file.path().display()));
        assert!(
            message.starts_with(&format!("{}: sha256: expected ", file.path().display())),
            "{message}"
        );
        assert!(refusal("table=/nowhere/t.cpt\nepoch=17").starts_with("/nowhere/t.cpt: No such file"));
    }

    #[test]
    fn a_source_that_is_a_cookie_needs_keys() {
        let mut writer = TableWriter::sample();
        writer.key_sources = vec![Source::cookie("route")];
        let table = TestFile::new("cookie", &writer.encode());
        let keys = TestFile::new("cookie-keys", b"new AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n");
        let short = TestFile::new("short-keys", b"new AAAA\n");
        let plain = TestFile::new("no-cookie", &TableWriter::sample().encode());
        let text = |table: &TestFile, rest: String| format!("table={}\nepoch=17\n{rest}", table.path().display());
        let with = |keys: &TestFile| format!("cookie-keys={}", keys.path().display());
        let load = |text: String| RouteConfig::load(text.as_bytes());

        assert!(load(text(&table, with(&keys))).unwrap().cookie_keys.is_some());
        assert!(load(text(&plain, with(&short))).unwrap().cookie_keys.is_none());
        let message = refusal(&text(&table, String::new()));
        assert!(message.ends_with("this router has no keys of cookies"), "{message}");
        let message = refusal(&text(&table, with(&short)));
        assert!(
            message.contains("short-keys") && message.contains("line 1"),
            "{message}"
        );
        let message = refusal(&text(&table, "cookie-keys=/nowhere".to_owned()));
        assert!(message.starts_with("/nowhere: No such file"), "{message}");
    }

    #[test]
    fn keys_of_proofs_are_for_every_jurisdiction() {
        let table = TestFile::new("proven", &TableWriter::sample().encode());
        let keys = TestFile::new("proof-keys", b"new AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n");
        let of_eu = TestFile::new("proof-keys-eu", b"new AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 eu\n");
        let text = |keys: &Path| {
            format!(
                "table={}\nepoch=17\nproof-keys={}",
                table.path().display(),
                keys.display()
            )
        };
        let config = RouteConfig::load(text(keys.path()).as_bytes()).unwrap();
        assert_eq!(config.proof_keys.unwrap().first().0, "new");
        let message = refusal(&text(of_eu.path()));
        assert!(message.ends_with("expected keys without a jurisdiction"), "{message}");
        let message = refusal(&text(Path::new("/nowhere")));
        assert!(message.starts_with("/nowhere: No such file"), "{message}");
    }

    #[test]
    fn answers_are_kept_only_where_a_policy_reads_them_and_there_is_room() {
        let mut writer = TableWriter::sample();
        let plain = TestFile::new("keeps-nothing", &writer.encode());
        writer.policies[0].reads = 2;
        writer.policies[0].cache_s = 60;
        let reading = TestFile::new("keeps", &writer.encode());
        let kept = |table: &TestFile, rest: &str| {
            let text = format!("table={}\nepoch=17\n{rest}", table.path().display());
            RouteConfig::load(text.as_bytes()).unwrap().kept
        };
        assert!(kept(&plain, "kept-bytes=1048576").is_none());
        assert!(kept(&reading, "").is_none());
        let first = kept(&reading, "kept-bytes=1048576").unwrap();
        assert!(Arc::ptr_eq(&first, &kept(&reading, "kept-bytes=1048576").unwrap()));
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
            (
                "table=/t.cpt\noverlay=o.cpt\nepoch=17",
                "overlay: expected an absolute path",
            ),
            ("table=/t.cpt\noverlay=\nepoch=17", "overlay: expected an absolute path"),
            ("overlay=/o.cpt\nepoch=17", "expected a line table=…"),
            (
                "table=/t.cpt\noverlay=/o.cpt\noverlay=/o.cpt\nepoch=17",
                "each setting once",
            ),
            (
                "table=/t.cpt\nepoch=17\nkept-bytes=1M",
                "kept-bytes: expected a decimal number",
            ),
            ("table=/t.cpt\nepoch=17\nmode=fast", "found \"mode=fast\""),
            ("table=/t.cpt\n\nepoch=17", "found \"\""),
        ] {
            let message = refusal(text);
            assert!(message.contains(reason), "{text:?}: {message}");
        }
        assert!(RouteConfig::load(b"table=/\xff").is_err());
    }
}
