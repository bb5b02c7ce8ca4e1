//! The board: a file that a router's agent and this module share while they run.
//!
//! The agent writes the state of each cell's circuit breaker, and reads what each worker counts. Nothing on it is needed
//! to route: without a board all breakers are closed and nothing is counted. `cellplane.router.board` makes the file and
//! has its layout, which is this one. All of it is words of 64 bits in the machine's order; counts only grow.
//!
//! | words | |
//! |---|---|
//! | 16 | magic, version, workers, cells, four words of the base's SHA-256, bytes of kept answers, zeros |
//! | 3 a cell | breaker: state in the low byte (0 closed, 1 open, 2 half-open, 3 avoided), probes in 10,000 in bits 16 to 31; the cell's limit; what it says of its load: [`Load::to_word`], and in bits 48 to 63 how often, modulo 65,536 |
//! | 64 a worker and cell | see [`Count`]; from 32 on, a histogram of durations |
//! | 384 a worker and cell | 16 tenants of 24 words: see [`tenants`] |

use crate::load::Load;
use crate::mmap::SharedMap;
use crate::sha256::DIGEST_BYTES;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub mod tenants;

const MAGIC: u64 = u64::from_le_bytes(*b"\x89CPB\r\n\x1a\n");
const VERSION: u64 = 2;
const HEADER_WORDS: usize = 16;
const CELL_WORDS: usize = 3;
const REPORTS_SHIFT: u32 = 48;
/// The word that says how many bytes kept answers take.
const KEPT_BYTES: usize = 8;
const COUNT_WORDS: usize = 64;
const FIRST_BUCKET: usize = 32;
const BUCKETS: usize = 32;

/// What is counted of a cell, by the place of its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// Requests that were proxied and have ended.
    Requests = 0,
    /// Those of them that ended with a status from 500 on, or without one though the client was there.
    Errors = 1,
    /// Those that the cell did not take, or broke off before it answered.
    Unreachable = 2,
    /// Refused: the cell's limit, of requests a second or under way.
    Shed = 3,
    /// Refused: the tenant's limit.
    Limited = 4,
    /// Refused: no cell could be used, or the first is in maintenance.
    Unavailable = 5,
    /// Under way.
    InFlight = 6,
    /// Microseconds of all that have ended.
    BusyUs = 7,
    /// Tried again on another cell; counted at the first.
    Retried = 8,
    /// Answered with 421: the cell says that the request is not for it.
    Misrouted = 9,
    /// Answered with what was kept.
    Stale = 10,
    /// Went to it as a canary.
    Canary = 11,
    /// The client was sent to the cell's own address.
    Redirected = 12,
    /// Went to it to find out whether it works again.
    Probes = 13,
    /// Copied to it.
    Shadowed = 14,
    /// Both answers were to be compared: this cell's, and its shadow's.
    Compared = 20,
    /// Of them, those that the agent was not told of, since it does not read.
    Unheard = 21,
    /// Kept, so that it can be given while the cell is down.
    Kept = 24,
    /// Others that went, to make room for one of this cell's.
    KeptEvicted = 25,
    /// Nothing was kept of what was asked while the cell was down.
    KeptMissed = 26,
    /// By what named the shard: four words, in the order of `decide::Reason`.
    Reasons = 16,
}

/// A cell's circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Requests pass.
    Closed,
    /// None passes.
    Open,
    /// So many of 10,000 pass.
    HalfOpen(u16),
    /// Those pass that no other cell can take.
    Avoided,
}

/// An open board of a base.
#[derive(Debug)]
pub struct Board {
    map: SharedMap,
    workers: usize,
    cells: usize,
}

impl Board {
    /// Opens the board at `path` for a base of so many cells.
    ///
    /// # Errors
    ///
    /// It cannot be mapped, or is another's.
    pub fn open(path: &Path, base_sha256: &[u8; DIGEST_BYTES], cells: usize) -> Result<Self, String> {
        let map = SharedMap::open(path).map_err(|error| error.to_string())?;
        let words = map.words();
        if words.len() < HEADER_WORDS {
            return Err(format!("expected a board, found {} words", words.len()));
        }
        let header: Vec<u64> = words[..HEADER_WORDS].iter().map(|word| word.load(Relaxed)).collect();
        if header[..2] != [MAGIC, VERSION] {
            return Err("expected a board of version 2".to_owned());
        }
        let is_of_base = base_sha256
            .chunks_exact(8)
            .zip(&header[4..8])
            .all(|(bytes, word)| bytes == word.to_le_bytes());
        if !is_of_base || header[3] != cells as u64 {
            return Err("expected the board of this table's base".to_owned());
        }
        let workers = header[2] as usize;
        let expected = workers
            .checked_mul(cells * (COUNT_WORDS + tenants::WORDS))
            .map(|counts| counts + HEADER_WORDS + cells * CELL_WORDS);
        if workers == 0 || expected != Some(words.len()) {
            return Err(format!(
                "expected a board of {workers} workers, found {} words",
                words.len()
            ));
        }
        Ok(Self { map, workers, cells })
    }

    /// A cell's breaker.
    pub fn breaker(&self, cell: u16) -> Breaker {
        let word = self.cell_words(cell)[0].load(Relaxed);
        match word & 0xFF {
            1 => Breaker::Open,
            2 => Breaker::HalfOpen((word >> 16) as u16),
            3 => Breaker::Avoided,
            _ => Breaker::Closed,
        }
    }

    /// The word in which a cell's limit is kept (`limits`).
    pub fn cell_limit(&self, cell: u16) -> &AtomicU64 {
        &self.cell_words(cell)[1]
    }

    /// Notes what a cell says of its load. Of two workers that do so at once, one may go unnoticed.
    pub fn note_load(&self, cell: u16, load: Load) {
        let word = &self.cell_words(cell)[2];
        let reports = (word.load(Relaxed) >> REPORTS_SHIFT).wrapping_add(1);
        word.store(load.to_word() | reports << REPORTS_SHIFT, Relaxed);
    }

    /// Says how many bytes kept answers take.
    pub fn set_kept_bytes(&self, bytes: usize) {
        self.map.words()[KEPT_BYTES].store(bytes as u64, Relaxed);
    }

    /// What one worker counts of a cell. Nobody else writes there.
    pub fn counts(&self, worker: usize, cell: u16) -> Counts<'_> {
        let start = self.counts_start() + self.place(worker, cell) * COUNT_WORDS;
        Counts(&self.map.words()[start..start + COUNT_WORDS])
    }

    /// The tenants that one worker has noticed at a cell.
    pub fn tenants(&self, worker: usize, cell: u16) -> tenants::Tenants<'_> {
        let start = self.counts_start() + self.workers * self.cells * COUNT_WORDS;
        let start = start + self.place(worker, cell) * tenants::WORDS;
        tenants::Tenants::new(&self.map.words()[start..start + tenants::WORDS])
    }

    /// Requests under way at a cell, of all workers.
    pub fn load(&self, cell: u16) -> u64 {
        let sum: i64 = (0..self.workers)
            .map(|worker| self.counts(worker, cell).0[Count::InFlight as usize].load(Relaxed) as i64)
            .sum();
        sum.max(0) as u64
    }

    fn cell_words(&self, cell: u16) -> &[AtomicU64] {
        let start = HEADER_WORDS + usize::from(cell) * CELL_WORDS;
        &self.map.words()[start..start + CELL_WORDS]
    }

    fn counts_start(&self) -> usize {
        HEADER_WORDS + self.cells * CELL_WORDS
    }

    /// A worker beyond those that the agent knows shares the last one's place: then some counts are lost, no more.
    fn place(&self, worker: usize, cell: u16) -> usize {
        worker.min(self.workers - 1) * self.cells + usize::from(cell)
    }
}

/// The words that one worker counts in.
pub struct Counts<'a>(&'a [AtomicU64]);

impl Counts<'_> {
    /// Counts one.
    pub fn count(&self, what: Count) {
        add(&self.0[what as usize], 1);
    }

    /// Counts several.
    pub fn count_many(&self, what: Count, amount: u64) {
        add(&self.0[what as usize], amount);
    }

    /// Counts one of several words.
    pub fn count_nth(&self, what: Count, place: usize) {
        add(&self.0[what as usize + place], 1);
    }

    /// Notes a request that goes to the cell now.
    pub fn begin(&self) {
        self.count(Count::InFlight);
    }

    /// Notes that a request that was begun did not go to the cell after all, which has enough to do.
    pub fn shed(&self) {
        self.leave();
        self.count(Count::Shed);
    }

    /// Notes the end of a request that was begun.
    pub fn end(&self, duration_us: u64) {
        self.leave();
        self.count(Count::Requests);
        add(&self.0[Count::BusyUs as usize], duration_us);
        add(&self.0[FIRST_BUCKET + bucket(duration_us)], 1);
    }

    fn leave(&self) {
        let in_flight = &self.0[Count::InFlight as usize];
        in_flight.store(in_flight.load(Relaxed).wrapping_sub(1), Relaxed);
    }
}

/// Only this worker writes here, so that a load and a store do.
fn add(word: &AtomicU64, amount: u64) {
    word.store(word.load(Relaxed).wrapping_add(amount), Relaxed);
}

/// The bucket of a duration: below 512 µs, and from there on two an octave: 512, 768, 1024, 1536 …
fn bucket(duration_us: u64) -> usize {
    const LEAST_BITS: u32 = 9;
    let octave = match (u64::BITS - duration_us.leading_zeros()).checked_sub(LEAST_BITS + 1) {
        None => return 0,
        Some(octave) => octave,
    };
    let half = duration_us >> (LEAST_BITS + octave - 1) & 1;
    (2 * octave as usize + half as usize + 1).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{board_bytes, TestFile};

    const SHA: [u8; DIGEST_BYTES] = [7; DIGEST_BYTES];

    fn open(name: &str, workers: u64, cells: u64) -> (TestFile, Board) {
        let file = TestFile::new(name, &board_bytes(workers, cells, &SHA));
        let board = Board::open(file.path(), &SHA, cells as usize).unwrap();
        (file, board)
    }

    #[test]
    fn what_workers_count_stays_apart_and_load_is_their_sum() {
        let (_file, board) = open("board-counts", 2, 3);
        board.counts(0, 1).begin();
        board.counts(1, 1).begin();
        board.counts(1, 2).begin();
        assert_eq!([board.load(0), board.load(1), board.load(2)], [0, 2, 1]);
        board.counts(1, 1).end(700);
        assert_eq!(board.load(1), 1);
        assert_eq!(board.counts(1, 1).0[Count::Requests as usize].load(Relaxed), 1);
        assert_eq!(board.counts(1, 1).0[Count::BusyUs as usize].load(Relaxed), 700);
        assert_eq!(board.counts(1, 1).0[FIRST_BUCKET + 1].load(Relaxed), 1);
        assert_eq!(board.counts(0, 1).0[Count::Requests as usize].load(Relaxed), 0);
        board.counts(9, 2).count(Count::Shed);
        assert_eq!(board.counts(1, 2).0[Count::Shed as usize].load(Relaxed), 1);
    }

    #[test]
    fn two_openings_of_a_board_are_one() {
        let (file, board) = open("board-shared", 1, 2);
        let other = Board::open(file.path(), &SHA, 2).unwrap();
        board.counts(0, 1).begin();
        assert_eq!(other.load(1), 1);
    }

    #[test]
    fn a_breaker_is_what_the_agent_wrote() {
        let (_file, board) = open("board-breaker", 1, 2);
        assert_eq!(board.breaker(1), Breaker::Closed);
        board.cell_words(1)[0].store(1, Relaxed);
        assert_eq!(board.breaker(1), Breaker::Open);
        board.cell_words(1)[0].store(2 | 500 << 16, Relaxed);
        assert_eq!(board.breaker(1), Breaker::HalfOpen(500));
        board.cell_words(1)[0].store(3, Relaxed);
        assert_eq!(board.breaker(1), Breaker::Avoided);
        assert_eq!(board.breaker(0), Breaker::Closed);
    }

    #[test]
    fn each_report_of_a_load_changes_its_word() {
        let (_file, board) = open("board-load", 1, 2);
        let load =
            Load::parse(b"TEXT named_metrics.queue_lag_seconds=2,named_metrics.connection_pool_use=0.5").unwrap();
        let words: Vec<u64> = (0..2)
            .map(|_| {
                board.note_load(1, load);
                board.cell_words(1)[2].load(Relaxed)
            })
            .collect();
        let expected = 2_000 | 5_000 << 32;
        assert_eq!(words, [expected | 1 << 48, expected | 2 << 48]);
        board.cell_words(1)[2].store(u64::MAX, Relaxed);
        board.note_load(1, load);
        assert_eq!(board.cell_words(1)[2].load(Relaxed), expected);
        assert_eq!(board.cell_words(0)[2].load(Relaxed), 0);
    }

    #[test]
    fn durations_fall_into_half_octaves() {
        let cases = [
            (0, 0),
            (511, 0),
            (512, 1),
            (767, 1),
            (768, 2),
            (1023, 2),
            (1024, 3),
            (1535, 3),
            (1536, 4),
            (2048, 5),
            (1 << 24, 31),
            (u64::MAX, 31),
        ];
        for (duration, expected) in cases {
            assert_eq!(bucket(duration), expected, "{duration}");
        }
    }

    #[test]
    fn another_board_is_refused() {
        let good = board_bytes(2, 3, &SHA);
        let refusal = |bytes: &[u8]| {
            let file = TestFile::new("board-refused", bytes);
            Board::open(file.path(), &SHA, 3).unwrap_err()
        };
        assert!(refusal(&good[..64]).contains("expected a board"));
        for place in [0, 8, 24, 32, 56] {
            let mut changed = good.clone();
            changed[place] ^= 1;
            refusal(&changed);
        }
        let mut workers = good.clone();
        workers[16] = 3;
        assert!(refusal(&workers).contains("3 workers"));
        assert!(refusal(&good[..good.len() - 8]).contains("2 workers"));
        assert!(Board::open(Path::new("/nowhere"), &SHA, 3).is_err());
    }
}
