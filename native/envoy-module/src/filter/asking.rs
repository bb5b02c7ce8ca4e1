//! What a decision asks about cells, answered by Envoy and the board.

use super::CELL_ID;
use crate::board::{Board, Breaker};
use crate::decide::Surroundings;
use crate::stream::{Headers, Stream};
use crate::table::Base;

const MAX_ID_BYTES: usize = 63;
const ALL_BP: u32 = 10_000;

/// A cell's id, copied.
#[derive(Clone, Copy)]
pub(super) struct CellName {
    bytes: [u8; MAX_ID_BYTES],
    length: usize,
}

impl CellName {
    pub(super) fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_ID_BYTES];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self {
            bytes,
            length: id.len(),
        })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Asks for one request.
pub(super) struct Asking<'a, S, B> {
    stream: &'a mut S,
    base: &'a Base<B>,
    board: Option<&'a Board>,
    /// The cell on which an earlier pass of this request has failed.
    failed: Option<CellName>,
    /// The cell that the header names, and with it the route.
    named: Option<u16>,
    probed: Option<u16>,
    /// Whether cells that are to be avoided are asked, too.
    takes_avoided: bool,
    has_avoided: bool,
}

impl<'a, S: Stream, B: AsRef<[u8]>> Asking<'a, S, B> {
    pub(super) fn new(
        stream: &'a mut S,
        base: &'a Base<B>,
        board: Option<&'a Board>,
        failed: Option<CellName>,
    ) -> Self {
        Self {
            stream,
            base,
            board,
            failed,
            named: None,
            probed: None,
            takes_avoided: false,
            has_avoided: false,
        }
    }

    /// Whether a cell was passed over that may be asked where there is no other; from now on it is.
    pub(super) fn takes_what_it_avoided(&mut self) -> bool {
        let is_first = !self.takes_avoided;
        self.takes_avoided = true;
        is_first && self.has_avoided
    }

    /// Whether the cell is asked to find out whether it works again.
    pub(super) fn is_probe(&self, cell: u16) -> bool {
        self.probed == Some(cell)
    }

    /// Makes the request's route that of a cell.
    fn name(&mut self, cell: u16) {
        let cell_id = self.base.cell_id(cell).as_bytes();
        // Whatever a client sent of this is gone by now, so the first time it is added.
        if self.named.is_some() {
            self.stream.set(Headers::Request, CELL_ID, cell_id);
        } else {
            self.stream.add(Headers::Request, CELL_ID, cell_id);
        }
        self.named = Some(cell);
        self.stream.clear_route_cache();
    }

    fn random_bp(&self) -> u16 {
        (self.stream.random() % ALL_BP) as u16
    }
}

impl<S: Stream, B: AsRef<[u8]>> Surroundings for Asking<'_, S, B> {
    fn is_usable(&mut self, cell: u16) -> bool {
        let has_failed = self
            .failed
            .map_or(false, |failed| failed.as_bytes() == self.base.cell_id(cell).as_bytes());
        let passes = match self.board.map_or(Breaker::Closed, |board| board.breaker(cell)) {
            Breaker::Closed => true,
            Breaker::Open => false,
            Breaker::Avoided => {
                self.has_avoided = true;
                self.takes_avoided
            }
            Breaker::HalfOpen(bp) => {
                let is_probe = self.random_bp() < bp;
                if is_probe {
                    self.probed = Some(cell);
                }
                is_probe
            }
        };
        if has_failed || !passes {
            return false;
        }
        self.name(cell);
        self.stream.healthy_hosts() > 0
    }

    fn load(&self, cell: u16) -> u64 {
        self.board.map_or(0, |board| board.load(cell))
    }

    fn turn(&self) -> u64 {
        self.stream.turn()
    }

    fn chance(&self) -> u16 {
        self.random_bp()
    }

    fn is_shadow_usable(&mut self, cell: u16) -> bool {
        // What is copied is nobody's probe, and the chosen cell stays the one that it was asked for.
        let (chosen, probed) = (self.named, self.probed);
        let is_usable = self.is_usable(cell);
        self.probed = probed;
        if let Some(chosen) = chosen {
            self.name(chosen);
        }
        is_usable
    }
}
