//! The files of a recording: one, or numbered ones of a size or a time.

use seqcast_recovery::Nanos;
use seqcast_transport::Clock;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// When a file is full.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rotation {
    /// Before it would be longer than this.
    pub(super) bytes: Option<u64>,
    /// When it has been open for so long.
    pub(super) every: Option<Nanos>,
}

impl Rotation {
    const fn is_none(self) -> bool {
        self.bytes.is_none() && self.every.is_none()
    }
}

/// Writes blocks to files, each of which begins alike. What is there already is never overwritten.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    rotation: Rotation,
    beginning: Vec<u8>,
    /// That of the file that is open; 0 without a rotation.
    number: u64,
    open: OpenFile,
    written: FilesWritten,
}

/// The files that were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilesWritten {
    pub(super) first: PathBuf,
    pub(super) last: PathBuf,
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Files {
    /// Creates the first file. Its name is `path`, or with a rotation that with a number before the extension.
    pub(super) fn create(path: &Path, rotation: Rotation, beginning: Vec<u8>) -> io::Result<Self> {
        let mut number = u64::from(!rotation.is_none());
        let (name, open) = OpenFile::create(path, &mut number, &beginning)?;
        let written = FilesWritten { first: name.clone(), last: name, count: 1, bytes: open.bytes };
        Ok(Self { path: path.to_owned(), rotation, beginning, number, open, written })
    }

    /// Writes whole blocks, to the next file if this one is full.
    ///
    /// After an error the file ends behind the last blocks that were written.
    pub(super) fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        let length = self.open.bytes + blocks.len() as u64;
        let is_full = self.rotation.bytes.is_some_and(|limit| length > limit)
            || self.rotation.every.is_some_and(|every| Clock::now() - self.open.opened >= every);
        if is_full && self.open.bytes > self.beginning.len() as u64 {
            (self.written.last, self.open) = OpenFile::create(&self.path, &mut self.number, &self.beginning)?;
            self.written.count += 1;
            self.written.bytes += self.open.bytes;
        }
        self.open.append(blocks)?;
        self.written.bytes += blocks.len() as u64;
        Ok(())
    }

    /// What was written.
    pub(super) fn written(self) -> FilesWritten {
        self.written
    }
}

/// One file.
///
/// Invariant: its first `bytes` bytes are whole blocks.
#[derive(Debug)]
struct OpenFile {
    file: File,
    bytes: u64,
    opened: Nanos,
}

impl OpenFile {
    /// Creates the file of this number, or of the first one behind it that is not there yet; of no number for 0.
    fn create(path: &Path, number: &mut u64, beginning: &[u8]) -> io::Result<(PathBuf, Self)> {
        let (name, file) = loop {
            let name = if *number == 0 { path.to_owned() } else { numbered(path, *number) };
            match File::create_new(&name) {
                Ok(file) => break (name, file),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && *number > 0 => *number += 1,
                Err(error) => return Err(error),
            }
        };
        let mut open = Self { file, bytes: 0, opened: Clock::now() };
        open.append(beginning)?;
        Ok((name, open))
    }

    fn append(&mut self, blocks: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(blocks);
        match written {
            Ok(()) => self.bytes += blocks.len() as u64,
            // Where that fails as well, the reader still takes a cut last block.
            Err(_) => drop(self.file.set_len(self.bytes)),
        }
        written
    }
}

/// `day.pcapng` with number 7 is `day-00007.pcapng`.
fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name: OsString = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number:05}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A directory of this test that is removed when it is dropped.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("seqcast-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn read(&self, name: &str) -> Vec<u8> {
            fs::read(self.0.join(name)).unwrap()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_of_a_size_are_numbered_and_begin_alike() {
        let directory = Directory::new("rotation");
        let path = directory.0.join("day.pcapng");
        fs::write(directory.0.join("day-00002.pcapng"), "another's").unwrap();
        let rotation = Rotation { bytes: Some(10), every: None };
        let mut files = Files::create(&path, rotation, b"head".to_vec()).unwrap();
        for blocks in ["aaa", "bbb", "ccc", "a block that is too long"] {
            files.write(blocks.as_bytes()).unwrap();
        }
        assert_eq!(directory.read("day-00001.pcapng"), b"headaaabbb");
        assert_eq!(directory.read("day-00002.pcapng"), b"another's");
        assert_eq!(directory.read("day-00003.pcapng"), b"headccc");
        assert_eq!(directory.read("day-00004.pcapng"), b"heada block that is too long");
        let written = files.written();
        assert_eq!((written.count, written.bytes), (3, 10 + 7 + 28));
        assert_eq!(written.last, directory.0.join("day-00004.pcapng"));
    }

    #[test]
    fn a_file_of_a_time_is_followed_by_the_next() {
        let directory = Directory::new("time");
        let rotation = Rotation { bytes: None, every: Some(Nanos(1)) };
        let mut files = Files::create(&directory.0.join("day"), rotation, b"head".to_vec()).unwrap();
        files.write(b"aaa").unwrap();
        files.write(b"bbb").unwrap();
        assert_eq!((directory.read("day-00001"), directory.read("day-00002")), (b"headaaa".into(), b"headbbb".into()));
    }

    #[test]
    fn what_is_there_is_not_overwritten() {
        let directory = Directory::new("overwriting");
        let path = directory.0.join("day.pcapng");
        fs::write(&path, "another's").unwrap();
        let error = Files::create(&path, Rotation::default(), vec![]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(directory.read("day.pcapng"), b"another's");
    }
}
