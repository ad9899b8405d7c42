use super::*;

fn books(length: usize) -> Books {
    Books {
        free: vec![(0, length)],
        refusals: Refusals::default(),
    }
}

#[test]
fn what_was_given_back_is_one_hole_again_in_whatever_order() {
    let mut books = books(320);
    let taken: Vec<_> = (0..10).map(|_| books.take(32).unwrap()).collect();
    assert_eq!(books.take(32), None);
    assert!(books.free.is_empty());
    for at in [3, 1, 2, 9, 0, 5, 7, 4, 8, 6] {
        books.give_back(taken[at], 32);
    }
    assert_eq!(books.free, [(0, 320)]);
    assert_eq!(books.take(320), Some(0));
}

#[test]
fn holes_are_used_again_and_never_overlap() {
    let mut books = books(1_024);
    let mut taken: Vec<(usize, usize)> = Vec::new();
    let mut state = 1_usize;
    for _ in 0..10_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let choice = state >> 40;
        let length = 32 * (1 + choice % 5);
        if !choice.is_multiple_of(3)
            && let Some(offset) = books.take(length)
        {
            assert!(offset + length <= 1_024);
            assert!(
                taken
                    .iter()
                    .all(|(start, room)| offset + length <= *start || start + room <= offset)
            );
            taken.push((offset, length));
        } else if !taken.is_empty() {
            let (offset, length) = taken.swap_remove(choice % taken.len());
            books.give_back(offset, length);
        }
        let free: usize = books.free.iter().map(|(_, room)| room).sum();
        let used: usize = taken.iter().map(|(_, room)| room).sum();
        assert_eq!(free + used, 1_024);
        assert!(
            books
                .free
                .windows(2)
                .all(|pair| pair[0].0 + pair[0].1 < pair[1].0)
        );
    }
}

#[test]
fn a_block_begins_with_zeros_and_leaves_zeros() {
    for home in [Home::Vault, Home::Caller] {
        let mut block = Block::zeroed(100, home);
        assert_eq!(&*block, &[0; 100]);
        block.fill(7);
        let Place::Arena { start, .. } = &block.place else {
            panic!("it is not in the arena");
        };
        let start = *start;
        drop(block);
        // SAFETY: the mapping stays; nobody else allocates these bytes for longer than this test minds.
        let left = unsafe { std::slice::from_raw_parts(start.as_ptr(), 100) };
        assert!(left.iter().all(|byte| *byte != 7));
    }
}

#[test]
fn what_is_too_large_lives_on_the_heap_and_is_counted() {
    let before = refusals(Home::Caller).on_heap;
    let block = Block::zeroed(LARGEST_BLOCK + 1, Home::Caller);
    assert!(matches!(block.place, Place::Heap { .. }));
    assert_eq!(refusals(Home::Caller).on_heap, before + 1);
    drop(block);
    assert_eq!(refusals(Home::Caller).on_heap, before);
}

#[test]
fn an_arena_that_is_full_is_not_the_end() {
    let blocks: Vec<_> = (0..20)
        .map(|_| Block::zeroed(4_096, Home::Caller))
        .collect();
    let on_heap = |block: &&Block| matches!(block.place, Place::Heap { .. });
    assert!(blocks.iter().filter(on_heap).count() >= 4);
}
