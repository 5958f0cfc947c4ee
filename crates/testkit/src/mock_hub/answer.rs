//! The right answer to a request: `/api/KIND/ID[/revision/REV]`, `/api/KIND/ID/tree/REV`,
//! `/[datasets/]ID/resolve/REV/PATH`, and `/store/KIND/ID/COMMIT/PATH` on the second host.

use super::http::{Reply, Request};
use super::repos::{Kind, RepoFile, Repos, Revision};
use serde_json::{Value, json};
use std::collections::HashMap;

/// What the hub is made of while it answers one request.
pub(super) struct Site<'a> {
    pub repos: &'a Repos,
    /// The token that must be sent.
    pub token: Option<&'a str>,
    pub endpoint: String,
    /// The second host, if large files are there.
    pub store: Option<String>,
    pub page_len: Option<usize>,
    pub declared: &'a HashMap<String, usize>,
    pub ignores_range: bool,
}

impl Site<'_> {
    pub fn reply(&self, request: &Request) -> Reply {
        let wanted = self.token.map(|token| format!("Bearer {token}"));
        if wanted.is_some() && request.header("authorization") != wanted {
            return error(401, "GatedRepo", "access to it is restricted");
        }
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        let parts: Vec<String> = path.split('/').skip(1).map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts[..] {
            [
                "api",
                kind @ ("models" | "datasets"),
                org,
                name,
                ref rest @ ..,
            ] => self.api(kind_of(kind), &format!("{org}/{name}"), rest, query),
            ["store", kind, org, name, commit, ..] => {
                let id = format!("{org}/{name}");
                let Some(at) = self.repos.revision(kind_of(kind), &id, commit) else {
                    return error(404, "RepoNotFound", "not stored");
                };
                self.file(&at, &parts[5..].join("/"), request)
            }
            ["datasets", org, name, "resolve", revision, ..] => {
                self.resolve(Kind::Dataset, org, name, revision, &parts[5..], request)
            }
            [org, name, "resolve", revision, ..] => {
                self.resolve(Kind::Model, org, name, revision, &parts[4..], request)
            }
            _ => error(404, "RepoNotFound", "no such page"),
        }
    }

    fn api(&self, kind: Kind, id: &str, rest: &[&str], query: &str) -> Reply {
        let revision = match rest {
            [] => "main",
            ["revision" | "tree", revision, ..] => revision,
            _ => return error(404, "RepoNotFound", "no such page"),
        };
        let at = match self.find(kind, id, revision) {
            Ok(at) => at,
            Err(reply) => return reply,
        };
        let files = at.files();
        if rest.first() == Some(&"tree") {
            return self.tree(&at, &files, &rest[2..].join("/"), query);
        }
        let with_hashes = query == "blobs=true";
        let siblings = files.iter().map(|file| match with_hashes {
            true => sibling(file),
            false => json!({"rfilename": file.path}),
        });
        Reply::json(json!({
            "_id": "0", "id": id, "sha": at.commit, "private": false, "gated": false,
            "disabled": false, "downloads": 0, "likes": 0, "tags": [],
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "siblings": siblings.collect::<Vec<_>>(),
        }))
    }

    /// A page of the list of files below a folder, or of the folder's own entries. The cursor is
    /// the number of entries before it.
    fn tree(&self, at: &Revision, files: &[RepoFile], folder: &str, query: &str) -> Reply {
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(other, _)| *other == name)
                .map(|(_, value)| value.to_ascii_lowercase())
        };
        let is_recursive = value("recursive").as_deref() == Some("true");
        let entries = entries(files, folder, is_recursive);
        let from: usize = value("cursor").map_or(0, |cursor| cursor.parse().unwrap());
        let to = entries.len().min(from + self.page_len.unwrap_or(1000));
        let reply = Reply::json(json!(entries[from..to]));
        if to == entries.len() {
            return reply;
        }
        let (kind, id, commit) = (at.kind.folder(), &at.id, &at.commit);
        let page = format!("api/{kind}/{id}/tree/{commit}/{folder}");
        let page = format!("{page}?recursive={is_recursive}&cursor={to}");
        reply.with("link", format!("<{}/{page}>; rel=\"next\"", self.endpoint))
    }

    fn resolve(
        &self,
        kind: Kind,
        org: &str,
        name: &str,
        revision: &str,
        path: &[&str],
        request: &Request,
    ) -> Reply {
        match self.find(kind, &format!("{org}/{name}"), revision) {
            Ok(at) => self.file(&at, &path.join("/"), request),
            Err(reply) => reply,
        }
    }

    fn find(&self, kind: Kind, id: &str, revision: &str) -> Result<Revision<'_>, Reply> {
        self.repos
            .revision(kind, id, revision)
            .ok_or_else(|| match self.repos.has(kind, id) {
                true => error(404, "RevisionNotFound", "invalid rev id"),
                false => error(404, "RepoNotFound", "repository not found"),
            })
    }

    fn file(&self, at: &Revision, path: &str, request: &Request) -> Reply {
        let Some(file) = at.file(path) else {
            return error(404, "EntryNotFound", "entry not found")
                .with("x-repo-commit", &at.commit);
        };
        let n = file.bytes.len();
        let n_declared = self.declared.get(path).copied().unwrap_or(n);
        let reply = |code, bytes: &[u8]| {
            Reply::new(code, bytes)
                .with("etag", format!("\"{}\"", file.tag()))
                .with("x-repo-commit", &at.commit)
                .with("accept-ranges", "bytes")
        };
        if let Some(store) = self.store.as_ref().filter(|_| file.is_large()) {
            let (kind, id, commit) = (at.kind.folder(), &at.id, &at.commit);
            return reply(302, b"")
                .with("x-linked-etag", format!("\"{}\"", file.tag()))
                .with("x-linked-size", n_declared)
                .with(
                    "location",
                    format!("{store}/store/{kind}/{id}/{commit}/{path}"),
                );
        }
        if request.method == "HEAD" {
            return reply(200, b"").with_length(n_declared);
        }
        let range = request.header("range").filter(|_| !self.ignores_range);
        let Some((from, to)) = range.as_deref().and_then(|range| {
            let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some((
                from.parse().ok()?,
                to.parse().map_or(n, |to: usize| n.min(to + 1)),
            ))
        }) else {
            return reply(200, &file.bytes);
        };
        if from >= n && n > 0 {
            return Reply::new(416, "").with("content-range", format!("bytes */{n}"));
        }
        let last = to.saturating_sub(1);
        reply(206, &file.bytes[from..to])
            .with("content-range", format!("bytes {from}-{last}/{n_declared}"))
    }
}

/// The files below a folder, or the files and folders in it.
fn entries(files: &[RepoFile], folder: &str, is_recursive: bool) -> Vec<Value> {
    let prefix = match folder {
        "" => String::new(),
        folder => format!("{folder}/"),
    };
    let mut entries: Vec<Value> = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with(&prefix)) {
        let inner = file.path[prefix.len()..].split_once('/');
        let new = match inner.filter(|_| !is_recursive) {
            Some((name, _)) => {
                let path = format!("{prefix}{name}");
                json!({"type": "directory", "oid": "0", "size": 0, "path": path})
            }
            None => entry(file),
        };
        if entries.last() != Some(&new) {
            entries.push(new);
        }
    }
    entries
}

fn entry(file: &RepoFile) -> Value {
    let n = file.bytes.len();
    let mut entry = json!({"type": "file", "oid": file.oid(), "size": n, "path": file.path});
    if file.is_large() {
        entry["lfs"] = json!({"oid": file.sha256(), "size": n, "pointerSize": 130});
    }
    entry
}

/// A file in the answer about a repository.
fn sibling(file: &RepoFile) -> Value {
    let n = file.bytes.len();
    let mut sibling = json!({"rfilename": file.path, "size": n, "blobId": file.oid()});
    if file.is_large() {
        sibling["lfs"] = json!({"sha256": file.sha256(), "size": n, "pointerSize": 130});
    }
    sibling
}

fn error(code: u16, name: &str, why: &str) -> Reply {
    Reply::new(code, json!({ "error": why }).to_string())
        .with("x-error-code", name)
        .with("x-error-message", why)
}

fn kind_of(folder: &str) -> Kind {
    match folder {
        "models" => Kind::Model,
        _ => Kind::Dataset,
    }
}

fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part)
        .decode_utf8_lossy()
        .into_owned()
}
