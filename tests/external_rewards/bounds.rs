//! Replies of hostile servers are bounded in memory and time, whatever their form.

use super::{map, mixture, score};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The error of one request to a server that writes its reply itself, until the client hangs up.
fn error_of(reply: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + 'static) -> String {
    error_within(20.0, reply)
}

fn error_within(
    timeout_secs: f64,
    reply: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let stop = done.clone();
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming() {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let mut stream = stream.unwrap();
            read_request(&stream);
            let _ = reply(&mut stream);
        }
    });
    let entry = json!({"kind": "http", "url": url, "timeout_secs": timeout_secs, "retries": 0});
    let error = score(&mut mixture(map(entry).into()).unwrap(), 1).unwrap_err();
    done.store(true, Ordering::SeqCst);
    drop(TcpStream::connect(&url["http://".len()..url.len() - 1]));
    thread.join().unwrap();
    error.to_string()
}

fn read_request(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
}

const TOO_LONG: &str = "the reply has more than 16 MiB";
const MIB: usize = 1 << 20;

#[test]
fn a_small_reply_that_unpacks_to_much_is_refused() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        gzip.write_all(&vec![b' '; MIB]).unwrap();
    }
    let packed = gzip.finish().unwrap();
    assert!(packed.len() < MIB);
    let error = error_of(move |stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length:";
        write!(stream, "{head} {}\r\n\r\n", packed.len())?;
        stream.write_all(&packed)
    });
    assert!(error.contains(TOO_LONG), "{error}");
}

#[test]
fn a_reply_that_is_long_or_endless_is_refused() {
    let error = error_of(|stream| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
        )?;
        loop {
            stream.write_all(&[b' '; 65536])?;
        }
    });
    assert!(error.contains(TOO_LONG), "{error}");
    let error = error_of(|stream| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        )?;
        loop {
            write!(stream, "10000\r\n")?;
            stream.write_all(&[b' '; 65536])?;
            write!(stream, "\r\n")?;
        }
    });
    assert!(error.contains(TOO_LONG), "{error}");
}

#[test]
fn a_reply_byte_by_byte_is_refused() {
    // Each byte comes in time; all of them together do not.
    let error = error_within(0.3, |stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
        loop {
            stream.write_all(b" ")?;
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    assert!(error.contains("gave no answer: timeout"), "{error}");
}

#[test]
fn control_characters_of_a_server_reach_no_message() {
    let error = error_of(|stream| {
        let text = "\u{1b}[2J\u{1b}]0;title\u{7} evil \r over";
        write!(
            stream,
            "HTTP/1.1 403 No\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
    });
    assert!(
        error.contains("HTTP 403: \\u{1b}[2J\\u{1b}]0;title\\u{7} evil  over"),
        "{error}"
    );
}
