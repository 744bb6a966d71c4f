//! How much of a connection may be under way to its host.
//!
//! The stack's congestion control goes by loss, and answers one lost packet by sending all behind it again; a gateway whose
//! socket holds a hundred packets loses many of a window of a megabyte. So no more is given to the stack than the way holds:
//! the rate at which it delivers times its shortest round trip, and half of it more, the idea of BBR (Cardwell et al., "BBR:
//! Congestion-Based Congestion Control", 2016); and what it delivers in a moment, as packets go and are confirmed by the dozen, by programs that
//! have to be woken (BBR adds three bursts).

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
/// Such a moment.
const MOMENT: Duration = Duration::from_millis(1);
/// It is halved so often when packets are lost.
const HALVINGS: u32 = 4;
/// And doubled again after so long without a loss.
const CALM: Duration = Duration::from_secs(2);
/// The shortest round trip is looked for again after so long.
const STALE: Duration = Duration::from_secs(10);
/// Nothing arrives for so long, or three round trips: something was lost, as Linux has it (TCP_RTO_MIN).
const STALL: Duration = Duration::from_millis(200);
/// Where more is under way than one packet, which its receiver may keep to itself for a while, two round trips will do (RFC 8985, 7.2), or what
/// they vary by (RFC 6298), and so much for programs that have to be woken.
const WAKING: Duration = Duration::from_millis(25);
/// The largest packet of most ways.
const PACKET: usize = 1500;
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
    /// The round trip and its variation, smoothed (RFC 6298).
    smooth: Option<(Duration, Duration)>,
    /// How often the moment is halved, and since when.
    halved: Option<(u32, Instant)>,
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
        if let Some((halvings, since)) = self.halved
            && now.saturating_duration_since(since) > CALM
        {
            self.halved = (halvings > 1).then(|| (halvings - 1, now));
        }
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
        self.smooth = Some(match self.smooth {
            None => (trip, trip / 2),
            Some((mean, variation)) => ((mean * 7 + trip) / 8, (variation * 3 + mean.abs_diff(trip)) / 4),
        });
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
            Some((trip, _)) if !self.looking => {
                let moment = MOMENT / (1 << self.halved.map_or(0, |(halvings, _)| halvings));
                let holds = |time: Duration| (self.best() * time.as_secs_f64()) as usize;
                floor.max(holds(moment)) + holds(trip.mul_f64(GAIN))
            }
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
        if self.late(queued).is_none_or(|late| now <= late) {
            return None;
        }
        self.hurries += 1;
        let halvings = self.halved.map_or(0, |(halvings, _)| halvings);
        self.halved = Some(((halvings + 1).min(HALVINGS), now));
        Some(REPEAT * (1 << (self.hurries - 1)))
    }

    /// When something counts as lost that is under way now, unless it arrives.
    pub fn late(&self, queued: usize) -> Option<Instant> {
        let patience = match self.smooth {
            Some((trip, variation)) if queued > PACKET => (trip * 2).max(trip + variation * 4) + WAKING,
            _ => STALL.max(self.shortest.map_or(Duration::ZERO, |(trip, _)| trip * 3)),
        };
        let wait = patience * (1 << self.hurries);
        let seen = self.progress.filter(|_| queued > 0 && self.hurries < HURRIES && wait <= REPEAT)?;
        Some(seen + wait)
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

    /// So many bytes, confirmed after a round trip of so many milliseconds, many times.
    fn busy(bytes: usize, trip: u64) -> (Pace, Instant) {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..50 {
            pace.gave(bytes, true, now);
            now += Duration::from_millis(trip);
            assert_eq!(pace.hurry(0, now), None);
        }
        pace.gave(bytes, true, now);
        (pace, now)
    }

    #[test]
    fn a_loss_among_many_packets_shows_after_two_round_trips() {
        for (trip, wait) in [(0, 25), (1, 27), (40, 105)] {
            let (mut pace, now) = busy(100_000, trip);
            let at = |millis: u64| now + Duration::from_millis(millis);
            assert_eq!(pace.late(100_000), Some(at(wait)), "{trip}");
            assert_eq!(pace.hurry(100_000, at(wait)), None);
            assert_eq!(pace.hurry(100_000, at(wait + 1)), Some(REPEAT));
            // One packet may be confirmed late.
            let (pace, now) = busy(1000, trip);
            assert_eq!(pace.late(1000), Some(now + STALL));
            assert_eq!(pace.late(0), None);
        }
    }

    #[test]
    fn losses_leave_less_under_way_for_a_while() {
        let (mut pace, now) = busy(1_000_000, 10);
        let at = |millis: u64| now + Duration::from_millis(millis);
        // 100 MB/s over 15 ms and 1 ms more.
        assert_eq!(pace.limit(1) / 10_000, 160);
        assert!(pace.hurry(1_000_000, at(500)).is_some());
        assert_eq!(pace.limit(1) / 10_000, 156);
        assert_eq!(pace.room(1_000_000, 1, at(2400)) + 1_000_000, pace.limit(1));
        assert_eq!(pace.limit(1) / 10_000, 156);
        assert_eq!(pace.room(1_000_000, 1, at(2600)) + 1_000_000, pace.limit(1));
        assert_eq!(pace.limit(1) / 10_000, 160);
    }

    #[test]
    fn many_share_what_is_always_allowed() {
        let now = Instant::now();
        assert_eq!(Pace::default().room(0, 1, now), FLOOR);
        assert_eq!(Pace::default().room(0, 50, now), LEAST);
        assert_eq!(Pace::default().room(LEAST, 50, now), 0);
    }
}
