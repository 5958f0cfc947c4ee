//! One file of a hub's repository into hf-hub's cache. Its length is the one that the hub declares:
//! a longer body is stopped, a shorter one is continued by the next call, and neither gets the
//! file's name. hf-hub itself would write whatever comes.

use crate::hf_files;
use hf_hub::CacheRepo;
use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiError, ApiRepo};
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;

const PIECE_BYTES: usize = 1 << 20;

/// A repository of a hub, and its place in the cache.
pub(crate) struct Repository {
    pub api: Api,
    pub repo: ApiRepo,
    pub cache: CacheRepo,
    agent: Agent,
    token: Option<String>,
}

/// Why a file was not fetched.
pub(crate) enum Failure {
    Hub(ApiError),
    /// The file or the disk, in words that follow the file's name
    File(String),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Hub(error)
    }
}

impl Repository {
    pub fn new(api: Api, id: &str, cache: CacheRepo, token: Option<String>) -> Self {
        let config = Agent::config_builder().redirect_auth_headers(RedirectAuthHeaders::SameHost);
        Self {
            repo: api.model(id.to_string()),
            api,
            cache,
            agent: config.build().into(),
            token,
        }
    }

    /// The file in the cache, fetched if it is not there. Settings, which are read whole, have at
    /// most as many bytes as their reader accepts.
    pub fn get(&self, name: &str) -> Result<PathBuf, Failure> {
        if let Some(path) = self.cache.get(name) {
            return Ok(path);
        }
        let url = self.repo.url(name);
        let metadata = self.api.metadata(&url)?;
        let size = metadata.size() as u64;
        if !name.ends_with(".safetensors") && size > hf_files::MAX_BYTES {
            let mib = hf_files::MAX_BYTES >> 20;
            return Err(Failure::File(format!(
                "has {size} bytes; such a file has at most {mib} MiB"
            )));
        }
        // They become parts of paths.
        let plain = |part: &str| part.replace(['/', '\\'], "-").replace("..", "-");
        let (etag, commit) = (plain(metadata.etag()), plain(metadata.commit_hash()));
        let blob = self.cache.blob_path(&etag);
        self.fetch(&url, name, size, &blob)?;
        let place = self.cache.pointer_path(&commit).join(name);
        link(&blob, &place)
            .and_then(|()| self.cache.create_ref(&commit))
            .map_err(|e| Failure::File(format!("cannot write {}: {e}", place.display())))?;
        Ok(place)
    }

    /// Fetches a file of `size` bytes into `blob`, one process at a time.
    fn fetch(&self, url: &str, name: &str, size: u64, blob: &Path) -> Result<(), Failure> {
        let failed =
            |e: std::io::Error| Failure::File(format!("cannot write {}: {e}", blob.display()));
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
        if n_there < size {
            n_there = self.append(url, name, size, n_there, &mut file, &part)?;
        }
        if n_there > size {
            let _ = std::fs::remove_file(&part);
            return Err(Failure::File(format!(
                "the hub sends more than the {size} bytes that it declared; nothing was kept"
            )));
        }
        if n_there < size {
            return Err(Failure::File(format!(
                "the hub sent {n_there} of {size} bytes; run again to fetch the rest"
            )));
        }
        file.sync_all().map_err(failed)?;
        std::fs::rename(&part, blob).map_err(failed)
    }

    /// Appends what is missing, and at most one byte more. Returns how many bytes are there now.
    fn append(
        &self,
        url: &str,
        name: &str,
        size: u64,
        mut n_there: u64,
        file: &mut File,
        part: &Path,
    ) -> Result<u64, Failure> {
        let failed =
            |e: std::io::Error| Failure::File(format!("cannot write {}: {e}", part.display()));
        // Not compressed: the bytes are counted.
        let mut request = (self.agent.get(url))
            .header("Range", format!("bytes={n_there}-"))
            .header("Accept-Encoding", "identity");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut response = request.call().map_err(|e| ApiError::from(Box::new(e)))?;
        if response.status() != 206 && n_there > 0 {
            file.set_len(0).map_err(failed)?; // it sends the whole file
            n_there = 0;
        }
        let mut bar = ProgressBar::new(0);
        Progress::init(&mut bar, size as usize, name);
        bar.set_position(n_there);
        let mut body = response.body_mut().as_reader().take(size - n_there + 1);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            // What has come is kept, and the next call begins there.
            let n = body.read(&mut piece).map_err(|e| {
                Failure::File(format!(
                    "after {n_there} of {size} bytes: {e}; run again to fetch the rest"
                ))
            })?;
            if n == 0 {
                Progress::finish(&mut bar);
                return Ok(n_there);
            }
            file.write_all(&piece[..n]).map_err(failed)?;
            n_there += n as u64;
            bar.set_position(n_there);
        }
    }
}

/// Fails where the disk has no room for so many bytes more.
fn require_space(folder: &Path, n_bytes: u64) -> Result<(), Failure> {
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        return Ok(()); // unknown
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if n_bytes <= free {
        return Ok(());
    }
    let mb = |bytes: u64| bytes.div_ceil(1_000_000);
    Err(Failure::File(format!(
        "needs {} MB in {}, and {} MB are free; free some, or set HF_HOME to another disk",
        mb(n_bytes),
        folder.display(),
        mb(free)
    )))
}

/// Gives a blob its name in a snapshot, by a relative link as in huggingface_hub's cache.
fn link(blob: &Path, place: &Path) -> std::io::Result<()> {
    let folder = place.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let to = Path::new("../../blobs").join(blob.file_name().unwrap_or_default());
    // In one step, since another process may read or make the link. An old one may lead to nothing,
    // in a cache that was cleaned in part.
    let mut temporary = place.as_os_str().to_owned();
    temporary.push(format!(".{}.link", std::process::id()));
    let _ = std::fs::remove_file(&temporary);
    std::os::unix::fs::symlink(to, &temporary)?;
    std::fs::rename(&temporary, place)
}
