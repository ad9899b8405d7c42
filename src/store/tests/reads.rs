//! Reads beside groups: what they do not wait for, and what they are not repeated for.

use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use super::*;

/// A store whose points call what is put into the slot, once.
type Slot = Arc<Mutex<Option<(&'static str, Box<dyn FnOnce() + Send>)>>>;

fn with_slot(place: &Place) -> (Arc<Store>, Slot) {
    let slot = Slot::default();
    let own = Arc::clone(&slot);
    let points = Points::calling(move |point| {
        let mut waiting = own.lock().unwrap();
        let called = waiting.take_if(|(at, _)| *at == point);
        drop(waiting);
        if let Some((_, work)) = called {
            work();
        }
        Ok(())
    });
    let mode = OpenMode {
        points,
        ..OpenMode::default()
    };
    (Arc::new(place.open_with(mode)), slot)
}

#[test]
fn the_first_read_of_a_bucket_does_not_wait_for_the_group_in_flight() {
    let there = put(key_object(1), 100);
    let place = Place::with(vec![there.clone()]);
    let (store, slot) = with_slot(&place);
    let (reached, is_reached) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let hold = move || {
        reached.send(()).unwrap();
        // Ends also when the test fails.
        let _ = may_go_on.recv();
    };
    *slot.lock().unwrap() = Some(("sync journal", Box::new(hold)));
    let own = Arc::clone(&store);
    let writer = thread::spawn(move || own.commit(vec![put(key_object(2), 100)]));
    is_reached.recv().unwrap();

    let (answer, answered) = mpsc::channel();
    let own = Arc::clone(&store);
    let reader = thread::spawn(move || {
        let found = [1, 2, 3].map(|number| get(&own, &key_object(number)).unwrap());
        answer.send(found).unwrap();
    });
    // Were it to wait, it would for ever.
    let found = answered.recv_timeout(std::time::Duration::from_secs(60));
    drop(go_on);
    reader.join().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(found.unwrap(), [Some(of(&there)), None, None]);
    assert!(get(&store, &key_object(2)).unwrap().is_some());
}

#[test]
fn a_bucket_that_changes_while_it_is_verified_is_still_sound() {
    let before = put(key_object(1), 100);
    let after = put(key_object(1), 200);
    let place = Place::with(vec![before]);
    let (store, slot) = with_slot(&place);
    let (own, change) = (Arc::clone(&store), after.clone());
    let overtake = move || {
        let changes = vec![change, put(version(1, 1), 300)];
        let writer = thread::spawn(move || own.commit(changes));
        writer.join().unwrap().unwrap();
    };
    *slot.lock().unwrap() = Some(("verify bucket", Box::new(overtake)));
    assert_eq!(get(&store, &key_object(1)).unwrap(), Some(of(&after)));
    assert!(slot.lock().unwrap().is_none(), "the change came in between");
    store.commit(vec![put(version(1, 2), 300)]).unwrap();
    assert_eq!(store.check().unwrap().findings, []);
}

#[test]
fn a_bucket_that_a_reader_verified_is_counted_on_from_what_it_held() {
    let place = Place::with(vec![put(key_object(1), 100), put(version(1, 1), 100)]);
    let store = place.open();
    get(&store, &key_object(1)).unwrap();
    store.commit(vec![put(version(1, 2), 100)]).unwrap();
    store.commit(vec![Change::Remove(version(1, 1))]).unwrap();
    assert_eq!(store.state().record_count, 2);
    assert_eq!(store.check().unwrap().findings, []);
}

/// How often a read of key 1 runs while a group with this change lands in it.
fn runs_beside(change: impl Fn() -> Change) -> usize {
    let place = Place::with(vec![put(key_object(1), 100)]);
    let store = place.open();
    let runs = AtomicUsize::new(0);
    let found = store.read(|view| {
        let first = view.record(&key_object(1))?;
        if runs.fetch_add(1, Ordering::SeqCst) == 0 {
            store.commit(vec![change()])?;
        }
        Ok([first, view.record(&key_object(1))?])
    });
    let [first, second] = found.unwrap();
    assert_eq!(first, second, "a read sees one state");
    runs.load(Ordering::SeqCst)
}

#[test]
fn a_read_of_one_bucket_is_repeated_for_a_change_of_it_alone() {
    assert_eq!(runs_beside(|| put(key_object(2), 100)), 1);
    assert_eq!(runs_beside(|| put(IndexKey::settings(1), 100)), 1);
    assert_eq!(runs_beside(|| put(key_object(1), 200)), 2);
    assert_eq!(runs_beside(|| put(version(1, 1), 200)), 2);
}

#[test]
fn a_read_of_more_is_repeated_for_every_change() {
    let place = Place::with(vec![put(key_object(1), 100), put(key_object(2), 100)]);
    let store = place.open();
    for more in [key_object(2), IndexKey::settings(1)] {
        let mut runs = 0;
        store
            .read(|view| {
                view.record(&key_object(1))?;
                view.record(&more)?;
                runs += 1;
                if runs == 1 {
                    store.commit(vec![put(key_object(3), 100)])?;
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(runs, 2);
    }
}
