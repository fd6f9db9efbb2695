//! A proxy in front of DynamoDB that collects requests and injects faults.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Nothing.
    None,
    /// 400 with the code of DynamoDB's throttling.
    Throttled,
    /// 500; the request isn't carried out.
    ServerError,
    /// 400 with a code for which no retry helps.
    Denied,
    /// The connection is closed; the request isn't carried out.
    Dropped,
    /// The request is carried out; the connection is closed before the response.
    DoneThenDropped,
    /// The request is carried out; the response is a 500.
    DoneThenServerError,
    /// The request is carried out; the response is cut off.
    HalfResponse,
    /// The request is carried out; the response doesn't arrive.
    DoneThenSilent,
    /// The request isn't carried out; no response arrives.
    Silent,
    /// The request is carried out, but takes a second.
    Slow,
    /// The connection is closed; the request is carried out on [`Proxy::deliver`].
    Late,
    /// The request isn't carried out; the response has this status and body.
    Response(u16, &'static str),
}

/// The faults without a wait, before and after the request is carried out.
pub const QUICK: [Fault; 6] = [
    Fault::Throttled,
    Fault::ServerError,
    Fault::Dropped,
    Fault::DoneThenDropped,
    Fault::DoneThenServerError,
    Fault::HalfResponse,
];

#[derive(Default)]
struct State {
    /// Operations and bodies.
    requests: Vec<(String, String)>,
    /// The last request's head.
    head: String,
    /// The next requests' faults, then `always`.
    plan: VecDeque<Fault>,
    always: Option<Fault>,
    /// Who decides about each request, in place of the plan.
    judge: Option<mpsc::UnboundedSender<Held>>,
    connections: Vec<JoinHandle<Option<()>>>,
    late: Vec<oneshot::Sender<oneshot::Sender<()>>>,
}

/// A request that waits until somebody decides what happens to it.
pub struct Held {
    pub operation: String,
    pub body: String,
    fault: oneshot::Sender<Fault>,
}

impl Held {
    pub fn release(self, fault: Fault) {
        // Whoever sent it may have given up.
        self.fault.send(fault).ok();
    }
}

/// A running proxy; it stops with the test's runtime.
#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = Self {
            address: listener.local_addr().expect("an address"),
            state: Arc::default(),
        };
        let state = proxy.state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (shared, served) = (state.clone(), state.clone());
                let connection =
                    tokio::spawn(async move { serve(client, upstream, &served).await });
                shared.lock().expect("a lock").connections.push(connection);
            }
        });
        proxy
    }

    /// The operations requested since the last call.
    pub fn requests(&self) -> Vec<String> {
        self.operations_and_bodies()
            .into_iter()
            .map(|(operation, _)| operation)
            .collect()
    }

    /// The same with the bodies.
    pub fn operations_and_bodies(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.state.lock().expect("a lock").requests)
    }

    /// The access key ID and the Region that the last request was signed with.
    pub fn signer(&self) -> Option<(String, String)> {
        let authorization = self.header("authorization")?;
        // ID/DATE/REGION/SERVICE/aws4_request
        let credential = authorization.split("Credential=").nth(1)?;
        let parts: Vec<_> = credential.split('/').collect();
        Some((parts[0].to_owned(), parts[2].to_owned()))
    }

    /// A header of the last request.
    pub fn header(&self, name: &str) -> Option<String> {
        let state = self.state.lock().expect("a lock");
        state.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }

    /// Carries out the late requests in order. Returns their number.
    pub async fn deliver(&self) -> usize {
        let late = std::mem::take(&mut self.state.lock().expect("a lock").late);
        let count = late.len();
        for request in late {
            let (done, delivered) = oneshot::channel();
            request.send(done).expect("a request that waits");
            delivered.await.expect("a delivery");
        }
        count
    }

    /// From now on, each request waits until the receiver of these decides what happens to it.
    pub fn hold(&self) -> mpsc::UnboundedReceiver<Held> {
        let (judge, held) = mpsc::unbounded_channel();
        self.state.lock().expect("a lock").judge = Some(judge);
        held
    }

    /// Closes all connections, as the other side does to idle ones.
    pub fn hang_up(&self) {
        for connection in self.state.lock().expect("a lock").connections.drain(..) {
            connection.abort();
        }
    }

    /// What happens to the next requests, one each.
    pub fn plan(&self, faults: &[Fault]) {
        let mut state = self.state.lock().expect("a lock");
        state.plan = faults.iter().copied().collect();
        state.always = None;
    }

    /// What happens to every request from now on.
    pub fn always(&self, fault: Fault) {
        let mut state = self.state.lock().expect("a lock");
        state.plan.clear();
        state.always = Some(fault);
    }
}

async fn serve(mut client: TcpStream, upstream: SocketAddr, state: &Mutex<State>) -> Option<()> {
    loop {
        let request = message(&mut client).await?;
        let text = String::from_utf8_lossy(&request);
        let operation = text
            .split("DynamoDB_20120810.")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next());
        let operation = operation.unwrap_or("?").to_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let body = body.to_owned();
        let (planned, judge) = {
            let mut state = state.lock().expect("a lock");
            head.clone_into(&mut state.head);
            state.requests.push((operation.clone(), body.clone()));
            (
                state
                    .plan
                    .pop_front()
                    .or(state.always)
                    .unwrap_or(Fault::None),
                state.judge.clone(),
            )
        };
        let fault = match judge {
            None => planned,
            Some(judge) => {
                let (fault, decision) = oneshot::channel();
                judge
                    .send(Held {
                        operation,
                        body,
                        fault,
                    })
                    .ok()?;
                decision.await.ok()?
            }
        };
        match fault {
            Fault::None => client
                .write_all(&forward(&request, upstream).await?)
                .await
                .ok()?,
            Fault::Throttled => client
                .write_all(&error(400, "ProvisionedThroughputExceededException"))
                .await
                .ok()?,
            Fault::ServerError => client
                .write_all(&error(500, "InternalServerError"))
                .await
                .ok()?,
            Fault::Denied => client
                .write_all(&error(400, "AccessDeniedException"))
                .await
                .ok()?,
            Fault::Dropped => return None,
            Fault::Response(status, body) => {
                client.write_all(&response(status, body)).await.ok()?
            }
            Fault::Late => {
                let (request_to_deliver, delivery) = oneshot::channel::<oneshot::Sender<()>>();
                state.lock().expect("a lock").late.push(request_to_deliver);
                drop(client);
                let done = delivery.await.ok()?;
                forward(&request, upstream).await;
                return done.send(()).ok();
            }
            Fault::DoneThenDropped => {
                forward(&request, upstream).await?;
                return None;
            }
            Fault::DoneThenServerError => {
                forward(&request, upstream).await?;
                client
                    .write_all(&error(500, "InternalServerError"))
                    .await
                    .ok()?;
            }
            Fault::HalfResponse => {
                let response = forward(&request, upstream).await?;
                client
                    .write_all(&response[..response.len() - 1])
                    .await
                    .ok()?;
                return None;
            }
            Fault::DoneThenSilent => {
                forward(&request, upstream).await?;
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            Fault::Slow => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                client
                    .write_all(&forward(&request, upstream).await?)
                    .await
                    .ok()?;
            }
            Fault::Silent => tokio::time::sleep(Duration::from_secs(60)).await,
        }
    }
}

fn error(status: u16, code: &str) -> Vec<u8> {
    response(
        status,
        &format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"injected"}}"#),
    )
}

fn response(status: u16, body: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + body).into_bytes()
}

async fn forward(request: &[u8], upstream: SocketAddr) -> Option<Vec<u8>> {
    let mut upstream = TcpStream::connect(upstream).await.ok()?;
    upstream.write_all(request).await.ok()?;
    message(&mut upstream).await
}

/// One HTTP/1.1 message with a Content-Length.
async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length = text
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next());
            let length: usize = length
                .and_then(|length| length.trim().parse().ok())
                .unwrap_or(0);
            if bytes.len() >= head + 4 + length {
                return Some(bytes);
            }
        }
        let read = stream
            .read(&mut buffer)
            .await
            .ok()
            .filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
    }
}
