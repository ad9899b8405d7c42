//! A vault behind Azure's REST interface, for the SDKs of any language and for `az`.
//!
//! ```text
//! cargo run --example serve --features serve -- [--dir DIRECTORY] [--listen 127.0.0.1:8443]
//!     [--attestation-authority ISSUER=PEM_FILE]
//! ```
//!
//! When it is ready, it prints one line of JSON: `{"url":"https://127.0.0.1:8443","ca":"/…/ca.pem"}`. Clients are to trust
//! the certificate in the file `ca`, and to be told not to verify the challenge's resource, which the SDKs can only do
//! for host names. The directory holds the vault, its master key and that file; without `--dir` it is a temporary one.
//! With `--attestation-authority`, exportable keys are released to whom this issuer vouches for with tokens that the
//! public key in the file (PEM, `PUBLIC KEY`) verifies.
//!
//! **Whoever can connect can do everything**: any token is taken, because this is for development and tests. A real
//! server has an `Authenticator` that knows its clients, and keeps the master key elsewhere.

#![allow(clippy::print_stdout, reason = "the line that says where it listens")]

use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use strongroom::rest::{AnyToken, RestService};
use strongroom::{AttestationAuthority, MasterKey, PublicKey, Unlock, Vault, VaultOptions};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// More clients than this wait.
const MAX_CONNECTIONS: usize = 256;
/// For a request to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let options = Options::from_arguments(std::env::args().skip(1))?;
    let temporary;
    let directory = match &options.directory {
        Some(directory) => directory.as_path(),
        None => {
            temporary = tempfile::tempdir()?;
            temporary.path()
        }
    };
    fs::create_dir_all(directory)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(directory, &options))
}

struct Options {
    directory: Option<PathBuf>,
    listen: SocketAddr,
    authority: Option<Arc<Authority>>,
}

impl Options {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            directory: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            authority: None,
        };
        while let Some(name) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{name} needs a value"))
            };
            match name.as_str() {
                "--dir" => options.directory = Some(value()?.into()),
                "--listen" => options.listen = value()?.parse()?,
                "--attestation-authority" => {
                    options.authority = Some(Arc::new(Authority::read(&value()?)?));
                }
                _ => {
                    let known = "--dir, --listen and --attestation-authority";
                    return Err(format!("unknown option {name}; there are {known}").into());
                }
            }
        }
        Ok(options)
    }
}

/// The one attestation service that is trusted. A real one publishes its keys, and changes them.
#[derive(Debug)]
struct Authority {
    issuer: String,
    key: PublicKey,
}

impl Authority {
    /// `ISSUER=FILE`.
    fn read(text: &str) -> Result<Self> {
        let (issuer, file) = text
            .rsplit_once('=')
            .ok_or("--attestation-authority is ISSUER=PEM_FILE")?;
        let key = PublicKey::from_spki_pem(&fs::read_to_string(file)?)?;
        Ok(Self {
            issuer: issuer.to_owned(),
            key,
        })
    }
}

impl AttestationAuthority for Authority {
    fn keys(&self, issuer: &str, _: Option<&str>) -> Result<Vec<PublicKey>> {
        let known = issuer == self.issuer;
        Ok(known.then(|| self.key.clone()).into_iter().collect())
    }
}

async fn serve(directory: &Path, options: &Options) -> Result<()> {
    let listener = TcpListener::bind(options.listen).await?;
    let url = format!("https://{}", listener.local_addr()?);
    let mut vault_options = VaultOptions::new().url(url.parse()?);
    if let Some(authority) = &options.authority {
        let authority = Arc::clone(authority) as Arc<dyn AttestationAuthority>;
        vault_options = vault_options.attestation_authority(authority);
    }
    let vault = open(directory, vault_options)?;
    let service = RestService::new(vault.clone(), AnyToken::new());
    let ca = directory.join("ca.pem");
    let acceptor = TlsAcceptor::from(Arc::new(tls(listener.local_addr()?, &ca)?));

    let ready = serde_json::json!({ "url": url, "ca": fs::canonicalize(&ca)? });
    println!("{ready}");
    std::io::stdout().flush()?;

    tokio::spawn(accept(listener, acceptor, service));
    tokio::signal::ctrl_c().await?;
    vault.close()?;
    Ok(())
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, service: RestService) -> Result<()> {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await?;
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, or a client that left: others may be luckier.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (service, acceptor) = (service.clone(), acceptor.clone());
        tokio::spawn(async move {
            // What goes wrong here is the client's affair: it sees a closed connection.
            let _ = connection(stream, acceptor, service).await;
            drop(permit);
        });
    }
}

/// The vault in the directory, made at the first start.
fn open(directory: &Path, options: VaultOptions) -> Result<Vault> {
    let key_file = directory.join("master.key");
    let path = directory.join("vault");
    if key_file.exists() {
        let key = MasterKey::from_bytes(&fs::read(key_file)?)?;
        return Ok(options.open_or_create(path, Unlock::raw_key(&key))?);
    }
    let key = MasterKey::generate()?;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(key_file)?
        .write_all(key.expose())?;
    Ok(options.create(path, Unlock::raw_key(&key))?)
}

/// A certificate for this address, by an authority that is made for it and forgotten: only its certificate stays.
fn tls(address: SocketAddr, ca: &Path) -> Result<ServerConfig> {
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "strongroom example");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    fs::write(ca, authority.pem())?;

    let key = KeyPair::generate()?;
    let mut server =
        CertificateParams::new(vec![address.ip().to_string(), "localhost".to_owned()])?;
    server
        .distinguished_name
        .push(DnType::CommonName, "strongroom example server");
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate: CertificateDer<'static> = server.signed_by(&key, &authority)?.into();
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    Ok(ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?)
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, service: RestService) -> Result<()> {
    let stream = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await??;
    let answer = service_fn(|request| answer(request, service.clone()));
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), answer)
        .await?;
    Ok(())
}

async fn answer(
    request: Request<Incoming>,
    service: RestService,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, RestService::MAX_BODY_LENGTH).collect();
    let body = match tokio::time::timeout(PATIENCE, body).await {
        Ok(Ok(body)) => body.to_bytes().to_vec(),
        Ok(Err(_)) => return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE)),
        Err(_) => return Ok(plain(StatusCode::REQUEST_TIMEOUT)),
    };
    let request = Request::from_parts(head, body);
    // The vault blocks.
    let response = tokio::task::spawn_blocking(move || service.handle(request)).await;
    Ok(match response {
        Ok(response) => response.map(|body| Full::new(Bytes::from(body))),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR),
    })
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
