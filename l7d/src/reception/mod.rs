//! Who comes to a listener of ours: how many at a time, and who of them says nothing.
//!
//! Each guest may have as many places as are left free. Alone it gets half of them, and whoever else comes
//! finds a place, however many some other guest has. Nobody is kept waiting: who gets no place is sent
//! away, and counted.

mod stream;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::net::unix::UCred;

pub use stream::{Admitted, admitted};

/// Whose places are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guest {
    /// An address.
    Address(IpAddr),
    /// A process of this machine, by its number.
    Process(i32),
    /// Nobody knows: a process of another namespace.
    Somebody,
}

impl Guest {
    /// Of a connection of TCP.
    pub fn at(address: SocketAddr) -> Self {
        Self::Address(address.ip().to_canonical())
    }

    /// Of a connection to a unix socket.
    pub fn of(credentials: Option<UCred>) -> Self {
        let process = credentials.and_then(|of| of.pid());
        process.map_or(Self::Somebody, Self::Process)
    }
}

/// Why somebody was sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no place.
    Full,
    /// The guest has as many as are left for others.
    Crowd,
    /// It did not say what it wants in time.
    Silent,
}

impl Refusal {
    /// All, in the order in which they are counted.
    pub const ALL: [Self; 3] = [Self::Full, Self::Crowd, Self::Silent];

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Crowd => "crowd",
            Self::Silent => "silent",
        }
    }
}

/// Places of a listener, or of what it serves.
#[derive(Debug)]
pub struct Places {
    most: usize,
    taken: Mutex<Taken>,
    refused: [AtomicU64; 3],
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_guest: HashMap<Guest, usize>,
}

/// A guest's place; dropping it makes room for another one.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    guest: Guest,
}

impl Places {
    /// So many.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: Mutex::default(),
            refused: Default::default(),
        })
    }

    /// A place for one more, if there is one; a refusal is counted.
    ///
    /// # Errors
    /// Why there is none.
    pub fn enter(self: &Arc<Self>, guest: Guest) -> Result<Place, Refusal> {
        let refusal = match self.take(guest) {
            Ok(()) => {
                return Ok(Place {
                    places: Arc::clone(self),
                    guest,
                });
            }
            Err(refusal) => refusal,
        };
        self.refuse(refusal);
        Err(refusal)
    }

    fn take(&self, guest: Guest) -> Result<(), Refusal> {
        let mut taken = self.taken.lock();
        let free = self.most.saturating_sub(taken.all);
        if free == 0 {
            return Err(Refusal::Full);
        }
        let own = taken.by_guest.entry(guest).or_default();
        if *own >= free {
            return Err(Refusal::Crowd);
        }
        *own += 1;
        taken.all += 1;
        Ok(())
    }

    /// Counts that somebody was sent away.
    pub fn refuse(&self, refusal: Refusal) {
        if let Some(count) = self.refused.get(refusal as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were sent away for this reason.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        let count = self.refused.get(refusal as usize);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// How many were sent away.
    pub fn refused_at_all(&self) -> u64 {
        Refusal::ALL
            .map(|refusal| self.refused(refusal))
            .iter()
            .sum()
    }
}

impl Place {
    /// Counts that the guest said nothing.
    pub fn note_silence(&self) {
        self.places.refuse(Refusal::Silent);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(own) = taken.by_guest.get_mut(&self.guest) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_guest.remove(&self.guest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(places: &Arc<Places>, guest: Guest) -> Vec<Place> {
        std::iter::from_fn(|| places.enter(guest).ok()).collect()
    }

    #[test]
    fn a_crowd_leaves_as_many_places_as_it_has() {
        let places = Places::new(100);
        let first = fill(&places, Guest::Process(1));
        let second = fill(&places, Guest::Process(2));
        let third = fill(&places, Guest::Somebody);
        assert_eq!([first.len(), second.len(), third.len()], [50, 25, 13]);
        assert_eq!(places.refused(Refusal::Crowd), 3);
        drop(first);
        assert_eq!(fill(&places, Guest::Process(3)).len(), 31);
    }

    #[test]
    fn who_leaves_makes_room_and_is_forgotten() {
        let places = Places::new(1);
        let place = places.enter(Guest::Somebody).expect("a place");
        assert_eq!(places.enter(Guest::Process(1)).err(), Some(Refusal::Full));
        drop(place);
        assert!(places.enter(Guest::Process(1)).is_ok());
        assert!(places.taken.lock().by_guest.is_empty());
        assert_eq!(places.refused_at_all(), 1);
    }

    #[test]
    fn an_address_is_one_guest_however_it_is_written() {
        let guest = |address: &str| Guest::at(address.parse().expect("an address"));
        assert_eq!(guest("192.0.2.1:1"), guest("[::ffff:192.0.2.1]:2"));
        assert_ne!(guest("192.0.2.1:1"), guest("192.0.2.2:1"));
    }
}
