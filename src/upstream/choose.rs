//! Which server a request goes to.
//!
//! Each thread chooses by itself: turns and requests in flight are counted per thread, as Envoy does.
//! Where that matters (limits, health) all threads count together, elsewhere.

use std::cell::{Cell, RefCell};

use smallvec::SmallVec;

use crate::config::upstream::{Balance, Server};

/// The servers that a request has been to.
pub(super) type Tried = SmallVec<[usize; 2]>;

/// What is known of a server when one is chosen.
pub(super) trait Candidate {
    /// Whether it may get requests.
    fn is_usable(&self) -> bool;
    /// Its requests in flight on this thread.
    fn active(&self) -> u32;
}

/// How the servers of one upstream take turns.
#[derive(Debug)]
pub(super) enum Chooser {
    /// Smooth weighted turns: what each server is owed.
    Turns { weights: Vec<u32>, owed: RefCell<Vec<i64>> },
    /// Two at random, the less busy one.
    Least { weights: Vec<u32>, seed: Cell<u64> },
    /// A ring of points, each of one server.
    Ring { points: Vec<(u64, u32)>, turn: Cell<u64> },
}

impl Chooser {
    /// For these servers.
    pub(super) fn new(balance: &Balance, servers: &[Server]) -> Chooser {
        let weights: Vec<u32> = servers.iter().map(|server| server.weight).collect();
        match balance {
            Balance::RoundRobin => Chooser::Turns { owed: RefCell::new(vec![0; weights.len()]), weights },
            Balance::LeastRequest => Chooser::Least { weights, seed: Cell::new(0x9e37_79b9_7f4a_7c15) },
            Balance::Hash(_) => Chooser::Ring { points: ring(servers), turn: Cell::new(0) },
        }
    }

    /// A server that is usable and has not been tried. `key`: what a hash was taken of.
    pub(super) fn choose<C: Candidate>(
        &self,
        servers: &[C],
        key: Option<u64>,
        tried: &Tried,
    ) -> Option<usize> {
        let fits = |at: usize| !tried.contains(&at) && servers.get(at).is_some_and(Candidate::is_usable);
        if servers.len() == 1 {
            return fits(0).then_some(0);
        }
        match self {
            Chooser::Turns { weights, owed } => turn(weights, &mut owed.borrow_mut(), fits),
            Chooser::Least { weights, seed } => less_busy(servers, weights, seed, fits),
            Chooser::Ring { points, turn } => {
                let key = key.unwrap_or_else(|| {
                    // Nothing to hash: a request like any other, somewhere on the ring.
                    turn.set(turn.get().wrapping_add(1));
                    scatter(turn.get())
                });
                let start = points.partition_point(|(point, _)| *point < key);
                let (before, after) = points.split_at(start.min(points.len()));
                let mut round = after.iter().chain(before).map(|(_, at)| *at as usize);
                round.find(|at| fits(*at))
            }
        }
    }
}

/// Smooth weighted round robin: everybody is owed its weight, the one that is owed most gets the
/// request and pays for all.
fn turn(weights: &[u32], owed: &mut [i64], fits: impl Fn(usize) -> bool) -> Option<usize> {
    let mut best: Option<(usize, i64)> = None;
    let mut total = 0;
    for (at, (weight, owed)) in weights.iter().zip(owed.iter_mut()).enumerate() {
        if !fits(at) {
            continue;
        }
        *owed += i64::from(*weight);
        total += i64::from(*weight);
        if best.is_none_or(|(_, most)| *owed > most) {
            best = Some((at, *owed));
        }
    }
    let (at, _) = best?;
    if let Some(owed) = owed.get_mut(at) {
        *owed -= total;
    }
    Some(at)
}

/// The power of two choices.
fn less_busy<C: Candidate>(
    servers: &[C],
    weights: &[u32],
    seed: &Cell<u64>,
    fits: impl Fn(usize) -> bool,
) -> Option<usize> {
    let usable: SmallVec<[usize; 16]> = (0..servers.len()).filter(|at| fits(*at)).collect();
    let count = usable.len() as u64;
    let first = *usable.get(pick(seed, count)?)?;
    let other = (count > 1).then(|| {
        // Any but the first.
        let others: SmallVec<[usize; 16]> = usable.iter().copied().filter(|at| *at != first).collect();
        others.get(pick(seed, count - 1)?).copied()
    });
    let Some(Some(second)) = other else { return Some(first) };
    // Busy for its weight, compared without a division.
    let busy = |at: usize, by: usize| {
        let active = servers.get(at).map_or(u64::MAX >> 32, |server| u64::from(server.active()) + 1);
        active * u64::from(weights.get(by).copied().unwrap_or(1))
    };
    Some(if busy(second, first) < busy(first, second) { second } else { first })
}

/// A number below `count`.
fn pick(seed: &Cell<u64>, count: u64) -> Option<usize> {
    seed.set(seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
    usize::try_from(scatter(seed.get()).checked_rem(count)?).ok()
}

/// Points on the ring by weight. Every thread and every start of the process has the same ring, and a
/// server that comes or goes moves only its own share of the keys.
fn ring(servers: &[Server]) -> Vec<(u64, u32)> {
    let total: u64 = servers.iter().map(|server| u64::from(server.weight)).sum();
    let mut points = Vec::new();
    for (at, server) in (0u32..).zip(servers) {
        let share = POINTS * servers.len() as u64 * u64::from(server.weight) / total.max(1);
        let name = hash(server.url.to_string().as_bytes());
        points.extend((0..share.max(1)).map(|point| (scatter(name ^ scatter(point)), at)));
    }
    points.sort_unstable();
    points
}

/// Points of a server with the usual weight.
const POINTS: u64 = 160;

/// A hash that is the same everywhere and always (FNV-1a, then scattered).
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    scatter(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// Spreads a number over all bits (SplitMix64's last step).
fn scatter(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::ServerText;
    use crate::config::upstream::raw::HashOn;

    struct Fake(bool, u32);

    impl Candidate for Fake {
        fn is_usable(&self) -> bool {
            self.0
        }

        fn active(&self) -> u32 {
            self.1
        }
    }

    fn servers(weights: &[u32]) -> Vec<Server> {
        let server = |(at, weight): (usize, &u32)| Server {
            url: ServerText::Unix { path: format!("/run/{at}") },
            weight: *weight,
        };
        weights.iter().enumerate().map(server).collect()
    }

    fn counts(chooser: &Chooser, fakes: &[Fake], times: usize) -> Vec<usize> {
        let mut counts = vec![0; fakes.len()];
        for _ in 0..times {
            counts[chooser.choose(fakes, None, &Tried::new()).expect("a server")] += 1;
        }
        counts
    }

    #[test]
    fn turns_follow_the_weights_and_mix() {
        let chooser = Chooser::new(&Balance::RoundRobin, &servers(&[3, 1]));
        let fakes = [Fake(true, 0), Fake(true, 0)];
        let order: Vec<_> = (0..4).filter_map(|_| chooser.choose(&fakes, None, &Tried::new())).collect();
        assert_eq!(order, [0, 0, 1, 0]);
        assert_eq!(counts(&chooser, &fakes, 400), [300, 100]);
    }

    #[test]
    fn who_is_unwell_or_was_tried_is_left_out() {
        for balance in [Balance::RoundRobin, Balance::LeastRequest, Balance::Hash(HashOn::Client)] {
            let chooser = Chooser::new(&balance, &servers(&[1, 1, 1]));
            let fakes = [Fake(true, 0), Fake(false, 0), Fake(true, 0)];
            let tried: Tried = [0].into_iter().collect();
            for key in 0..50 {
                assert_eq!(chooser.choose(&fakes, Some(scatter(key)), &tried), Some(2), "{balance:?}");
            }
            let all: Tried = [0, 2].into_iter().collect();
            assert_eq!(chooser.choose(&fakes, None, &all), None, "{balance:?}");
        }
    }

    #[test]
    fn of_two_the_less_busy_one_for_its_weight() {
        let chooser = Chooser::new(&Balance::LeastRequest, &servers(&[1, 1]));
        assert_eq!(counts(&chooser, &[Fake(true, 5), Fake(true, 4)], 100), [0, 100]);
        let chooser = Chooser::new(&Balance::LeastRequest, &servers(&[10, 1]));
        assert_eq!(counts(&chooser, &[Fake(true, 5), Fake(true, 4)], 100), [100, 0]);
        let chooser = Chooser::new(&Balance::LeastRequest, &servers(&[1, 1, 1]));
        let spread = counts(&chooser, &[Fake(true, 0), Fake(true, 0), Fake(true, 0)], 3000);
        assert!(spread.iter().all(|count| (800..1200).contains(count)), "{spread:?}");
    }

    #[test]
    fn a_key_stays_with_its_server_and_a_lost_server_moves_only_its_own_keys() {
        let chooser = Chooser::new(&Balance::Hash(HashOn::Client), &servers(&[1, 1, 2]));
        let all = [Fake(true, 0), Fake(true, 0), Fake(true, 0)];
        let lost = [Fake(true, 0), Fake(false, 0), Fake(true, 0)];
        let mut counts = [0; 3];
        for key in 0..4000u64 {
            let key = Some(hash(&key.to_le_bytes()));
            let before = chooser.choose(&all, key, &Tried::new()).expect("a server");
            let after = chooser.choose(&lost, key, &Tried::new()).expect("a server");
            counts[before] += 1;
            assert!(after == before || before == 1);
        }
        assert!((700..1300).contains(&counts[0]) && (1700..2300).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn what_cannot_be_hashed_is_spread() {
        let chooser = Chooser::new(&Balance::Hash(HashOn::Path), &servers(&[1, 1, 1]));
        let spread = counts(&chooser, &[Fake(true, 0), Fake(true, 0), Fake(true, 0)], 3000);
        assert!(spread.iter().all(|count| *count > 0), "{spread:?}");
    }
}
