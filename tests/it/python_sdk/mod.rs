//! The official Azure SDK for Python against `examples/serve.rs`, over TLS, as a process of its own: every operation on
//! keys. What is sent and what is checked stands in `drive.py`.
//!
//! `hsm-softhsm-tests/run.sh` installs the SDK into `target/python-sdk`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::attested::Service;

/// What `drive.py` prints when all went well.
const PARTS: [&str; 17] = [
    "create_get_update",
    "create_each_kind",
    "import_keys",
    "rotate_and_list_versions",
    "list_keys",
    "delete_recover_purge",
    "backup_restore",
    "random_bytes",
    "sign_verify",
    "encrypt_decrypt",
    "wrap_unwrap",
    "what_a_key_may_not",
    "rotation_policy",
    "release",
    "attestation",
    "import_transferred_key",
    "every_api_version",
];

/// A server that ends with the test.
struct Server {
    process: Child,
    url: String,
    ca: PathBuf,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let mut process = Command::new(example())
            .arg("--dir")
            .arg(directory)
            .arg("--attestation-authority")
            .arg(format!("{ISSUER}={}", authority(directory).display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self {
            process,
            url: ready["url"].as_str().unwrap().to_owned(),
            ca: ready["ca"].as_str().unwrap().into(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The attestation service that the server trusts: `drive.py` signs in its name, with the fixed key of 2048 bits.
const ISSUER: &str = "https://attest.example";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/data")
}

/// A file with the public half of that key.
fn authority(directory: &Path) -> PathBuf {
    let file = directory.join("authority.pem");
    let key = Service::new().public("rsa").to_spki_pem().unwrap();
    std::fs::write(&file, key).unwrap();
    file
}

/// The directory of this build, `target/debug` for example.
fn build_directory() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// The example, which `cargo test` builds with the tests unless only some of them are asked for.
fn example() -> PathBuf {
    let directory = build_directory();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--example", "serve", "--all-features"])
        .arg("--target-dir")
        .arg(directory.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(
        cargo.status().unwrap().success(),
        "the example does not build"
    );
    directory.join("examples/serve")
}

fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python-sdk/bin/python");
    assert!(
        python.exists(),
        "the Azure SDK for Python is not installed: `sh hsm-softhsm-tests/run.sh` does that, or \
         `python3 -m venv target/python-sdk && target/python-sdk/bin/pip install -r tests/it/python_sdk/requirements.txt`"
    );
    python
}

fn drive(server: &Server) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python_sdk/drive.py");
    let output = Command::new(python())
        .arg(script)
        .arg(&server.url)
        .arg(&server.ca)
        .arg(ISSUER)
        .arg(data().join("rsa-2048.pem"))
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed.lines().map(str::to_owned).collect()
}

#[test]
fn every_operation_works_through_the_sdk_for_python() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    assert_eq!(drive(&server), PARTS);
    // What it made is there after the server was killed.
    drop(server);
    let server = Server::start(directory.path());
    let check = "import sys, time\n\
        from azure.core.credentials import AccessToken\n\
        from azure.keyvault.keys import KeyClient\n\
        class Token:\n\
        \x20   def get_token(self, *scopes, **_): return AccessToken('t', int(time.time()) + 3600)\n\
        client = KeyClient(sys.argv[1], Token(), verify_challenge_resource=False, connection_verify=sys.argv[2])\n\
        print(client.get_key('signer').name)\n";
    let output = Command::new(python())
        .args(["-c", check])
        .arg(&server.url)
        .arg(&server.ca)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "signer",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
