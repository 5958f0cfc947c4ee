//! A hub that serves directories: models and data sets with their revisions, as the Hugging Face
//! hub answers huggingface_hub and us. It can be told to fail in the ways of networks.
//!
//! It speaks HTTP over its own sockets, because it must break connections where a library would
//! not.

mod answer;
mod http;
mod repos;

pub use http::Reply;
pub use repos::Kind;

use answer::Site;
use http::Request;
use repos::Repos;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer instead of the right one.
    Answer(Reply),
    /// The connection ends after so many bytes of the body.
    CutOff(usize),
    /// The whole file, whatever range was asked for.
    IgnoresRange,
}

/// A fault for requests whose line, `GET /path`, contains a text.
struct Planned {
    line_contains: String,
    n_left: usize,
    fault: Fault,
}

/// A request that was made.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET` or `HEAD`
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The values of these headers, if they were sent.
    pub authorization: Option<String>,
    pub range: Option<String>,
    /// Whether the second host was asked, which stores large files.
    pub is_store: bool,
}

#[derive(Default)]
struct State {
    repos: Repos,
    token: Option<String>,
    /// Large files are on a second host.
    has_store: bool,
    page_len: Option<usize>,
    asked: Vec<Asked>,
    faults: Vec<Planned>,
    declared: HashMap<String, usize>,
}

/// A running hub. It stops when it is dropped.
pub struct MockHub {
    state: Arc<Mutex<State>>,
    addresses: [SocketAddr; 2],
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl MockHub {
    /// A hub without repositories at a free port, and its second host at another.
    pub fn new() -> Self {
        Self::at("127.0.0.1:0")
    }

    /// The same at a given address.
    pub fn at(address: &str) -> Self {
        let listeners = [address, "127.0.0.1:0"].map(|at| TcpListener::bind(at).unwrap());
        let addresses = [0, 1].map(|i: usize| listeners[i].local_addr().unwrap());
        let (state, is_over) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let threads = listeners.into_iter().enumerate().map(|(i, listener)| {
            let (state, is_over) = (Arc::clone(&state), Arc::clone(&is_over));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let (state, stream) = (Arc::clone(&state), stream.unwrap());
                    std::thread::spawn(move || serve(stream, &state, addresses, i == 1));
                }
            })
        });
        Self {
            threads: threads.collect(),
            state,
            addresses,
            is_over,
        }
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addresses[0])
    }

    /// Serves a directory as a revision of a repository. Its files may change later.
    pub fn add(&self, kind: Kind, id: &str, revision: &str, dir: &Path) {
        self.state().repos.add(kind, id, revision, dir);
    }

    /// Serves all of `root`: `models|datasets/ORG/NAME/REVISION/…`, with `%2F` for `/` in the
    /// names of revisions.
    pub fn add_all(&self, root: &Path) -> std::io::Result<()> {
        self.state().repos.add_all(root)
    }

    /// Gives a repository's revisions this commit, instead of one that its files make.
    pub fn set_commit(&self, id: &str, commit: &str) {
        self.state().repos.set_commit(id, commit);
    }

    /// Answers only those who send this token.
    pub fn require_token(&self, token: &str) {
        self.state().token = Some(token.to_string());
    }

    /// Redirects requests for data to a second host, as the hub does with large files.
    pub fn use_store(&self) {
        self.state().has_store = true;
    }

    /// Lists at most so many files in an answer.
    pub fn set_page_len(&self, n_files: usize) {
        self.state().page_len = Some(n_files);
    }

    /// Declares a length for a file that is not the true one.
    pub fn declare(&self, name: &str, n_bytes: usize) {
        self.state().declared.insert(name.to_string(), n_bytes);
    }

    /// Takes back what was declared.
    pub fn declare_truth(&self) {
        self.state().declared.clear();
    }

    /// Lets the next `n` requests fail whose line, `GET /path`, contains a text.
    pub fn fail(&self, line_contains: &str, n: usize, fault: Fault) {
        self.state().faults.push(Planned {
            line_contains: line_contains.to_string(),
            n_left: n,
            fault,
        });
    }

    /// The requests since the last call.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state().asked)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Default for MockHub {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MockHub {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        for address in self.addresses {
            let _ = TcpStream::connect(address); // wakes the thread
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Answers one request; every connection has only one.
fn serve(mut stream: TcpStream, state: &Mutex<State>, addresses: [SocketAddr; 2], is_store: bool) {
    let Some(request) = Request::read(&stream) else {
        return;
    };
    let mut state = state.lock().unwrap();
    state.asked.push(Asked {
        method: request.method.clone(),
        target: request.target.clone(),
        authorization: request.header("authorization"),
        range: request.header("range"),
        is_store,
    });
    let line = format!("{} {}", request.method, request.target);
    let is_due = |p: &&mut Planned| p.n_left > 0 && line.contains(&p.line_contains);
    let fault = state.faults.iter_mut().find(is_due).map(|planned| {
        planned.n_left -= 1;
        planned.fault.clone()
    });
    let site = Site {
        repos: &state.repos,
        token: state.token.as_deref().filter(|_| !is_store),
        endpoint: format!("http://{}", addresses[0]),
        store: (state.has_store && !is_store).then(|| format!("http://{}", addresses[1])),
        page_len: state.page_len,
        declared: &state.declared,
        ignores_range: matches!(fault, Some(Fault::IgnoresRange)),
    };
    let (reply, n_kept) = match fault {
        Some(Fault::Answer(reply)) => (reply, None),
        Some(Fault::CutOff(n)) => (site.reply(&request), Some(n)),
        Some(Fault::IgnoresRange) | None => (site.reply(&request), None),
    };
    drop(state);
    let _ = reply.send(&mut stream, request.method == "HEAD", n_kept);
}
