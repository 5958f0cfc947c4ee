//! A file that is written row by row, compressed by its name, and appears when it is whole.

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Level 3 of zstd is its default.
const ZSTD_LEVEL: i32 = 3;

/// The file under its temporary name.
pub(crate) struct Out {
    path: PathBuf,
    file: NamedTempFile,
    sink: Sink,
}

enum Sink {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Out {
    /// Errors: the name ends in none of `.jsonl`, `.jsonl.gz` and `.jsonl.zst`, or its directory
    /// cannot be written.
    pub fn new(path: &Path) -> Result<Self> {
        let shown = path.display();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ending = [".jsonl", ".jsonl.gz", ".jsonl.zst"];
        let Some(ending) = ending.into_iter().find(|ending| name.ends_with(ending)) else {
            bail!("--out {shown}: the name must end in .jsonl, .jsonl.gz or .jsonl.zst");
        };
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        if !parent.is_dir() {
            bail!("cannot write {shown}: no directory {}", parent.display());
        }
        let open = || -> std::io::Result<(NamedTempFile, Sink)> {
            let file = tempfile::Builder::new()
                .prefix(".tmp-")
                .permissions(Permissions::from_mode(0o666)) // the umask applies, as to any file
                .tempfile_in(parent)?;
            let rows = BufWriter::with_capacity(1 << 16, file.as_file().try_clone()?);
            let sink = match ending {
                ".jsonl" => Sink::Plain(rows),
                ".jsonl.gz" => Sink::Gzip(GzEncoder::new(rows, Compression::default())),
                _ => Sink::Zstd(zstd::Encoder::new(rows, ZSTD_LEVEL)?),
            };
            Ok((file, sink))
        };
        let (file, sink) = open().with_context(|| format!("cannot write {shown}"))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            sink,
        })
    }

    pub fn put(&mut self, line: &str) -> Result<()> {
        let sink: &mut dyn Write = match &mut self.sink {
            Sink::Plain(sink) => sink,
            Sink::Gzip(sink) => sink,
            Sink::Zstd(sink) => sink,
        };
        let written = sink
            .write_all(line.as_bytes())
            .and_then(|()| sink.write_all(b"\n"));
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Gives the file its name.
    pub fn finish(self) -> Result<()> {
        let Self { path, file, sink } = self;
        let finish = || -> std::io::Result<()> {
            let mut rows = match sink {
                Sink::Plain(rows) => rows,
                Sink::Gzip(sink) => sink.finish()?,
                Sink::Zstd(sink) => sink.finish()?,
            };
            rows.flush()?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|e| e.error)?;
            Ok(())
        };
        finish().with_context(|| format!("cannot write {}", path.display()))
    }
}
