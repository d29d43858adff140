//! Sleep that ends on time. A kernel wakes whoever sleeps some ten microseconds late, now and then some hundreds: how many,
//! is learnt here, so that one sleeps less and watches the clock for the rest. Watching has its price, and may take one
//! eighth of the time at most.

use std::time::Duration;

/// No sleep is cut by more than this.
const MOST: Duration = Duration::from_micros(300);
/// What is learnt grows by this much where a sleep was later, and is as much less after so many that were not: so one of
/// a hundred is later than that.
const STEP: Duration = Duration::from_micros(10);
const RARELY: u32 = 100;
/// For so much sleep, as much of watching as a unit of it.
const SHARE: u32 = 8;
/// No more watching than this is saved up for later.
const SAVED: Duration = Duration::from_millis(20);

/// What has been learnt, and how much watching is allowed.
#[derive(Debug, Default)]
pub(crate) struct Nap {
    late: Duration,
    credit: Duration,
}

impl Nap {
    /// How long to sleep of the time that is left.
    pub(crate) fn sleep(&self, left: Duration) -> Duration {
        match self.credit >= self.late {
            true => left.saturating_sub(self.late),
            false => left,
        }
    }

    /// A sleep that nothing has ended but the time took so long instead.
    pub(crate) fn woke(&mut self, asked: Duration, took: Duration) {
        let late = took.saturating_sub(asked).min(MOST);
        self.late = match late > self.late {
            true => late.min(self.late + STEP),
            false => self.late.saturating_sub(STEP / RARELY),
        };
        self.credit = (self.credit + took / SHARE).min(SAVED);
    }

    /// So long the clock has been watched.
    pub(crate) fn watched(&mut self, time: Duration) {
        self.credit = self.credit.saturating_sub(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn sleep_ends_earlier_by_what_it_has_been_late() {
        let mut nap = Nap::default();
        assert_eq!(nap.sleep(us(5000)), us(5000));
        for _ in 0..50 {
            let asked = nap.sleep(us(5000));
            nap.woke(asked, asked + us(60));
        }
        let early = us(5000) - nap.sleep(us(5000));
        assert!((us(55)..=us(60)).contains(&early), "{early:?}");
        assert_eq!(nap.sleep(us(10)), us(0));
    }

    #[test]
    fn what_is_learnt_is_how_late_the_latest_are_not_the_usual_ones() {
        let mut nap = Nap::default();
        for sleep in 0..2000 {
            let asked = nap.sleep(us(5000));
            nap.woke(asked, asked + if sleep % 50 == 0 { us(200) } else { us(10) });
        }
        let early = us(5000) - nap.sleep(us(5000));
        assert!((us(180)..=us(200)).contains(&early), "{early:?}");
    }

    #[test]
    fn one_long_absence_is_no_reason_to_watch_for_long() {
        let mut nap = Nap::default();
        nap.woke(us(100), us(100_000));
        assert_eq!(us(5000) - nap.sleep(us(5000)), STEP);
    }

    #[test]
    fn the_clock_is_watched_for_an_eighth_of_the_time_at_most() {
        let mut nap = Nap::default();
        let (mut slept, mut watched) = (us(0), us(0));
        for _ in 0..10_000 {
            let asked = nap.sleep(us(150));
            nap.woke(asked, asked + us(90));
            slept += asked + us(90);
            nap.watched(us(150) - asked);
            watched += us(150) - asked;
        }
        assert!(watched > us(0) && watched <= slept / SHARE + us(150), "{watched:?} of {slept:?}");
    }
}
