//! As much of HTTP/1.1 as a client needs: a request's line and headers, an answer with a length.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{Shutdown, TcpStream};

/// Longer requests are not answered.
const MAX_REQUEST_BYTES: u64 = 1 << 16;

/// A request without a body.
pub(super) struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream.take(MAX_REQUEST_BYTES)).lines();
        let first = lines.next()?.ok()?;
        let mut words = first.split(' ');
        let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
        let mut headers = Vec::new();
        loop {
            let line = lines.next()?.ok()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
        Some(Self {
            method,
            target,
            headers,
        })
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let mut headers = self.headers.iter();
        headers
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.clone())
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    code: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The declared length, where it is not the body's.
    length: Option<usize>,
}

impl Reply {
    /// A body with a status.
    pub fn new(code: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            code,
            headers: Vec::new(),
            body: body.into(),
            length: None,
        }
    }

    /// JSON with status 200.
    pub fn json(value: serde_json::Value) -> Self {
        Self::new(200, value.to_string()).with("content-type", "application/json")
    }

    /// With a header.
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name.to_string(), value.to_string()));
        self
    }

    /// With a length that is declared, whatever the body has.
    pub fn with_length(mut self, n_bytes: usize) -> Self {
        self.length = Some(n_bytes);
        self
    }

    /// Sends the answer, or the beginning of its body, and ends the connection.
    pub(super) fn send(
        &self,
        stream: &mut TcpStream,
        is_head: bool,
        n_kept: Option<usize>,
    ) -> Result<()> {
        let length = self.length.unwrap_or(self.body.len());
        let mut text = format!("HTTP/1.1 {} -\r\nconnection: close\r\n", self.code);
        text += &format!("content-length: {length}\r\n");
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        stream.write_all(text.as_bytes())?;
        stream.write_all(b"\r\n")?;
        if !is_head {
            let n = n_kept.unwrap_or(self.body.len()).min(self.body.len());
            stream.write_all(&self.body[..n])?;
        }
        stream.flush()?;
        stream.shutdown(Shutdown::Write)
    }
}
