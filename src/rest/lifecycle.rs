//! Deleted keys and backups.

use super::answer::{self, Answer};
use super::call::Call;
use super::problem::Problem;
use super::response::{self, Bytes};
use super::wire::{
    BackupResult, DeletedKeyBody, DeletedKeyItem, KeyBody, KeyRestoreParameters, List, required,
};
use crate::error::ErrorKind;

pub(super) fn delete(call: &Call<'_>) -> Answer {
    let deleted = call.vault().delete_key(call.name()?)?;
    answer::ok(&DeletedKeyBody::from(&deleted))
}

pub(super) fn get_deleted(call: &Call<'_>) -> Answer {
    let deleted = call.vault().get_deleted_key(call.name()?)?;
    answer::ok(&DeletedKeyBody::from(&deleted))
}

pub(super) fn list_deleted(call: &Call<'_>) -> Answer {
    let target = call.target();
    let token = target.continuation()?;
    let page = call
        .vault()
        .list_deleted_key_properties_page(token.as_ref(), target.page_size()?)?;
    answer::ok(&List {
        value: page.items().iter().map(DeletedKeyItem::from).collect(),
        next_link: call.next_link("deletedkeys", &page)?,
    })
}

pub(super) fn recover(call: &Call<'_>) -> Answer {
    let bundle = call.vault().recover_deleted_key(call.name()?)?;
    answer::ok(&KeyBody::from(&bundle))
}

pub(super) fn purge(call: &Call<'_>) -> Answer {
    let vault = call.vault();
    match vault.purge_deleted_key(call.name()?) {
        Ok(_) => Ok(response::no_content()),
        Err(error)
            if error.kind() == ErrorKind::PurgeRefused
                && vault.deletion_settings().purge_protection() =>
        {
            Err(Problem::from(error).saying(
                "Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key Vault \
                 service will automatically purge it after the retention period has passed.",
            ))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn backup(call: &Call<'_>) -> Answer {
    let backup = call.vault().backup_key(call.name()?)?;
    answer::ok(&BackupResult {
        value: Bytes(backup.as_bytes()),
    })
}

pub(super) fn restore(call: &Call<'_>) -> Answer {
    let parameters: KeyRestoreParameters<'_> = call.parameters()?;
    let blob = required(parameters.value, "value")?.bytes("value")?;
    let restored = call.vault().restore_key(&*blob)?;
    answer::ok(&KeyBody::from(restored.key()))
}
