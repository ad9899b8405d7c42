//! Batches that make keys: each item as a single call would make it, and all of them together on the way to the disk.

use std::collections::HashMap;

use super::act::Begun;
use super::drafts::{Draft, NewVersion};
use super::intents::Creation;
use super::versions::outrun;
use super::{Inner, Operation, Vault};
use crate::error::{Error, Result};
use crate::format::record::IndexKey;
use crate::model::name::KeyName;
use crate::model::results::KeyBundle;

/// So many items are made, locked and committed together: enough to fill some commits, and little that others
/// have to wait for or that is held in memory.
const ROUND: usize = 128;

/// In which order the items are carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    AsGiven,
    /// As the records stand in the store.
    OfTheIndex,
}

/// An item of the current round.
struct Item<'a> {
    at: usize,
    name: &'a KeyName,
    begun: Begun<'a>,
}

impl Vault {
    /// Carries out `operation` for each item: `draft` says what is to be made. The results are in the order of the items.
    pub(super) fn make_many<O>(
        &self,
        operation: Operation,
        items: Vec<(KeyName, O)>,
        order: Order,
        draft: impl for<'i, 'n> Fn(&'i Inner, &'n KeyName, O) -> Result<Draft<'i>>,
    ) -> Vec<Result<KeyBundle>> {
        let (names, mut wanted): (Vec<_>, Vec<_>) = items
            .into_iter()
            .map(|(name, options)| (name, Some(options)))
            .unzip();
        let mut of_this_name: HashMap<&KeyName, usize> = HashMap::with_capacity(names.len());
        for name in &names {
            *of_this_name.entry(name).or_default() += 1;
        }
        let mut results: Vec<Option<Result<KeyBundle>>> = names.iter().map(|_| None).collect();
        for round in self.in_order(&names, order).chunks(ROUND) {
            let mut making = Vec::with_capacity(round.len());
            for &at in round {
                let name = &names[at];
                let begun = match self.begin(operation, name) {
                    Ok(begun) => begun,
                    Err(error) => {
                        results[at] = Some(Err(error));
                        continue;
                    }
                };
                let drafted = match wanted[at].take() {
                    _ if of_this_name.get(name) != Some(&1) => Err(collision()),
                    Some(options) => draft(&self.inner, name, options),
                    None => Err(Error::internal("an item of a batch came twice")),
                };
                let item = Item { at, name, begun };
                match drafted {
                    Ok(drafted) => making.push((item, drafted)),
                    Err(error) => results[at] = Some(item.begun.end(Err(error))),
                }
            }
            for (item, made) in self.inner.make_round(making) {
                results[item.at] = Some(item.begun.end(made));
            }
        }
        let lost = || Err(Error::internal("an item of a batch has no result"));
        results
            .into_iter()
            .map(|result| result.unwrap_or_else(lost))
            .collect()
    }

    fn in_order(&self, names: &[KeyName], order: Order) -> Vec<usize> {
        let mut places: Vec<usize> = (0..names.len()).collect();
        if order == Order::OfTheIndex {
            let hierarchy = &self.inner.hierarchy;
            places.sort_by_cached_key(|at| {
                *IndexKey::key_object(hierarchy.name_prf(&names[*at])).as_bytes()
            });
        }
        places
    }
}

impl Inner {
    /// What [`Inner::make_version`] does, for several: step by step for all, so that they share what a step waits for.
    fn make_round<'a>(
        &self,
        items: Vec<(Item<'a>, Draft<'_>)>,
    ) -> Vec<(Item<'a>, Result<KeyBundle>)> {
        let mut done = Vec::with_capacity(items.len());
        let backends: Vec<_> = items
            .iter()
            .map(|(_, draft)| (draft.backend(), draft.tag()))
            .collect();
        let creations = self.begin_creations(backends);
        let mut made = Vec::with_capacity(items.len());
        for ((item, draft), creation) in items.into_iter().zip(creations) {
            match creation {
                Err(error) => done.push((item, Err(error))),
                Ok(creation) => match self.make_drafted(draft) {
                    Ok(version) => made.push((item, creation, version)),
                    Err(error) => {
                        self.finish_creation(&creation, false);
                        done.push((item, Err(error)));
                    }
                },
            }
        }
        for (item, creation, outcome) in self.add_versions(made) {
            self.finish_creation(&creation, outcome.is_ok());
            done.push((item, outcome));
        }
        done
    }

    /// What [`Inner::add_version`] does, for several.
    fn add_versions<'a, 'c>(
        &self,
        made: Vec<(Item<'a>, Creation<'c>, NewVersion)>,
    ) -> Vec<(Item<'a>, Creation<'c>, Result<KeyBundle>)> {
        let _guards = self
            .locks
            .lock_all(made.iter().map(|(item, _, _)| item.name));
        let mut done = Vec::with_capacity(made.len());
        // A place may ask for a purge, which is a commit of its own and not for whoever holds `sealing`.
        let placed: Vec<_> = made
            .into_iter()
            .filter_map(|(item, creation, version)| {
                let placed = self
                    .place_version(item.begun.act(), item.name, version)
                    .and_then(|placed| placed.ok_or_else(outrun));
                match placed {
                    Ok(placed) => Some((item, creation, placed)),
                    Err(error) => {
                        done.push((item, creation, Err(error)));
                        None
                    }
                }
            })
            .collect();
        let sealing = self.header.sealing();
        let mut sealed = Vec::with_capacity(placed.len());
        let mut changes = Vec::with_capacity(placed.len());
        for (item, creation, placed) in placed {
            match self.seal_placed(&sealing, &placed, &creation) {
                Ok(change) => {
                    changes.push(change);
                    sealed.push((item, creation, placed));
                }
                Err(error) => done.push((item, creation, Err(error))),
            }
        }
        let wanted = sealed
            .iter()
            .zip(changes)
            .map(|((item, _, _), changes)| (item.begun.act(), item.name, changes))
            .collect();
        let committed = self.commit_each(wanted);
        drop(sealing);
        for ((item, creation, placed), outcome) in sealed.into_iter().zip(committed) {
            let outcome = outcome.map(|()| self.placed_bundle(placed));
            done.push((item, creation, outcome));
        }
        done
    }
}

fn collision() -> Error {
    Error::bad_parameter(
        "another item of this batch has the same name, and which of them would be the newest version is not said: none \
         of them was made",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::VaultOptions;

    #[test]
    fn the_order_of_the_index_is_that_of_the_records_in_the_store() {
        let vault = VaultOptions::new().create_in_memory().unwrap();
        let names: Vec<KeyName> = (0..200)
            .map(|number| format!("key-{number}").parse().unwrap())
            .collect();
        let as_given = vault.in_order(&names, Order::AsGiven);
        assert_eq!(as_given, (0..200).collect::<Vec<_>>());
        let mut sorted = vault.in_order(&names, Order::OfTheIndex);
        let index = |at: &usize| IndexKey::key_object(vault.inner.hierarchy.name_prf(&names[*at]));
        assert!(sorted.is_sorted_by_key(|at| *index(at).as_bytes()));
        assert_ne!(sorted, as_given);
        sorted.sort_unstable();
        assert_eq!(sorted, as_given);
    }
}
