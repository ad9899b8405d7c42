//! How much sled gets between two syncs.

/// The most bytes put between two syncs.
const STEP_BYTES: usize = 64 * 1024;
/// It is never made shorter than this.
const SHORTEST_STEP: usize = STEP_BYTES / 4;
/// What sled's log should grow by between two syncs: half a segment. sled reuses a segment one to two segments
/// after it moved its pages. It writes two to ten times as many bytes as it gets, because after ten changes of a page it writes
/// the whole page anew and moves another one, and pages differ in length.
const LOG_BYTES: usize = 256 * 1024;

/// What sled got since the last sync, and how much it may get.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes put, not synced.
    pub(super) unsynced: usize,
    step: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            unsynced: 0,
            step: STEP_BYTES,
        }
    }
}

impl Pace {
    /// Whether a sync comes before so many more bytes.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        self.unsynced > 0 && self.unsynced + bytes > self.step
    }

    /// After a sync, for which the log grew by so many bytes, or by more if a segment ended meanwhile. Shortens the
    /// steps at once when the log grows faster than is good, and lengthens them little by little.
    pub(super) fn synced(&mut self, grown: usize) {
        let put = std::mem::take(&mut self.unsynced);
        // Of a few bytes nothing is learned: each write has a share in a page now and then.
        if put < SHORTEST_STEP / 2 {
            return;
        }
        let fitting = put.saturating_mul(LOG_BYTES) / grown.max(1);
        let fitting = fitting.clamp(SHORTEST_STEP, STEP_BYTES);
        self.step = if fitting < self.step {
            fitting
        } else {
            self.step + (fitting - self.step) / 8
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of as many bytes as may be put, with a log that grows so many times as fast.
    fn after(steps: usize, pace: &mut Pace, times: usize) -> usize {
        for _ in 0..steps {
            while !pace.is_full(500) {
                pace.unsynced += 500;
            }
            let put = pace.unsynced;
            pace.synced(put * times);
        }
        pace.step
    }

    #[test]
    fn the_log_grows_by_no_more_than_it_should_once_its_growth_is_known() {
        for times in [1, 3, 5, 8, 12, 20] {
            let mut pace = Pace::default();
            let step = after(1, &mut pace, times);
            assert!(step * times <= LOG_BYTES.max(SHORTEST_STEP * times) + 500 * times);
        }
    }

    #[test]
    fn steps_become_long_again_and_never_too_short() {
        let mut pace = Pace::default();
        assert_eq!(after(3, &mut pace, 1_000), SHORTEST_STEP);
        assert!(after(5, &mut pace, 2) < STEP_BYTES);
        assert!(after(60, &mut pace, 2) > STEP_BYTES - 500);
    }

    #[test]
    fn what_is_larger_than_a_step_comes_alone() {
        let mut pace = Pace::default();
        assert!(!pace.is_full(STEP_BYTES * 2));
        pace.unsynced = 1;
        assert!(pace.is_full(STEP_BYTES));
        pace.synced(10);
        assert_eq!(pace.unsynced, 0);
    }
}
