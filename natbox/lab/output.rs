//! Output files that are whole or not there: written beside their place, then renamed into it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes a file. A failure, in `fill` or of the disk, leaves what was there before.
///
/// What is no regular file (`/dev/null`, a pipe) is written directly. The directory must exist.
pub fn write_file<T, E>(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<T, E>) -> Result<T, E>
where
    E: From<io::Error>,
{
    // A link keeps pointing at its file: what is replaced is the file.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|there| !there.is_file()) {
        return filled(File::options().write(true).open(&target)?, fill);
    }
    let (scratch, file) = scratch_beside(&target)?;
    let written = filled(file, fill).and_then(|done| Ok(fs::rename(&scratch, &target).map(|()| done)?));
    if written.is_err() {
        // The failure itself is what is reported.
        fs::remove_file(&scratch).ok();
    }
    written
}

/// An output file that others read while it grows: it has its name once its beginning is written, and is locked for as long
/// as somebody writes it, so that whoever reads it can tell.
pub struct Appearing {
    file: File,
    /// Where it is until it appears, and where it appears.
    scratch: Option<(PathBuf, PathBuf)>,
}

impl Appearing {
    /// A file that has no name of its own yet. What is no regular file is written directly.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: &Path) -> io::Result<Appearing> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if fs::metadata(&target).is_ok_and(|there| !there.is_file()) {
            return Ok(Appearing { file: File::options().write(true).open(&target)?, scratch: None });
        }
        let (scratch, file) = scratch_beside(&target)?;
        // A file system without locks is no reason not to write.
        file.try_lock().ok();
        Ok(Appearing { file, scratch: Some((scratch, target)) })
    }

    /// Gives it its name, in place of what was there.
    ///
    /// # Errors
    /// The file system refuses. Then it is removed.
    pub fn appear(&mut self) -> io::Result<()> {
        match self.scratch.take() {
            Some((scratch, target)) => fs::rename(&scratch, &target).inspect_err(|_| drop(fs::remove_file(&scratch))),
            None => Ok(()),
        }
    }

    /// Cuts off what is behind its first bytes, as far as that can be done.
    pub fn cut(&mut self, bytes: u64) {
        self.file.set_len(bytes).ok();
    }
}

impl Write for Appearing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Appearing {
    fn drop(&mut self) {
        if let Some((scratch, _)) = self.scratch.take() {
            fs::remove_file(scratch).ok();
        }
    }
}

/// Whether [`write_file`] can write a file here, as far as that can be known beforehand: for what takes long to make.
///
/// # Errors
/// Why not.
pub fn may_write(path: &Path) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::metadata(&target) {
        Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => File::options().write(true).open(&target).map(drop),
        _ => scratch_beside(&target).and_then(|(scratch, _)| fs::remove_file(scratch)),
    }
}

fn filled<T, E: From<io::Error>>(file: File, fill: impl FnOnce(&mut dyn Write) -> Result<T, E>) -> Result<T, E> {
    let mut file = BufWriter::new(file);
    let done = fill(&mut file)?;
    file.flush()?;
    Ok(done)
}

/// A new file in the same directory, so that renaming stays on one disk.
fn scratch_beside(target: &Path) -> io::Result<(PathBuf, File)> {
    let name = target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    for attempt in 0..100_u32 {
        let mut scratch = name.to_owned();
        scratch.push(format!(".{}-{attempt}.part", std::process::id()));
        let scratch = target.with_file_name(scratch);
        match File::options().write(true).create_new(true).open(&scratch) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (scratch, file)),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many unfinished files beside it"))
}
