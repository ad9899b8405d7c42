//! Looking over everything that is stored.

use super::files::Access;
use super::ledger::Ledger;
use super::vault_dir::VaultDir;
use super::{Finding, Shared, anchor, header_file, open};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::BUCKET_COUNT;

/// What a check of the store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoreReport {
    /// In the order in which they were met; none is the good answer.
    pub(crate) findings: Vec<Finding>,
    /// Key objects in buckets that are as they were written.
    pub(crate) sound_keys: u64,
    /// M, V and G records in such buckets.
    pub(crate) sound_records: u64,
}

/// The caller holds the commit lock, so no group is in flight.
pub(super) fn run(
    shared: &Shared,
    ledger: &mut Ledger,
    dir: Option<&VaultDir>,
) -> Result<StoreReport> {
    let mut report = StoreReport {
        findings: shared.engine.check()?,
        ..StoreReport::default()
    };
    let engine = shared.engine.as_ref();
    let config = &shared.config;

    match open::read_state(engine, &config.hierarchy) {
        Ok((state, hash)) if state == ledger.state && hash == ledger.state_hash => {}
        Ok(_) => report.add(
            "STATE record",
            ErrorKind::Tampered,
            "it is not the one written last",
        ),
        Err(error) => report.take("STATE record", error)?,
    }
    if let Err(error) = open::load_buckets(engine, config, &ledger.state) {
        report.take("bucket records", error)?;
    }
    if let Err(error) = open::check_meta(engine, config, &ledger.state) {
        report.take("settings and intents", error)?;
    }
    let log = super::audit::verify(shared, ledger, None)?;
    report.findings.extend(log.findings);
    for number in 0..BUCKET_COUNT {
        let verdict = ledger.verify_bucket(config, engine, number);
        shared.note_verdict(number, &verdict);
        match verdict {
            Ok(()) => report.count(ledger, number),
            Err(error) => report.take(&format!("bucket {number}"), error)?,
        }
    }
    let complete = report.sound_keys == ledger.state.key_count
        && report.sound_records == ledger.state.record_count;
    if !complete && report.findings.is_empty() {
        report.add(
            "STATE record",
            ErrorKind::Tampered,
            "its counts are not those of the buckets",
        );
    }
    if let Some(dir) = dir {
        check_files(shared, ledger, dir, &mut report)?;
    }
    Ok(report)
}

fn check_files(
    shared: &Shared,
    ledger: &Ledger,
    dir: &VaultDir,
    report: &mut StoreReport,
) -> Result<()> {
    match header_file::read(dir) {
        Ok([first, second]) if first == second => {}
        Ok(_) => report.add(
            "vault.hdr",
            ErrorKind::Corrupt,
            "its two copies differ; opening the vault makes them equal",
        ),
        Err(error) => report.take("vault.hdr", error)?,
    }
    let Some(file) = dir
        .files()
        .open(super::vault_dir::ANCHOR_FILE, Access::Read)?
    else {
        report.add(
            "vault.anchor",
            ErrorKind::AnchorMissing,
            "the file is missing",
        );
        return Ok(());
    };
    let slots = anchor::read_slots(file.as_ref(), &shared.config.hierarchy)?;
    let generation = ledger.state.generation;
    let current = |slot: &Option<crate::format::anchor::Anchor>| {
        slot.as_ref().is_some_and(|anchor| {
            anchor.generation == generation && anchor.state_hash == ledger.state_hash
        })
    };
    if !slots.iter().any(current) {
        report.add(
            "vault.anchor",
            ErrorKind::AnchorMissing,
            "no slot holds the newest generation",
        );
    } else if generation > 1 && slots.iter().any(Option::is_none) {
        report.findings.push(Finding {
            kind: ErrorKind::Corrupt,
            place: "vault.anchor".to_owned(),
            message: "one of its slots is damaged or was not used yet; the next changes write it"
                .to_owned(),
            harmless: true,
        });
    }
    Ok(())
}

impl StoreReport {
    fn add(&mut self, place: &str, kind: ErrorKind, message: &str) {
        self.findings.push(Finding {
            kind,
            place: place.to_owned(),
            message: message.to_owned(),
            harmless: false,
        });
    }

    /// An error of the contents is a finding; one of the engine ends the check.
    fn take(&mut self, place: &str, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::VaultFailed | ErrorKind::Io | ErrorKind::Internal => Err(error),
            kind => {
                self.add(place, kind, &error.to_string());
                Ok(())
            }
        }
    }

    fn count(&mut self, ledger: &Ledger, number: u16) {
        if let Some(bucket) = ledger.bucket(number) {
            self.sound_keys += u64::from(bucket.m_count);
            self.sound_records += u64::from(bucket.members);
        }
    }
}
