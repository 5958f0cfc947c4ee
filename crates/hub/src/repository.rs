//! A repository of the hub: its list of files, and one file of it into the cache. A file's length
//! is the one that the hub declares: a longer body is stopped, a shorter one is continued, at once
//! and by the next call, and neither gets the file's name. Nor does one of another hash than the
//! list of files has.

use crate::HubSettings;
use crate::cache::{RepoCache, link};
use crate::client::{Client, Metadata};
use crate::content_hash::ContentHash;
use crate::disk::require_space;
use crate::failure::{Failure, text};
use crate::tree::is_plain_path;
use hf_hub::api::Progress;
use hf_hub::{Repo, RepoType};
use indicatif::ProgressBar;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

const PIECE_BYTES: usize = 1 << 20;
/// What is written otherwise in a path of a URL.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b']')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'^')
    .add(b'\\');

/// What a file should be, by a list of the files of a commit.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// A file of another commit may have another content.
    pub commit: &'a str,
    /// Of its content.
    pub hash: &'a ContentHash,
}

/// A repository of a hub at one revision, and its place in the cache.
pub struct Repository {
    /// Its place in the cache.
    pub cache: RepoCache,
    pub(crate) client: Client,
    endpoint: String,
    repo: Repo,
}

impl Repository {
    /// A model at its main branch.
    pub fn model(settings: &HubSettings, id: &str) -> Self {
        Self::new(settings, Repo::new(id.to_string(), RepoType::Model))
    }

    pub(crate) fn new(settings: &HubSettings, repo: Repo) -> Self {
        Self {
            cache: RepoCache::new(&settings.cache_dir, repo.clone()),
            client: Client::new(settings),
            endpoint: settings.endpoint.clone(),
            repo,
        }
    }

    /// What the hub says of the repository: the JSON's bytes, at most `max_bytes` of them, and one
    /// more where there are more.
    pub fn info(&self, max_bytes: u64) -> Result<Vec<u8>, Failure> {
        let url = format!("{}/api/{}", self.endpoint, self.repo.api_url());
        Ok(self.read(&url, max_bytes)?.0)
    }

    /// The same with the hashes of its files.
    pub fn info_with_hashes(&self, max_bytes: u64) -> Result<Vec<u8>, Failure> {
        let url = format!("{}/api/{}?blobs=true", self.endpoint, self.repo.api_url());
        Ok(self.read(&url, max_bytes)?.0)
    }

    /// The bytes of an answer, and the URL of the next page. The length is limited after
    /// decompression.
    pub(crate) fn read(
        &self,
        url: &str,
        max_bytes: u64,
    ) -> Result<(Vec<u8>, Option<String>), Failure> {
        let mut n_tries = 0;
        loop {
            n_tries += 1;
            let mut response = self.client.get(url, &[])?;
            let next = text(response.headers(), "link").and_then(next_page);
            let mut bytes = Vec::new();
            let mut body = response.body_mut().as_reader().take(max_bytes + 1);
            let Err(e) = body.read_to_end(&mut bytes) else {
                return Ok((bytes, next));
            };
            match self.client.wait_after(n_tries, None) {
                Some(wait) => self.client.pause(&e.to_string(), wait),
                None => return Err(Failure::File(e.to_string())),
            }
        }
    }

    /// The URL of a page of the list of all files.
    pub(crate) fn tree_url(&self) -> String {
        let (id, revision) = (self.repo.url(), self.repo.url_revision());
        let endpoint = &self.endpoint;
        format!("{endpoint}/api/{id}/tree/{revision}?recursive=true&expand=false")
    }

    /// The file in the cache, fetched if it is not there. A file of more than `max_bytes` is
    /// refused, and one that is fetched and is not what is expected.
    pub fn get(
        &self,
        name: &str,
        max_bytes: Option<u64>,
        expected: Option<Expected>,
    ) -> Result<PathBuf, Failure> {
        if let Some(path) = self.cache.get(name) {
            return Ok(path);
        }
        let (place, commit) = self.fetch(name, max_bytes, expected)?;
        (self.cache.set_commit(&commit)).map_err(|e| cannot_write(&place, e))?;
        Ok(place)
    }

    /// The place of a file in the cache and its commit, after it was fetched.
    pub(crate) fn fetch(
        &self,
        name: &str,
        max_bytes: Option<u64>,
        expected: Option<Expected>,
    ) -> Result<(PathBuf, String), Failure> {
        if !is_plain_path(name) {
            let why = "is no plain path below the repository; it is not fetched";
            return Err(Failure::File(why.into()));
        }
        let url = self.url(name);
        let metadata = self.client.metadata(&url)?;
        if let Some(max) = max_bytes.filter(|max| metadata.n_bytes > *max) {
            let (size, mib) = (metadata.n_bytes, max >> 20);
            return Err(Failure::File(format!(
                "has {size} bytes; such a file has at most {mib} MiB"
            )));
        }
        // They become parts of paths.
        let plain = |part: &str| part.replace(['/', '\\'], "-").replace("..", "-");
        let (etag, commit) = (plain(&metadata.etag), plain(&metadata.commit));
        let blob = self.cache.blob(&etag);
        let expected = expected.filter(|expected| expected.commit == metadata.commit);
        let hash = expected.map(|expected| expected.hash);
        self.fetch_blob((&url, name), &metadata, hash, &blob)?;
        let place = self.cache.snapshot(&commit).join(name);
        link(&blob, &place, name.matches('/').count()).map_err(|e| cannot_write(&place, e))?;
        Ok((place, commit))
    }

    fn url(&self, name: &str) -> String {
        let name = utf8_percent_encode(name, ESCAPED);
        let (endpoint, id) = (&self.endpoint, self.repo.url());
        format!(
            "{endpoint}/{id}/resolve/{}/{name}",
            self.repo.url_revision()
        )
    }

    /// Fetches a file into `blob`, one process at a time.
    fn fetch_blob(
        &self,
        (url, name): (&str, &str),
        metadata: &Metadata,
        hash: Option<&ContentHash>,
        blob: &Path,
    ) -> Result<(), Failure> {
        let size = metadata.n_bytes;
        let failed = |e: std::io::Error| cannot_write(blob, e);
        let with = |ending: &str| {
            let name = blob.file_name().unwrap_or_default().to_string_lossy();
            blob.with_file_name(format!("{name}.{ending}"))
        };
        let folder = blob.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::create(with("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        if blob.metadata().is_ok_and(|found| found.len() == size) {
            return Ok(()); // another file has the same content, or another process fetched it
        }
        let part = with("part");
        let options = File::options().create(true).append(true).clone();
        let mut file = options.open(&part).map_err(failed)?;
        let mut n_there = file.metadata().map_err(failed)?.len();
        if n_there > size {
            file.set_len(0).map_err(failed)?;
            n_there = 0;
        }
        require_space(folder, size - n_there)?;
        n_there = self.append_all(url, name, size, n_there, &mut file)?;
        if n_there > size {
            let _ = std::fs::remove_file(&part);
            return Err(Failure::File(format!(
                "the hub sends more than the {size} bytes that it declared; nothing was kept"
            )));
        }
        file.sync_all().map_err(failed)?;
        let mismatch = hash.map(|hash| hash.mismatch(&part)).transpose();
        if let Some(why) = mismatch.map_err(failed)?.flatten() {
            let _ = std::fs::remove_file(&part);
            return Err(Failure::File(why));
        }
        std::fs::rename(&part, blob).map_err(failed)
    }

    /// Appends what is missing, in several tries where the connection breaks. What has come is
    /// kept, and the next try, or the next call, begins there. Returns how many bytes are there:
    /// all, or more.
    fn append_all(
        &self,
        url: &str,
        name: &str,
        size: u64,
        mut n_there: u64,
        file: &mut File,
    ) -> Result<u64, Failure> {
        let (mut n_tries, mut n_most) = (0, n_there);
        while n_there < size {
            n_tries += 1;
            let (n, broken) = self.append(url, name, size, n_there, file)?;
            n_there = n;
            if n_there >= size {
                break;
            }
            if n_there > n_most {
                (n_tries, n_most) = (1, n_there);
            }
            let Some(wait) = self.client.wait_after(n_tries, None) else {
                return Err(Failure::File(match broken {
                    Some(e) => {
                        format!("after {n_there} of {size} bytes: {e}; run again to fetch the rest")
                    }
                    None => format!(
                        "the hub sent {n_there} of {size} bytes; run again to fetch the rest"
                    ),
                }));
            };
            let at = format!("{name}: the connection broke after {n_there} of {size} bytes");
            self.client.pause(&at, wait);
        }
        Ok(n_there)
    }

    /// Appends what is missing, and at most one byte more. Returns how many bytes are there now,
    /// and what broke the connection.
    fn append(
        &self,
        url: &str,
        name: &str,
        size: u64,
        mut n_there: u64,
        file: &mut File,
    ) -> Result<(u64, Option<std::io::Error>), Failure> {
        let failed = |e: std::io::Error| Failure::File(format!("cannot write: {e}"));
        let range = format!("bytes={n_there}-");
        // Not compressed: the bytes are counted.
        let headers = [("range", range.as_str()), ("accept-encoding", "identity")];
        let mut response = match self.client.get(url, &headers) {
            // There are no more bytes than those that have come.
            Err(Failure::Status(status)) if status.code == 416 && n_there > 0 => {
                return Ok((n_there, None));
            }
            response => response?,
        };
        if response.status() != 206 && n_there > 0 {
            file.set_len(0).map_err(failed)?; // it sends the whole file
            n_there = 0;
        }
        let sent = text(response.headers(), "content-range").map(str::trim);
        if sent.is_some_and(|sent| !sent.starts_with(&format!("bytes {n_there}-"))) {
            let sent = sent.unwrap_or_default();
            return Err(Failure::File(format!(
                "the hub sends {sent:?} where the bytes from {n_there} on were asked for"
            )));
        }
        let mut bar = ProgressBar::new(0);
        Progress::init(&mut bar, size as usize, name);
        bar.set_position(n_there);
        let mut body = response.body_mut().as_reader().take(size - n_there + 1);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let n = match body.read(&mut piece) {
                Err(e) => return Ok((n_there, Some(e))),
                Ok(0) => {
                    Progress::finish(&mut bar);
                    return Ok((n_there, None));
                }
                Ok(n) => n,
            };
            file.write_all(&piece[..n]).map_err(failed)?;
            n_there += n as u64;
            bar.set_position(n_there);
        }
    }
}

fn cannot_write(place: &Path, e: std::io::Error) -> Failure {
    Failure::File(format!("cannot write {}: {e}", place.display()))
}

/// The URL of the next page in a header `Link: <url>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let url = next.split_once('<')?.1.split_once('>')?.0;
    Some(url.to_string())
}
