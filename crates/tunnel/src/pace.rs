//! How much of a connection may be under way to its host.
//!
//! The stack's congestion control goes by loss, and answers one lost packet by sending all behind it again; a gateway whose
//! socket holds a hundred packets loses many of a window of a megabyte. So no more is given to the stack than the way holds:
//! the rate at which it delivers times its shortest round trip, and half of it more, the idea of BBR (Cardwell et al., "BBR:
//! Congestion-Based Congestion Control", 2016).

use std::time::{Duration, Instant};

/// Always allowed, in bytes, for all connections together.
const FLOOR: usize = 64 << 10;
/// Always allowed for one.
const LEAST: usize = 8 << 10;
/// The rate is taken over so long at least: an acknowledgement may stand for many packets.
const SPAN: Duration = Duration::from_millis(10);
/// Spans over which the best rate counts.
const SPANS: usize = 16;
/// What is under way at most, in what the way holds: it may grow by half in a round trip.
const GAIN: f64 = 1.5;
/// The shortest round trip is looked for again after so long.
const STALE: Duration = Duration::from_secs(10);
/// Nothing arrives for so long, or three round trips: something was lost, as Linux has it (TCP_RTO_MIN).
const STALL: Duration = Duration::from_millis(200);
/// smoltcp repeats nothing sooner.
const REPEAT: Duration = Duration::from_secs(1);
/// How often its patience is shortened, before it is left to it.
const HURRIES: u32 = 3;

/// One way, as it has shown itself.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Bytes given to the stack so far.
    given: u64,
    /// Bytes that arrived, and when the last of them did.
    arrived: u64,
    progress: Option<Instant>,
    hurries: u32,
    /// A round trip: when it is over (so much has arrived), and when it began.
    trip: Option<(u64, Instant)>,
    /// The shortest round trip, and when it was seen.
    shortest: Option<(Duration, Instant)>,
    /// A span: when it began, how much had arrived then, and whether there was always more to give.
    span: Option<(Instant, u64, bool)>,
    /// Bytes in a second, of the last spans.
    rates: [f64; SPANS],
    next: usize,
    /// Little is under way, so that the round trip shows itself.
    looking: bool,
}

impl Pace {
    /// How many bytes more may be given, of a connection that has `queued` not yet confirmed, among so many.
    pub fn room(&mut self, queued: usize, connections: usize, now: Instant) -> usize {
        self.note(queued, now);
        self.limit(connections).saturating_sub(queued)
    }

    fn note(&mut self, queued: usize, now: Instant) {
        let arrived = self.given.saturating_sub(queued as u64);
        if arrived > self.arrived || queued == 0 {
            (self.progress, self.hurries) = (Some(now), 0);
        }
        self.arrived = arrived;
        if let Some((end, since)) = self.trip
            && arrived >= end
        {
            self.trip = None;
            self.took(now.saturating_duration_since(since), now);
        }
        if let Some((since, before, full)) = self.span {
            let time = now.saturating_duration_since(since);
            if time >= SPAN {
                self.span = None;
                let rate = arrived.saturating_sub(before) as f64 / time.as_secs_f64();
                // Who had nothing to give does not show what the way takes.
                if full || rate > self.best() {
                    if let Some(place) = self.rates.get_mut(self.next) {
                        *place = rate;
                    }
                    self.next = (self.next + 1) % SPANS;
                }
            }
        }
    }

    fn took(&mut self, trip: Duration, now: Instant) {
        let known = self.shortest.filter(|(shortest, _)| !self.looking && trip > *shortest);
        match known {
            None => (self.shortest, self.looking) = (Some((trip, now)), false),
            Some((_, seen)) => self.looking = now.saturating_duration_since(seen) > STALE,
        }
    }

    fn best(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    fn limit(&self, connections: usize) -> usize {
        let floor = (FLOOR / connections.max(1)).max(LEAST);
        match self.shortest {
            Some((trip, _)) if !self.looking => floor + (GAIN * self.best() * trip.as_secs_f64()) as usize,
            _ => floor,
        }
    }

    /// Bytes were given; `full`: there was more.
    pub fn gave(&mut self, bytes: usize, full: bool, now: Instant) {
        if self.given == self.arrived {
            (self.progress, self.hurries) = (Some(now), 0);
        }
        self.given += bytes as u64;
        self.trip.get_or_insert((self.given, now));
        let span = self.span.get_or_insert((now, self.arrived, true));
        span.2 &= full;
    }

    /// Something was lost, it seems: how far the stack's clock has to go on for it to be sent again now.
    pub fn hurry(&mut self, queued: usize, now: Instant) -> Option<Duration> {
        self.note(queued, now);
        let trip = self.shortest.map_or(Duration::ZERO, |(trip, _)| trip * 3);
        let wait = STALL.max(trip) * (1 << self.hurries);
        let late = queued > 0 && self.progress.is_some_and(|seen| now.saturating_duration_since(seen) > wait);
        if !late || self.hurries >= HURRIES || wait > REPEAT {
            return None;
        }
        self.hurries += 1;
        Some(REPEAT * (1 << (self.hurries - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A way that takes so many bytes in a second after a round trip of so many milliseconds: what is under way in the end.
    fn settle(rate: f64, trip: u64) -> usize {
        let (mut pace, mut now, mut queued) = (Pace::default(), Instant::now(), 0usize);
        let mut most = 0;
        for _ in 0..200 {
            let more = pace.room(queued, 1, now);
            pace.gave(more, true, now);
            queued += more;
            most = queued;
            now += Duration::from_secs_f64((queued as f64 / rate).max(trip as f64 / 1000.0));
            queued = 0;
        }
        most
    }

    #[test]
    fn as_much_as_the_way_holds_and_a_little_more() {
        // 40 MB/s at 50 ms hold 2 MB, at 1 ms 40 kB.
        assert!((2_000_000..9_000_000).contains(&settle(40e6, 50)), "{}", settle(40e6, 50));
        assert!((64_000..200_000).contains(&settle(40e6, 1)), "{}", settle(40e6, 1));
    }

    #[test]
    fn what_is_lost_is_sent_again_soon_and_then_at_leisure() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.gave(1000, true, start);
        let at = |millis: u64| start + Duration::from_millis(millis);
        assert_eq!(pace.hurry(1000, at(150)), None);
        assert_eq!(pace.hurry(1000, at(250)), Some(REPEAT));
        assert_eq!(pace.hurry(1000, at(300)), None);
        assert_eq!(pace.hurry(1000, at(450)), Some(2 * REPEAT));
        assert_eq!(pace.hurry(0, at(500)), None, "all has arrived");
    }

    #[test]
    fn many_share_what_is_always_allowed() {
        let now = Instant::now();
        assert_eq!(Pace::default().room(0, 1, now), FLOOR);
        assert_eq!(Pace::default().room(0, 50, now), LEAST);
        assert_eq!(Pace::default().room(LEAST, 50, now), 0);
    }
}
