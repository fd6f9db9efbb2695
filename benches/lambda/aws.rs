//! DynamoDB and KMS, behind TLS: the embedded database, and a KMS with a single response.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dynoxide::Database;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::database::{self, TABLE_NAME};
use crate::http::{Message, response};

/// The root key that KMS returns, as base64 and as `ROOT_KEY` would have it.
const MAC: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Both services, in a thread of their own.
pub struct Aws {
    dynamodb: String,
    kms: String,
    /// The file with the authority that signed their certificate.
    authority: tempfile::NamedTempFile,
    database: Database,
    counters: Arc<Counters>,
}

/// Connections to both, requests to DynamoDB, and their time without TLS.
#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    requests: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Aws {
    /// The function finds both on `host`: a name, which it has to look up, as it does in AWS, or an
    /// address.
    pub async fn start(host: &str) -> Self {
        let (database, _) = database::open(":memory:").expect("a database");
        let counters = Arc::new(Counters::default());
        let (tls, authority) = certificate(host);
        let [plain, dynamodb, kms] = [listen(host).await, listen(host).await, listen(host).await];
        let endpoint = |socket: &std::net::TcpListener| {
            format!(
                "https://{host}:{}",
                socket.local_addr().expect("an address").port()
            )
        };
        let aws = Self {
            dynamodb: endpoint(&dynamodb),
            kms: endpoint(&kms),
            authority,
            database: database.clone(),
            counters: counters.clone(),
        };
        std::thread::spawn(move || {
            let upstream = plain.local_addr().expect("an address");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let [plain, dynamodb, kms] = [plain, dynamodb, kms]
                    .map(|socket| TcpListener::from_std(socket).expect("a socket"));
                tokio::spawn(database::serve(plain, database, std::future::pending()));
                tokio::spawn(serve(kms, tls.clone(), counters.clone(), serve_kms));
                let counted = counters.clone();
                serve(dynamodb, tls, counters, move |stream| {
                    forward(stream, upstream, counted.clone())
                })
                .await;
            });
        });
        aws
    }

    /// The environment of a function on these services, root key from KMS.
    pub fn environment(&self) -> [(&str, &str); 10] {
        [
            ("TABLE_NAME", TABLE_NAME),
            ("SERVICE_NAME", "demo"),
            ("KMS_KEY_ID", "alias/gaia"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &self.dynamodb),
            ("AWS_ENDPOINT_URL_KMS", &self.kms),
            ("AWS_CA_BUNDLE", self.authority()),
        ]
    }

    fn authority(&self) -> &str {
        Path::to_str(self.authority.path()).expect("a path in UTF-8")
    }

    /// Connections that DynamoDB and KMS have accepted so far.
    #[allow(dead_code)] // Only the benchmark `counts` reads it.
    pub fn connections(&self) -> u64 {
        self.counters.connections.load(Ordering::Relaxed)
    }

    /// Requests that DynamoDB has served so far.
    pub fn requests(&self) -> u64 {
        self.counters.requests.load(Ordering::Relaxed)
    }

    /// DynamoDB's time for them.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.counters.nanoseconds.load(Ordering::Relaxed))
    }

    /// Fills the table with keys of a service: ascending IDs, and a short config.
    pub fn put_keys(&self, service: &str, count: u64) {
        for number in 0..count {
            let item = json!({
                "service": {"S": service},
                "id": {"S": format!("01ARZ3NDEKTSV4RRFF{number:08}")},
                "config": {"S": r#"{"permissions":"read"}"#},
                "root_key_id": {"S": "053bcb62"},
                "created_at": {"S": "2016-07-30T23:54:10.259Z"},
                "created_by": {"S": "arn:aws:iam::123456789012:user/alice"},
            });
            let put = serde_json::from_value(json!({ "TableName": TABLE_NAME, "Item": item }))
                .expect("a request");
            self.database.put_item(put).expect("a put");
        }
    }
}

async fn listen(host: &str) -> std::net::TcpListener {
    TcpListener::bind((host, 0))
        .await
        .and_then(TcpListener::into_std)
        .expect("a port")
}

/// A certificate for the host, and a file with the authority that signed it.
fn certificate(host: &str) -> (TlsAcceptor, tempfile::NamedTempFile) {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.distinguished_name
        .push(DnType::CommonName, "benchmark authority");
    let root_key = KeyPair::generate().expect("a key");
    let root_certificate = root.self_signed(&root_key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new([host.to_owned()]).expect("a name");
    let leaf = leaf
        .signed_by(&key, &Issuer::new(root, &root_key))
        .expect("a certificate");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_no_client_auth()
    .with_single_cert(vec![leaf.der().clone()], private)
    .expect("a certificate");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), root_certificate.pem()).expect("a file");
    (TlsAcceptor::from(Arc::new(config)), file)
}

async fn serve<C, F>(
    listener: TcpListener,
    tls: TlsAcceptor,
    counters: Arc<Counters>,
    connection: C,
) where
    C: Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Option<()>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("an option");
        counters.connections.fetch_add(1, Ordering::Relaxed);
        let tls = tls.clone();
        let connection = connection.clone();
        tokio::spawn(async move { connection(tls.accept(stream).await.ok()?).await });
    }
}

async fn forward(
    mut client: TlsStream<TcpStream>,
    upstream: SocketAddr,
    counters: Arc<Counters>,
) -> Option<()> {
    let mut upstream = TcpStream::connect(upstream).await.ok()?;
    upstream.set_nodelay(true).ok()?;
    loop {
        let request = Message::read(&mut client).await?;
        let begin = Instant::now();
        upstream.write_all(request.bytes()).await.ok()?;
        let response = Message::read(&mut upstream).await?;
        counters
            .nanoseconds
            .fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
        counters.requests.fetch_add(1, Ordering::Relaxed);
        client.write_all(response.bytes()).await.ok()?;
        client.flush().await.ok()?;
    }
}

async fn serve_kms(mut client: TlsStream<TcpStream>) -> Option<()> {
    loop {
        Message::read(&mut client).await?;
        let body = json!({ "Mac": MAC, "MacAlgorithm": "HMAC_SHA_256", "KeyId": "alias/gaia" })
            .to_string();
        client
            .write_all(&response("200 OK", "", body.as_bytes()))
            .await
            .ok()?;
        client.flush().await.ok()?;
    }
}
