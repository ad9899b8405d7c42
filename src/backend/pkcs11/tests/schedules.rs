//! The gate and the pool under thousands of orders in which threads can meet. Nobody is inside the gate with somebody who
//! excludes others. No session of the pool is in two hands, none is lost, there are never more than allowed, and one
//! thread connects at a time, whatever is lost meanwhile. Nobody waits for ever: a scheduler picks the orders, and finds
//! it when all threads wait. And no object of a wrapped key is destroyed, or another key's, while somebody works with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::store::tests::programme::{Figures, cases};

#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the model uses a part of it, made of other locks"
)]
#[path = "../gate.rs"]
mod gate;

#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the model uses a part of it, made of other locks"
)]
#[path = "../attachment.rs"]
mod attachment;

#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the model uses a part of it, made of other locks"
)]
#[path = "../pool.rs"]
mod pool;

#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the model uses a part of it, made of other locks"
)]
#[path = "../seats.rs"]
mod seats;

#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the model uses a part of it, made of other locks"
)]
#[path = "../kept_object.rs"]
mod kept_object;

/// Where they look for them.
use crate::backend::pkcs11::{error, mechanism, raw, token_info};
mod module {
    //! Sessions that are only counted.

    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use super::error::TokenResult;
    use super::mechanism::Ulong;
    use super::token_info::TokenInfo;

    /// The sessions that are open.
    pub(super) type Sessions = Arc<Mutex<(usize, BTreeSet<usize>)>>;

    #[derive(Debug)]
    pub(super) struct ModuleSession {
        pub(super) number: usize,
        pub(super) attachment: u64,
        all: Sessions,
    }

    impl ModuleSession {
        pub(super) fn open(all: &Sessions, attachment: u64) -> Self {
            let mut sessions = all.lock().unwrap();
            sessions.0 += 1;
            let number = sessions.0;
            sessions.1.insert(number);
            drop(sessions);
            Self {
                number,
                attachment,
                all: Arc::clone(all),
            }
        }
    }

    impl Drop for ModuleSession {
        fn drop(&mut self) {
            assert!(self.all.lock().unwrap().1.remove(&self.number));
        }
    }

    /// The pool asks it whether a token is there.
    pub(super) struct Module;

    impl Module {
        pub(super) fn functions(&self) -> &Self {
            self
        }

        pub(super) fn token_info(&self, _slot: Ulong) -> TokenResult<TokenInfo> {
            Ok(super::info())
        }
    }
}
mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard};

    /// Fewer seats than threads: some share one.
    pub(super) fn thread_number() -> usize {
        usize::from(shuttle::thread::current().id()) % 3
    }
}

/// Nobody waits so long: who gives up has waited for nothing.
const PATIENCE: Duration = Duration::from_secs(3_600);

fn meet() {
    let gate = Arc::new(gate::Gate::default());
    let inside = Arc::new(AtomicUsize::new(0));
    let mut threads = Vec::new();
    for _ in 0..3 {
        let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
        threads.push(shuttle::thread::spawn(move || {
            for _ in 0..2 {
                let permit = gate.enter(PATIENCE).unwrap();
                inside.fetch_add(1, Ordering::SeqCst);
                shuttle::thread::yield_now();
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(permit);
            }
        }));
    }
    for _ in 0..2 {
        let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
        threads.push(shuttle::thread::spawn(move || {
            let alone = gate.exclude(PATIENCE).unwrap();
            assert_eq!(inside.fetch_add(100, Ordering::SeqCst), 0, "not alone");
            shuttle::thread::yield_now();
            assert_eq!(inside.fetch_sub(100, Ordering::SeqCst), 100, "not alone");
            drop(alone);
        }));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    // Nothing is left over.
    drop(gate.exclude(PATIENCE).unwrap());
}

fn info() -> token_info::TokenInfo {
    token_info::TokenInfo {
        label: String::new(),
        serial: "1".to_owned(),
        manufacturer: String::new(),
        model: String::new(),
        firmware: (1, 0),
        initialized: true,
        login_required: true,
        write_protected: false,
        user_pin_locked: false,
        user_pin_final_try: false,
        user_pin_count_low: false,
        officer_pin_locked: false,
        officer_pin_final_try: false,
        max_rw_sessions: None,
    }
}

const MOST_SESSIONS: usize = 2;

/// What happens to the first work of each thread.
#[derive(Clone, Copy)]
enum Fate {
    Well,
    Refused,
    SessionLost,
    TokenLost,
    /// The module is started anew, for another of its tokens.
    Restarted,
}

struct Shop {
    pool: pool::Pool,
    most_sessions: usize,
    sessions: module::Sessions,
    connecting: AtomicUsize,
    /// Of the module.
    generation: AtomicU64,
    /// The last attachment of which everybody was told that it is lost.
    lost: std::sync::atomic::AtomicU64,
    /// Of the attachment of this number, at work.
    at_work: std::sync::Mutex<BTreeMap<u64, usize>>,
}

impl Shop {
    fn checkout(&self) -> seats::Loan<'_> {
        loop {
            let generation = self.generation.load(Ordering::SeqCst);
            if let Some(own) = self.pool.own_session(generation) {
                return own;
            }
            match self.pool.turn(generation).unwrap() {
                pool::Turn::Use(seated) => return seats::Loan::Loose(seated),
                pool::Turn::Open(attachment) => {
                    let session = module::ModuleSession::open(&self.sessions, attachment.number);
                    return seats::Loan::Loose(seats::Seated {
                        session,
                        attachment,
                    });
                }
                pool::Turn::Connect { .. } => self.connect(),
                pool::Turn::Wait => self.pool.wait(&mut None).unwrap(),
            }
        }
    }

    fn connect(&self) {
        let attach = || {
            assert_eq!(self.connecting.fetch_add(1, Ordering::SeqCst), 0, "twice");
            let number = self.pool.next_number();
            shuttle::thread::yield_now();
            // What a lost attachment has left goes first, as it does before a login.
            drop(self.pool.take_sessions());
            assert_eq!(self.connecting.fetch_sub(1, Ordering::SeqCst), 1, "twice");
            let attachment = attachment::Attachment {
                slot: 0,
                info: info(),
                generation: self.generation.load(Ordering::SeqCst),
                number,
            };
            let anchor = module::ModuleSession::open(&self.sessions, number);
            Ok((attachment, anchor))
        };
        self.pool.connect(attach, || 0).unwrap();
    }

    fn work(&self, fate: Fate) {
        let lost = self.lost.load(Ordering::SeqCst);
        let generation = self.generation.load(Ordering::SeqCst);
        let loan = self.checkout();
        let attachment = Arc::clone(&loan.seated().attachment);
        let (number, of) = (attachment.number, loan.seated().session.attachment);
        assert_eq!(of, number, "a session of another login");
        assert!(number > lost, "a session of a lost token");
        assert!(attachment.generation >= generation, "a dead session");
        *self.at_work.lock().unwrap().entry(number).or_default() += 1;
        assert!(self.at_work.lock().unwrap()[&number] <= self.most_sessions);
        shuttle::thread::yield_now();
        *self.at_work.lock().unwrap().entry(number).or_default() -= 1;
        match fate {
            Fate::Well | Fate::Refused => {}
            Fate::SessionLost => self.pool.session_lost(&attachment, |_| false),
            Fate::TokenLost => self.pool.token_lost(&attachment, true),
            Fate::Restarted => {
                self.generation.fetch_add(1, Ordering::SeqCst);
            }
        }
        if matches!(fate, Fate::SessionLost | Fate::TokenLost) {
            self.lost.fetch_max(number, Ordering::SeqCst);
        }
        let keep = matches!(fate, Fate::Well);
        self.pool.give_back(loan, keep);
    }
}

/// Each thread works well so many times before its fate and after it.
fn share(fates: &'static [Fate], most_sessions: usize, before: usize, after: usize) {
    let shop = Arc::new(Shop {
        pool: pool::Pool::new(Some(most_sessions), PATIENCE),
        most_sessions,
        sessions: module::Sessions::default(),
        connecting: AtomicUsize::new(0),
        generation: AtomicU64::new(0),
        lost: std::sync::atomic::AtomicU64::new(0),
        at_work: std::sync::Mutex::default(),
    });
    let threads: Vec<_> = fates
        .iter()
        .map(|&fate| {
            let shop = Arc::clone(&shop);
            shuttle::thread::spawn(move || {
                (0..before).for_each(|_| shop.work(Fate::Well));
                shop.work(fate);
                (0..after).for_each(|_| shop.work(Fate::Well));
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let left = shop.pool.take_sessions();
    let last = left.last().map(|anchor| anchor.attachment);
    assert!(
        left.iter().all(|session| Some(session.attachment) == last),
        "of an earlier login"
    );
    assert!(
        (1..=1 + most_sessions).contains(&left.len()),
        "{}",
        left.len()
    );
    assert_eq!(
        shop.sessions.lock().unwrap().1.len(),
        left.len(),
        "lost ones"
    );
    drop(left);
    // And the pool works as on the first day.
    shop.work(Fate::Well);
}

#[test]
fn sessions_are_shared_in_every_order() {
    use Fate::{Refused, Restarted, SessionLost, TokenLost, Well};
    let figures = Figures::begin("orders of threads at the token's sessions");
    let count = cases(5_000, 500_000);
    let three: [&[Fate]; 6] = [
        &[Well, Well, Well],
        &[Well, Refused, SessionLost],
        &[Well, TokenLost, TokenLost],
        &[SessionLost, TokenLost, Well],
        &[SessionLost, SessionLost, SessionLost],
        &[Well, Restarted, Well],
    ];
    // Somebody waits nearly always, and nobody else tells him.
    let one: [&[Fate]; 3] = [&[Well, Well], &[Well, TokenLost], &[Well, Well, Well]];
    // The other's session is in its seat when the login is lost.
    let two: [&[Fate]; 1] = [&[Well, SessionLost]];
    let three = three.map(|fates| (fates, MOST_SESSIONS, 0, 2, count / 12));
    let one = one.map(|fates| (fates, 1, 0, 1, count / 5));
    let two = two.map(|fates| (fates, MOST_SESSIONS, 1, 1, count / 5));
    for (fates, sessions, before, after, each) in three.into_iter().chain(one).chain(two) {
        shuttle::check_random(move || share(fates, sessions, before, after), each);
        shuttle::check_pct(move || share(fates, sessions, before, after), each, 3);
        figures.count(2 * each);
    }
    figures.finish();
}

#[test]
fn whoever_excludes_others_is_alone_in_every_order() {
    let figures = Figures::begin("orders of threads at the token's gate");
    let count = cases(5_000, 500_000);
    shuttle::check_random(meet, count);
    shuttle::check_pct(meet, count, 3);
    figures.count(2 * count);
    figures.finish();
}

/// Rooms for the objects of two keys, with place for one object, and the token that has them.
#[derive(Default)]
struct Rooms {
    rooms: [Arc<kept_object::KeptObject>; 2],
    epoch: AtomicU64,
    owner: Mutex<Owner>,
    /// Objects that are there: of which key, and of which epoch.
    token: std::sync::Mutex<BTreeMap<u64, (usize, u64)>>,
}

#[derive(Default)]
struct Owner {
    last: u64,
    present: Vec<usize>,
    /// Destroyed when nobody works in its room.
    withdrawn: Vec<(usize, u64)>,
}

impl Rooms {
    fn work(&self, key: usize) {
        let epoch = self.epoch.load(Ordering::SeqCst);
        let pin = match kept_object::Pin::of(Arc::clone(&self.rooms[key]), epoch, 0) {
            Some(pin) => pin,
            None => self.unwrap(key, epoch),
        };
        for _ in 0..2 {
            let object = self.token.lock().unwrap().get(&pin.handle().0).copied();
            let (of, since) = object.expect("destroyed at work");
            assert_eq!(of, key, "another key's");
            assert!(since >= epoch, "of an earlier epoch");
            shuttle::thread::yield_now();
        }
    }

    fn unwrap(&self, key: usize, epoch: u64) -> kept_object::Pin<Arc<kept_object::KeptObject>> {
        let mut owner = self.owner.lock().unwrap();
        self.destroy_withdrawn(&mut owner);
        let room = Arc::clone(&self.rooms[key]);
        if owner.present.contains(&key) {
            return kept_object::Pin::of(room, epoch, 0).expect("it is there");
        }
        owner.last += 1;
        let (handle, now) = (owner.last, self.epoch.load(Ordering::SeqCst));
        self.token.lock().unwrap().insert(handle, (key, now));
        room.fill(raw::ObjectHandle(handle), now, 0);
        owner.present.push(key);
        let pin = kept_object::Pin::of(room, epoch, 0).expect("it is there");
        let other = 1 - key;
        if owner.present.contains(&other)
            && let Some(handle) = self.rooms[other].take_idle()
        {
            owner.present.retain(|present| *present != other);
            assert!(self.token.lock().unwrap().remove(&handle.0).is_some());
        }
        pin
    }

    /// The token is connected anew.
    fn renew(&self) {
        let mut owner = self.owner.lock().unwrap();
        self.epoch.fetch_add(1, Ordering::SeqCst);
        for key in std::mem::take(&mut owner.present) {
            owner.withdrawn.push((key, self.rooms[key].handle().0));
            self.rooms[key].withdraw();
        }
        self.destroy_withdrawn(&mut owner);
    }

    fn destroy_withdrawn(&self, owner: &mut Owner) {
        owner.withdrawn.retain(|(key, handle)| {
            let idle = self.rooms[*key].is_idle();
            if idle {
                assert!(self.token.lock().unwrap().remove(handle).is_some());
            }
            !idle
        });
    }
}

fn work_with_objects(keys: [[usize; 2]; 3], renewals: usize) {
    let rooms = Arc::new(Rooms::default());
    let mut threads = Vec::new();
    for keys in keys {
        let rooms = Arc::clone(&rooms);
        threads.push(shuttle::thread::spawn(move || {
            keys.into_iter().for_each(|key| rooms.work(key));
        }));
    }
    let others = Arc::clone(&rooms);
    threads.push(shuttle::thread::spawn(move || {
        (0..renewals).for_each(|_| others.renew());
    }));
    for thread in threads {
        thread.join().unwrap();
    }
    rooms.renew();
    assert!(rooms.token.lock().unwrap().is_empty(), "left over");
}

#[test]
fn no_object_goes_while_somebody_works_with_it_in_every_order() {
    let figures = Figures::begin("orders of threads at the objects of wrapped keys");
    let count = cases(6_000, 600_000);
    for (keys, renewals) in [
        ([[0, 0], [0, 1], [1, 0]], 0),
        ([[0, 0], [0, 0], [0, 1]], 2),
        ([[0, 1], [1, 0], [0, 1]], 1),
    ] {
        shuttle::check_random(move || work_with_objects(keys, renewals), count / 3);
        shuttle::check_pct(move || work_with_objects(keys, renewals), count / 3, 3);
        figures.count(2 * (count / 3));
    }
    figures.finish();
}
