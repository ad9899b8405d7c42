//! One event of the crate `tracing` for each operation. It says what the audit log says, and no more.

use ::tracing::{Level, event};

use super::acts::Operation;
use crate::error::ErrorKind;
use crate::model::version::KeyVersion;

pub(super) struct Outcome<'a> {
    pub(super) operation: Operation,
    pub(super) key: Option<&'a str>,
    pub(super) version: Option<KeyVersion>,
    pub(super) actor: Option<&'a str>,
    pub(super) error: Option<ErrorKind>,
}

/// Refusals for want of a permission are warnings, changes and failures informations, the rest is for debugging.
pub(super) fn emit(outcome: &Outcome<'_>) {
    macro_rules! emit {
        ($level:expr) => {
            event!(
                target: "strongroom",
                $level,
                operation = outcome.operation.method(),
                key = outcome.key,
                version = outcome.version.map(display),
                actor = outcome.actor,
                error = outcome.error.map(|kind| display(format!("{kind:?}"))),
            )
        };
    }
    match outcome.error {
        Some(ErrorKind::Forbidden) => emit!(Level::WARN),
        Some(_) => emit!(Level::INFO),
        None if outcome.operation.always_recorded() => emit!(Level::INFO),
        None => emit!(Level::DEBUG),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fmt::{Debug, Write};
    use std::sync::{Arc, Mutex};

    use ::tracing::field::{Field, Visit};
    use ::tracing::span::{Attributes, Id, Record};
    use ::tracing::{Event, Metadata, Subscriber};

    use crate::model::name::KeyName;
    use crate::model::options::CreateKeyOptions;
    use crate::model::permission::Permissions;
    use crate::model::spec::Curve;
    use crate::vault::VaultOptions;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {field}={value:?}").unwrap();
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "strongroom"
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn each_operation_is_one_event_that_says_what_the_audit_log_says() {
        let lines = Lines::default();
        let name = KeyName::from_static("signer");
        // With a single subscriber `tracing` asks the thread that comes first whether anybody wants an event, and that
        // may be another test's.
        let _second = ::tracing::Dispatch::new(lines.clone());
        ::tracing::subscriber::with_default(lines.clone(), || {
            let vault = VaultOptions::new().create_in_memory().unwrap();
            let secret = CreateKeyOptions::ec(Curve::P256).tag("team", "SECRET");
            let version = vault
                .create_key(&name, secret)
                .unwrap()
                .properties()
                .version();
            let who = "somebody".parse().unwrap();
            vault.set_access_policy(&who, Permissions::none()).unwrap();
            vault
                .as_principal(&who)
                .unwrap()
                .delete_key(&name)
                .unwrap_err();
            vault.key(&name).unwrap();
            let seen = lines.0.lock().unwrap().clone();
            let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
            assert_eq!(
                seen,
                [
                    "INFO operation=\"open\"",
                    &format!("INFO operation=\"create_key\" key=\"signer\" version={version}"),
                    "INFO operation=\"set_access_policy\"",
                    "DEBUG operation=\"as_principal\"",
                    "WARN operation=\"delete_key\" key=\"signer\" actor=\"somebody\" error=Forbidden",
                    &format!("DEBUG operation=\"key\" key=\"signer\" version={version}"),
                ]
            );
        });
    }
}
