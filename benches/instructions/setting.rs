//! What the counts depend on besides the source.

use std::process::Command;

pub(crate) struct Setting {
    /// Of the compiler, such as `1.95.0`.
    pub(crate) release: String,
    pub(crate) target: String,
    /// All of it, as names and values.
    pub(crate) lines: Vec<(&'static str, String)>,
}

impl Setting {
    pub(crate) fn here() -> Result<Self, String> {
        let valgrind = crate::callgrind::version()?;
        // As cargo finds it.
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let told = output_of(&rustc, &["-vV"])?;
        let after = |start: &str| {
            let found = told.lines().find_map(|line| line.strip_prefix(start));
            found.map(str::to_owned).ok_or_else(|| {
                format!("{rustc} -vV does not say {start:?}, and baselines are told apart by it")
            })
        };
        // Its allocator and its copying are counted, too.
        let c_library = output_of("getconf", &["GNU_LIBC_VERSION"]);
        let target = after("host: ")?;
        Ok(Self {
            release: after("release: ")?,
            target: target.clone(),
            lines: vec![
                ("rustc", after("rustc ")?),
                ("target", target),
                ("valgrind", valgrind),
                ("C library", c_library.unwrap_or_else(|_| "unknown".into())),
            ],
        })
    }
}

fn output_of(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program} does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} failed: {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
