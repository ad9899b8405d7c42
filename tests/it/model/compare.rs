//! Everything that can be seen of the vault, compared with the model.

use std::collections::BTreeSet;

use strongroom::{Curve, KeyBundle, KeyProperties};

use super::convert::{tags, time};
use super::system::System;
use super::tables::Kind;
use super::world::{Key, Version, World};
use crate::support::name;

impl System {
    /// Everything that can be seen of one key.
    pub(super) fn compare_key(&self, world: &World, lowered: &str) {
        let key = name(lowered);
        match world.active(lowered) {
            Ok(expected) => {
                let bundle = self.vault().get_key(&key).unwrap();
                self.compare_bundle(world, expected, expected.newest(), &bundle);
                let versions: Vec<KeyProperties> = self
                    .vault()
                    .list_key_properties_versions(&key)
                    .unwrap()
                    .collect();
                assert_eq!(versions.len(), expected.versions.len());
                for (shown, version) in versions.iter().zip(expected.versions.iter().rev()) {
                    self.compare_properties(world, expected, version, shown);
                }
            }
            Err(kind) => assert_eq!(
                self.vault().get_key(&key).map_err(|error| error.kind()),
                Err(kind)
            ),
        }
        match world.deleted(lowered) {
            Ok(expected) => {
                let deleted = self.vault().get_deleted_key(&key).unwrap();
                self.compare_properties(world, expected, expected.newest(), deleted.properties());
                let dates = expected
                    .deletion
                    .map(|(on, gone)| (time(on), Some(time(gone))));
                assert_eq!(
                    Some((deleted.deleted_on(), deleted.scheduled_purge_date())),
                    dates
                );
            }
            Err(kind) => assert_eq!(
                self.vault()
                    .get_deleted_key(&key)
                    .map_err(|error| error.kind()),
                Err(kind)
            ),
        }
    }

    fn compare_bundle(&self, world: &World, key: &Key, version: &Version, shown: &KeyBundle) {
        self.compare_properties(world, key, version, shown.properties());
        assert_eq!(shown.key().key_ops(), version.operations);
        assert_eq!(shown.key().kty(), version.kind.family());
        let curve = match version.kind {
            Kind::P256 => Some(Curve::P256),
            Kind::P256K => Some(Curve::P256K),
            _ => None,
        };
        assert_eq!(shown.key().crv(), curve);
    }

    fn compare_properties(
        &self,
        world: &World,
        key: &Key,
        version: &Version,
        shown: &KeyProperties,
    ) {
        assert_eq!(shown.name().as_str(), key.spelled);
        assert_eq!(shown.version(), self.versions[&version.serial]);
        assert_eq!(shown.key_type(), version.kind.family());
        assert_eq!(shown.enabled(), version.enabled);
        assert_eq!(shown.not_before(), version.not_before.map(time));
        assert_eq!(shown.expires_on(), version.expires_on.map(time));
        assert_eq!(shown.created_on(), time(version.created));
        assert_eq!(shown.updated_on(), time(version.updated));
        assert_eq!(shown.tags(), &tags(version.tags));
        assert_eq!(shown.recoverable_days(), world.retention_days);
        let level = match (world.retention_days, world.purge_protection) {
            (0, _) => "Purgeable",
            (90, false) => "Recoverable+Purgeable",
            (90, true) => "Recoverable",
            (_, false) => "CustomizedRecoverable+Purgeable",
            (_, true) => "CustomizedRecoverable",
        };
        assert_eq!(shown.recovery_level().as_str(), level);
    }

    /// The listings, and every key and version.
    pub(super) fn compare_all(&self, world: &World) {
        let vault = self.vault();
        let (mut active, mut deleted) = (BTreeSet::new(), BTreeSet::new());
        for lowered in world.keys.keys() {
            self.compare_key(world, lowered);
            if let Ok(key) = world.active(lowered) {
                active.insert(key.spelled.clone());
                for version in &key.versions {
                    let id = (&name(lowered), self.versions[&version.serial]);
                    self.compare_bundle(world, key, version, &vault.get_key(id).unwrap());
                }
            }
            if let Ok(key) = world.deleted(lowered) {
                deleted.insert(key.spelled.clone());
            }
        }
        let listed = |names: Vec<String>| {
            let set: BTreeSet<String> = names.iter().cloned().collect();
            assert_eq!(set.len(), names.len(), "a listing shows each key once");
            set
        };
        let spelled = |item: &KeyProperties| item.name().as_str().to_owned();
        let shown = vault
            .list_key_properties()
            .map(|item| spelled(&item.unwrap()))
            .collect();
        assert_eq!(listed(shown), active);
        let shown = vault
            .list_deleted_key_properties()
            .map(|item| spelled(item.unwrap().properties()))
            .collect();
        assert_eq!(listed(shown), deleted);
        assert_eq!(vault.status().unwrap().key_count(), world.keys.len() as u64);
    }
}
