//! Room for large answers, used again.
//!
//! The heap gives blocks of this size back to the system, which clears every page of the next one
//! before we write it: that was a quarter of the CPU of a restore from a server.
//!
//! Invariants
//! - Room is kept only while requests are under way or answers are in use: nothing is left when an
//!   operation is over.
//! - An answer takes room that was made for its size, or new room for which other is given up: there
//!   are never more pieces than were in use at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Smaller answers come out of the heap, which keeps blocks of their size.
const LEAST_BYTES: usize = 512 << 10;
/// More than this is not believed before it comes.
const MOST_BYTES: usize = 256 << 20;
/// Room that so many answers one after another had no need of is given up.
const PATIENCE: usize = 4;

/// Where room comes from and goes to. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Rooms(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    idle: Vec<Vec<u8>>,
    /// Answers in a row that left room idle.
    unneeded: usize,
    /// Requests, and answers in room.
    under_way: usize,
}

/// What room is kept for.
#[derive(Debug)]
pub(in crate::store) struct UnderWay(Rooms);

/// Bytes on their way in.
#[derive(Debug)]
pub(in crate::store) struct Room {
    bytes: Vec<u8>,
    /// Where it goes back to, if it does.
    home: Option<UnderWay>,
}

impl Rooms {
    /// Tells that there will be an answer.
    pub(in crate::store) fn expect(&self) -> UnderWay {
        self.state().under_way += 1;
        UnderWay(self.clone())
    }

    /// Room for about `len` bytes. More may be put into it.
    pub(in crate::store) fn take(&self, len: usize) -> Room {
        if len < LEAST_BYTES {
            return Room { bytes: Vec::with_capacity(len), home: None };
        }
        let home = Some(self.expect());
        let mut state = self.state();
        let fits = |room: &Vec<u8>| (len..len.saturating_mul(2)).contains(&room.capacity());
        let fitting = state.idle.iter().position(fits);
        let fitting = fitting.map(|at| state.idle.swap_remove(at));
        state.unneeded = if state.idle.is_empty() { 0 } else { state.unneeded + 1 };
        let is_other_needed = fitting.is_some() && state.unneeded < PATIENCE;
        let given_up = if is_other_needed { None } else { state.idle.pop() };
        if given_up.is_some() {
            state.unneeded = 0;
        }
        drop(state);
        drop(given_up);
        let bytes = fitting.unwrap_or_else(|| {
            // Answers of an operation differ a little; what is never written takes no memory.
            let size = len.min(MOST_BYTES);
            Vec::with_capacity(size + size / 8)
        });
        Room { bytes, home }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    pub(super) fn rooms(&self) -> &Rooms {
        &self.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        if state.under_way == 0 {
            let idle = std::mem::take(&mut state.idle);
            // Not while others wait.
            drop(state);
            drop(idle);
        }
    }
}

impl Room {
    pub(in crate::store) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(in crate::store) fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// What was put into it. The room is given back with the last clone.
    pub(in crate::store) fn freeze(mut self) -> Bytes {
        match self.home {
            Some(_) => Bytes::from_owner(self),
            None => Bytes::from(std::mem::take(&mut self.bytes)),
        }
    }
}

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Some(home) = &self.home else { return };
        self.bytes.clear();
        home.0.state().idle.push(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(rooms: &Rooms, len: usize) -> Bytes {
        let mut room = rooms.take(len);
        room.push(&vec![7; len]);
        room.freeze()
    }

    #[test]
    fn room_of_the_same_size_is_used_again_and_none_is_left() {
        let rooms = Rooms::default();
        let expected = rooms.expect();
        let first = filled(&rooms, 5 << 20);
        let (at, part) = (first.as_ptr(), first.slice(1..3));
        drop(first);
        let second = filled(&rooms, 5 << 20);
        assert_ne!(second.as_ptr(), at, "a part of the first is still in use");
        assert_eq!(part, [7, 7][..]);
        drop(part);
        let again = filled(&rooms, (5 << 20) + 1000);
        assert_eq!(again.as_ptr(), at);
        assert!(again.iter().all(|byte| *byte == 7));
        drop(again);
        let large = filled(&rooms, 17 << 20);
        assert!(rooms.state().idle.is_empty(), "what did not fit is given up");
        drop((second, large));
        assert_eq!(rooms.state().idle.len(), 2);
        drop(expected);
        let state = rooms.state();
        assert_eq!((state.idle.len(), state.under_way), (0, 0));
    }

    #[test]
    fn room_that_is_not_needed_for_long_is_given_up() {
        let rooms = Rooms::default();
        let _expected = rooms.expect();
        drop([0; 3].map(|_one| filled(&rooms, 1 << 20)));
        for _answer in 0..PATIENCE {
            assert_eq!(rooms.state().idle.len(), 3);
            filled(&rooms, 1 << 20);
        }
        assert_eq!(rooms.state().idle.len(), 2);
    }

    #[test]
    fn small_answers_and_those_longer_than_told_are_whole() {
        let rooms = Rooms::default();
        assert_eq!(filled(&rooms, 10), [7; 10][..]);
        let mut room = rooms.take(LEAST_BYTES);
        room.push(&vec![1; LEAST_BYTES + 1]);
        assert_eq!((room.len(), room.freeze().len()), (LEAST_BYTES + 1, LEAST_BYTES + 1));
        assert_eq!(rooms.state().under_way, 0);
    }
}
