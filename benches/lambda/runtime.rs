//! A function under a Runtime API that passes it one event at a time, and takes the time of each
//! response.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::http::{Message, response};

/// What starts a function: a program, its arguments, and its environment.
#[derive(Clone)]
pub struct Program {
    pub name: &'static str,
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
}

impl Program {
    pub fn new(name: &'static str, path: &Path) -> Self {
        let command = vec![path.to_str().expect("a path in UTF-8").to_owned()];
        Self {
            name,
            command,
            environment: Vec::new(),
        }
    }

    pub fn with(mut self, environment: &[(&str, &str)]) -> Self {
        self.environment.extend(
            environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        self
    }
}

/// A running function; it ends with this value.
pub struct Function {
    name: &'static str,
    process: Child,
    started: Instant,
    requests: mpsc::Receiver<Request>,
    /// The function's call for its next event, once it has come.
    next: Option<oneshot::Sender<Vec<u8>>>,
    invocations: u64,
}

/// A request of the function, when it had come, and where its response goes.
struct Request {
    message: Message,
    at: Instant,
    response: oneshot::Sender<Vec<u8>>,
}

/// A function's response, and the time from the event to it.
pub struct Response {
    pub body: Vec<u8>,
    pub time: Duration,
}

impl Function {
    /// Starts a function with nothing but the variables that Lambda would set and the program's
    /// own.
    pub async fn start(program: &Program) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (sender, requests) = mpsc::channel(8);
        tokio::spawn(accept(listener, sender));
        let mut command = Command::new(&program.command[0]);
        command
            .args(&program.command[1..])
            .env_clear()
            .envs(program.environment.iter().cloned());
        command.envs([
            ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "bench"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let started = Instant::now();
        let process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.command[0]));
        Self {
            name: program.name,
            process,
            started,
            requests,
            next: None,
            invocations: 0,
        }
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the function has asked for an event: its start is over.
    pub async fn ready(&mut self) {
        if self.next.is_none() {
            let request = self.request().await;
            assert!(
                request.message.path().ends_with("/next"),
                "{}: {}",
                self.name,
                text(request.message.bytes())
            );
            self.next = Some(request.response);
        }
    }

    /// Sends one event and waits for the response; then the function is ready again.
    pub async fn invoke(&mut self, event: &str) -> Response {
        let (response, _) = self.respond(event).await;
        self.ready().await;
        response
    }

    /// The first event, with the time from the start of the process to the response, and the
    /// processor time.
    pub async fn first(&mut self, event: &str) -> (Duration, Duration) {
        let (_, at) = self.respond(event).await;
        let processor = self.processor_time();
        let whole = at - self.started;
        self.ready().await;
        (whole, processor)
    }

    async fn respond(&mut self, event: &str) -> (Response, Instant) {
        self.ready().await;
        self.invocations += 1;
        let headers = format!(
            "Lambda-Runtime-Aws-Request-Id: {}\r\nLambda-Runtime-Deadline-Ms: 4102444800000\r\n\
             Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:123456789012:function:bench\r\n\
             Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0\r\n",
            self.invocations
        );
        let event = response("200 OK", &headers, event.as_bytes());
        let begin = Instant::now();
        self.next
            .take()
            .expect("a function that waits")
            .send(event)
            .expect("a connection");
        let request = self.request().await;
        assert!(
            request.message.path().ends_with("/response"),
            "{}: {}",
            self.name,
            text(request.message.bytes())
        );
        request
            .response
            .send(response("202 Accepted", "", b"{}"))
            .expect("a connection");
        (
            Response {
                body: request.message.body().to_vec(),
                time: request.at - begin,
            },
            request.at,
        )
    }

    async fn request(&mut self) -> Request {
        let request = tokio::time::timeout(Duration::from_secs(60), self.requests.recv()).await;
        request
            .ok()
            .flatten()
            .unwrap_or_else(|| panic!("{} does not ask for events", self.name))
    }

    /// What all threads of the process have run for, to the nanosecond.
    pub fn processor_time(&self) -> Duration {
        let tasks =
            std::fs::read_dir(format!("/proc/{}/task", self.process_id())).expect("a process");
        let nanoseconds = tasks.map(|task| {
            let path = task.expect("a thread").path().join("schedstat");
            let text = std::fs::read_to_string(path).expect("a thread's times");
            text.split(' ')
                .next()
                .and_then(|text| text.parse::<u64>().ok())
                .expect("a time")
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Resident memory, in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process_id()))
            .expect("a process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("a size");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a size")
            * 1024
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // Not SIGKILL: a profiler around the function has something to write.
        let _ = kill(Pid::from_raw(self.process_id() as i32), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

async fn accept(listener: TcpListener, requests: mpsc::Sender<Request>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("an option");
        tokio::spawn(serve(stream, requests.clone()));
    }
}

async fn serve(mut stream: TcpStream, requests: mpsc::Sender<Request>) -> Option<()> {
    loop {
        let message = Message::read(&mut stream).await?;
        let (response, written) = oneshot::channel();
        requests
            .send(Request {
                message,
                at: Instant::now(),
                response,
            })
            .await
            .ok()?;
        stream.write_all(&written.await.ok()?).await.ok()?;
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
