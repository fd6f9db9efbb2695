//! HTTP/1.1 messages, as far as the stubs need them: a head, and a body of Content-Length bytes.

use tokio::io::{AsyncRead, AsyncReadExt};

/// A request or a response, as it came.
pub struct Message {
    bytes: Vec<u8>,
    head: usize,
}

impl Message {
    /// Reads the next one. Returns `None` if the other side has closed the connection.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let mut bytes = Vec::with_capacity(16 * 1024);
        loop {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = end + 4;
            let length = head + content_length(&bytes[..head]);
            bytes.reserve(length.saturating_sub(bytes.len()));
            while bytes.len() < length {
                if stream.read_buf(&mut bytes).await.ok()? == 0 {
                    return None;
                }
            }
            return Some(Self { bytes, head });
        }
    }

    /// The whole message.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn body(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// The path of a request.
    pub fn path(&self) -> &str {
        let line = self
            .bytes
            .split(|byte| *byte == b'\r')
            .next()
            .unwrap_or_default();
        std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split(' ').nth(1))
            .expect("a request line")
    }
}

/// A response with a JSON body.
pub fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head
        .split("content-length:")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next());
    value.map_or(0, |value| value.trim().parse().expect("a length"))
}
