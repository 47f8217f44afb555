//! A file of words that one process writes and others read, and that outlives them all.
//!
//! Whoever writes it holds a lock on it, which ends with its process however that ends. The lock can be looked at without
//! being taken, so that nobody who looks gets in the way of a writer that starts.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::mapping::Mapping;
use crate::sys;

/// A file of words that is mapped.
#[derive(Debug)]
pub struct SharedFile {
    file: File,
    path: PathBuf,
    mapping: Mapping,
}

impl SharedFile {
    /// Opens a file that is there; its lock is not taken.
    ///
    /// # Errors
    ///
    /// Returns the system's error: `NotFound`, `PermissionDenied` when it may not be both read and written, `InvalidInput`
    /// when it is shorter than a word.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let mapping = Mapping::of_file(&file)?;
        Ok(Self { file, path: path.to_owned(), mapping })
    }

    /// Makes a file of so many words, fills it, takes its lock, and puts it at `path`, where nothing is or in the place of
    /// `replaced`: nobody ever sees half of it, and what a process that was killed meanwhile has left stands in nobody's
    /// way.
    ///
    /// # Errors
    ///
    /// Returns the system's error: `StorageFull` when the file system has not so much room, `WouldBlock` when another
    /// process is making the same file, `AlreadyExists` when one has done so; and the error of `fill`.
    pub fn create(
        path: &Path,
        replaced: Option<&Self>,
        words: usize,
        fill: impl FnOnce(&Mapping) -> io::Result<()>,
    ) -> io::Result<Self> {
        let bytes = words.checked_mul(size_of::<u64>()).ok_or(io::ErrorKind::InvalidInput)?;
        let making = Self::making(path)?;
        let file = loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&making)?;
            if !sys::lock(file.as_raw_fd())? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // Whoever held the lock before may have put the file in its place.
            if is_at(&file, &making)? {
                break file;
            }
        };
        let make = || {
            // Whoever puts a file there holds the lock, so that this stays true.
            let is_expected = match replaced {
                Some(replaced) => replaced.is_in_place()?,
                None => !path.try_exists()?,
            };
            if !is_expected {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            file.set_len(0)?;
            sys::allocate(file.as_raw_fd(), bytes)?;
            let mapping = Mapping::of_file(&file)?;
            fill(&mapping)?;
            fs::rename(&making, path)?;
            Ok(mapping)
        };
        match make() {
            Ok(mapping) => Ok(Self { file, path: path.to_owned(), mapping }),
            Err(error) => {
                // The error is what matters; what is left is taken again by the next one.
                let _ = fs::remove_file(&making);
                Err(error)
            }
        }
    }

    /// The words.
    #[must_use]
    pub const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Takes the writer's lock, unless another process has it; it is held until this is dropped.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn lock(&self) -> io::Result<bool> {
        sys::lock(self.file.as_raw_fd())
    }

    /// Whether somebody else holds the writer's lock; does not take it.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn has_writer(&self) -> io::Result<bool> {
        sys::is_locked(self.file.as_raw_fd())
    }

    /// Whether somebody holds the writer's lock of a file that was opened otherwise, such as only to be read.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn is_held(file: &File) -> io::Result<bool> {
        sys::is_locked(file.as_raw_fd())
    }

    /// Whether the file is still the one at its path.
    ///
    /// # Errors
    ///
    /// Returns the system's error, but for a path where nothing is.
    pub fn is_in_place(&self) -> io::Result<bool> {
        is_at(&self.file, &self.path)
    }

    /// Where a file is while it is made: beside its place, so that it can be moved there at once.
    fn making(path: &Path) -> io::Result<PathBuf> {
        let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
        let mut making = OsString::from(".");
        making.push(name);
        making.push(".new");
        Ok(path.with_file_name(making))
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let mine = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((mine.dev(), mine.ino()) == (found.dev(), found.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    /// A directory of one test, removed at its end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let place = std::env::temp_dir().join(format!("seqcast-{name}-{}", std::process::id()));
            fs::create_dir_all(&place).unwrap();
            Self(place)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn fill(value: u64) -> impl FnOnce(&Mapping) -> io::Result<()> {
        move |mapping| {
            mapping.as_ref().iter().for_each(|word| word.store(value, Ordering::Relaxed));
            Ok(())
        }
    }

    #[test]
    fn words_written_in_one_mapping_are_read_in_another() {
        let place = Place::new("words");
        let path = place.0.join("ring");
        let writer = SharedFile::create(&path, None, 600, fill(5)).unwrap();
        let reader = SharedFile::open(&path).unwrap();
        assert_eq!(reader.mapping().as_ref().len(), 600);
        assert!(reader.mapping().as_ref().iter().all(|word| word.load(Ordering::Relaxed) == 5));
        writer.mapping().as_ref()[599].store(6, Ordering::Release);
        assert_eq!(reader.mapping().as_ref()[599].load(Ordering::Acquire), 6);
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn the_lock_is_one_writers_until_it_is_gone_and_can_be_looked_at() {
        let place = Place::new("lock");
        let path = place.0.join("ring");
        let writer = SharedFile::create(&path, None, 8, fill(1)).unwrap();
        let other = SharedFile::open(&path).unwrap();
        assert!(other.has_writer().unwrap() && !other.lock().unwrap());
        assert!(!writer.has_writer().unwrap(), "nobody else");
        assert!(SharedFile::is_held(&File::open(&path).unwrap()).unwrap());
        drop(writer);
        assert!(!other.has_writer().unwrap() && other.lock().unwrap());
    }

    #[test]
    fn a_file_that_was_replaced_or_removed_is_noticed() {
        let place = Place::new("replaced");
        let path = place.0.join("ring");
        let first = SharedFile::create(&path, None, 8, fill(1)).unwrap();
        assert!(first.is_in_place().unwrap());
        assert_eq!(SharedFile::create(&path, None, 8, fill(2)).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let second = SharedFile::create(&path, Some(&first), 8, fill(2)).unwrap();
        let third = SharedFile::create(&path, Some(&first), 8, fill(3));
        assert_eq!(third.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(!first.is_in_place().unwrap() && second.is_in_place().unwrap());
        assert_eq!(first.mapping().as_ref()[0].load(Ordering::Relaxed), 1, "its readers go on");
        fs::remove_file(&path).unwrap();
        assert!(!second.is_in_place().unwrap());
    }

    #[test]
    fn what_failed_or_was_killed_while_it_was_made_is_in_nobodys_way() {
        let place = Place::new("making");
        let path = place.0.join("ring");
        let failed = SharedFile::create(&path, None, 8, |_| Err(io::ErrorKind::Other.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::Other);
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0);
        fs::write(place.0.join(".ring.new"), b"left by a process that was killed").unwrap();
        SharedFile::create(&path, None, 8, fill(1)).unwrap();
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_had_is_an_error() {
        let place = Place::new("errors");
        assert_eq!(SharedFile::open(&place.0.join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        SharedFile::open(&place.0).unwrap_err();
        fs::write(place.0.join("short"), b"1234567").unwrap();
        assert_eq!(SharedFile::open(&place.0.join("short")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        SharedFile::create(&place.0.join("large"), None, 1 << 57, fill(1)).unwrap_err();
        SharedFile::create(&place.0.join("nowhere/ring"), None, 8, fill(1)).unwrap_err();
        SharedFile::create(Path::new("/"), None, 8, fill(1)).unwrap_err();
    }
}
