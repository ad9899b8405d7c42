//! The sessions of one token: the anchor, which holds the login, and a bounded number of those that work.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::attachment::Attachment;
use super::error::{ErrorClass, TokenError, TokenResult};
use super::module::ModuleSession;
use super::seats::{Loan, Seated, Seats};
use super::sync::{Condvar, Mutex, MutexGuard};
use super::token_info::TokenInfo;
use crate::env::{Entropy, OsEntropy};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often somebody who waits looks again unasked. Whoever leaves a session in its seat may, on some processors, see too
/// late that somebody waits.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Default)]
pub(super) struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    limit: Option<usize>,
    timeout: Duration,
    seats: Seats,
}

#[derive(Default)]
struct State {
    attachment: Option<Arc<Attachment>>,
    anchor: Option<ModuleSession>,
    /// Those that found no seat, or were given back while somebody waited.
    idle: Vec<Seated>,
    /// Those at rest, here and in seats, and those at work, of this attachment.
    open: usize,
    limit: usize,
    attachments: u64,
    connecting: bool,
    waiting: usize,
    /// The generation of the module whose token was lost, if the module has to be restarted for it.
    lost: Option<u64>,
    /// Whether nothing has gone well since the token was connected again without a restart of the module.
    doubtful: bool,
    failures: u32,
    pause: Option<Pause>,
}

/// After a failed attempt to connect nobody tries again for a while.
struct Pause {
    until: Instant,
    error: TokenError,
}

/// What a caller who wants a session has to do.
pub(super) enum Turn {
    Use(Seated),
    /// Open a session; its place is reserved.
    Open(Arc<Attachment>),
    /// Connect; everybody else waits. `lost` is the generation of the module whose token was lost.
    Connect {
        lost: Option<u64>,
    },
    Wait,
}

impl Pool {
    pub(super) fn new(limit: Option<usize>, timeout: Duration) -> Self {
        Self {
            limit,
            timeout,
            ..Self::default()
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The session that this thread used last, without a question to anybody. The caller holds a permit, as for
    /// [`Pool::turn`].
    pub(super) fn own_session(&self, generation: u64) -> Option<Loan<'_>> {
        let own = Loan::Seat(self.seats.own()?);
        let attachment = &own.seated().attachment;
        if self.seats.is_free_for(attachment) && attachment.generation == generation {
            return Some(own);
        }
        // Whoever wanted all that are at rest may have met this one in hand.
        self.give_back(own, true);
        None
    }

    pub(super) fn turn(&self, generation: u64) -> TokenResult<Turn> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.connecting {
            return Ok(Turn::Wait);
        }
        if let Some(attachment) = &state.attachment
            && attachment.generation == generation
        {
            let idle = state.idle.pop();
            if let Some(seated) = idle.or_else(|| self.seats.take_one(attachment)) {
                return Ok(Turn::Use(seated));
            }
            let attachment = Arc::clone(attachment);
            if state.open < state.limit {
                state.open += 1;
                return Ok(Turn::Open(attachment));
            }
            return Ok(Turn::Wait);
        }
        if let Some(pause) = &state.pause
            && Instant::now() < pause.until
        {
            return Err(pause.error.clone());
        }
        state.connecting = true;
        Ok(Turn::Connect { lost: state.lost })
    }

    /// Waits until a turn may be had.
    pub(super) fn wait(&self, since: &mut Option<Instant>) -> TokenResult<()> {
        let start = *since.get_or_insert_with(Instant::now);
        let mut state = self.lock();
        loop {
            // Whoever gives a session back is to tell.
            self.seats.close();
            let ready = !state.connecting
                && (state.attachment.is_none()
                    || !state.idle.is_empty()
                    || state.open < state.limit
                    || self.seats.any_at_rest());
            if ready {
                return Ok(());
            }
            let Some(left) = self.timeout.checked_sub(start.elapsed()) else {
                return Err(TokenError::with_detail(
                    ErrorClass::Throttled,
                    "wait",
                    "all sessions with the token are in use; try again later, or allow more sessions",
                ));
            };
            state.waiting += 1;
            state = self
                .changed
                .wait_timeout(state, left.min(LOOK))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.waiting -= 1;
        }
    }

    /// A session could not be opened. Whether others are at work, so that waiting for one of theirs helps.
    pub(super) fn not_opened(&self, attachment: &Attachment, error: &TokenError) -> bool {
        let mut state = self.lock();
        if !state.is_current(attachment) {
            return false;
        }
        state.open -= 1;
        let full = error.class == ErrorClass::Throttled && state.open > 0;
        if full {
            // The token has fewer than it promised, or somebody else uses them.
            state.limit = state.open;
        }
        self.notify(&state);
        full
    }

    /// Takes a session back; one that is not to be kept is closed. The caller holds a permit.
    pub(super) fn give_back(&self, loan: Loan<'_>, keep: bool) {
        let seated = match loan {
            Loan::Seat(occupied) if keep => match self.seats.leave(occupied) {
                Some(seated) => seated,
                None => return,
            },
            Loan::Seat(occupied) => occupied.take(),
            Loan::Loose(seated) => seated,
        };
        let mut dropped = None;
        let mut state = self.lock();
        let current = state.is_current(&seated.attachment);
        if current && keep && state.open <= state.limit {
            state.doubtful = false;
            let left = if state.waiting == 0 {
                self.seats.free_for(&seated.attachment);
                self.seats.put(seated)
            } else {
                Some(seated)
            };
            state.idle.extend(left);
        } else {
            dropped = Some(seated);
        }
        if current {
            if dropped.is_some() {
                state.open -= 1;
            }
            self.notify(&state);
        }
        drop(state);
        drop(dropped);
    }

    /// The token of this attachment is gone: the next who wants a session connects. While the token still
    /// `answers`, that is first tried without restarting the module.
    pub(super) fn token_lost(&self, attachment: &Attachment, answers: bool) {
        let mut state = self.lock();
        if state.is_current(attachment) {
            let gently = answers && !state.doubtful;
            state.doubtful = gently;
            state.lost = (!gently).then_some(attachment.generation);
            state.attachment = None;
            self.seats.close();
            self.notify(&state);
        }
    }

    /// A session of this attachment was dead or not logged in. The idle ones are no better; when the anchor is
    /// not either, the next who wants a session logs in anew. The caller holds a permit.
    pub(super) fn session_lost(
        &self,
        attachment: &Attachment,
        alive: impl FnOnce(&ModuleSession) -> bool,
    ) {
        let mut state = self.lock();
        if !state.is_current(attachment) {
            return;
        }
        let mut idle = std::mem::take(&mut state.idle);
        idle.extend(std::iter::from_fn(|| self.seats.take_one(attachment)));
        state.open -= idle.len();
        if !state.anchor.as_ref().is_some_and(alive) {
            state.attachment = None;
            self.seats.close();
        }
        self.notify(&state);
        drop(state);
        drop(idle);
    }

    /// Takes all sessions that are not at work.
    pub(super) fn take_sessions(&self) -> Vec<ModuleSession> {
        let mut state = self.lock();
        state.attachment = None;
        state.open = 0;
        self.seats.close();
        let anchor = state.anchor.take();
        let mut idle = std::mem::take(&mut state.idle);
        idle.extend(self.seats.take_all());
        let mut sessions: Vec<_> = idle.into_iter().map(|seated| seated.session).collect();
        // The anchor last: with it the login ends.
        sessions.extend(anchor);
        sessions
    }

    pub(super) fn next_number(&self) -> u64 {
        let mut state = self.lock();
        state.attachments += 1;
        state.attachments
    }

    /// Connects by `connect`, after a [`Turn::Connect`]. `generation` tells in which generation the module is.
    pub(super) fn connect(
        &self,
        connect: impl FnOnce() -> TokenResult<(Attachment, ModuleSession)>,
        generation: impl Fn() -> u64,
    ) -> TokenResult<()> {
        // Should the caller's own code panic in there, others may still connect.
        let guard = Connecting { pool: self };
        let outcome = connect();
        let mut state = self.lock();
        let result = match outcome {
            Ok((attachment, anchor)) => {
                state.limit = self.limit_for(&attachment.info);
                state.open = 0;
                state.attachment = Some(Arc::new(attachment));
                state.anchor = Some(anchor);
                state.lost = None;
                state.failures = 0;
                state.pause = None;
                Ok(())
            }
            Err(error) => {
                let pause = pause_after(state.failures);
                state.failures = state.failures.saturating_add(1);
                state.pause = Some(Pause {
                    until: Instant::now() + pause,
                    error: error.clone(),
                });
                if error.class == ErrorClass::TokenLost {
                    // Modules may see only at their start which tokens there are.
                    state.lost = Some(generation());
                }
                Err(error)
            }
        };
        drop(state);
        drop(guard);
        result
    }

    fn limit_for(&self, info: &TokenInfo) -> usize {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let wanted = self.limit.unwrap_or(cpus.saturating_mul(2));
        // One is the anchor.
        let offered = info.max_rw_sessions.map_or(usize::MAX, |max| max - 1);
        wanted.min(offered).max(1)
    }

    fn notify(&self, state: &State) {
        // Waking nobody would still cost a system call.
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One caller is connecting.
struct Connecting<'a> {
    pool: &'a Pool,
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.connecting = false;
        self.pool.notify(&state);
    }
}

impl State {
    fn is_current(&self, attachment: &Attachment) -> bool {
        self.attachment
            .as_ref()
            .is_some_and(|current| current.number == attachment.number)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Pool")
            .field("attachment", &state.attachment)
            .field("open", &state.open)
            .field("idle", &(state.idle.len() + self.seats.count_at_rest()))
            .field("limit", &state.limit)
            .finish_non_exhaustive()
    }
}

/// Doubles with every failure; between half and all of it, so that several processes do not meet again.
pub(super) fn pause_after(failures: u32) -> Duration {
    let pause = FIRST_PAUSE
        .saturating_mul(2u32.saturating_pow(failures))
        .min(LONGEST_PAUSE);
    let mut byte = [u8::MAX];
    // Without randomness the whole pause is right too.
    let _ = OsEntropy.fill(&mut byte);
    pause / 2 + (pause / 2) * u32::from(byte[0]) / 255
}
