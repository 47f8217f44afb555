//! The files in which Linux tells about itself, `/proc` and `/sys`; or a tree that stands for them.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

/// Where they begin: `/`, unless a test has a tree of its own.
#[derive(Clone, Debug)]
pub(crate) struct System {
    root: PathBuf,
}

impl System {
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// What a file says, without blanks around it; `None` if there is no such file or it may not be read.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.root.join(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// What a file says, if that can be read as one.
    pub(crate) fn value<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// The names in a directory, in order.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Where a link leads, by its last name.
    pub(crate) fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.root.join(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

/// Reads a list of cores such as `0-3,8` (cpuset(7)); what is not one has none.
pub(super) fn cores(list: &str) -> Vec<usize> {
    /// Beyond what any kernel is built for (`NR_CPUS`), so that a wrong file takes no memory.
    const MOST: usize = 8_192;
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = first.trim().parse().ok()?..=last.trim().parse().ok()?;
        Some(range).filter(|range| *range.end() < MOST)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::System;
    use std::fs;
    use std::path::PathBuf;

    /// A tree of files that is removed with it.
    pub(crate) struct Tree(PathBuf);

    impl Tree {
        pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("seqcast-doctor-{name}-{}", std::process::id()));
            let tree = Self(root);
            fs::create_dir_all(&tree.0).unwrap();
            tree.write(files);
            tree
        }

        pub(crate) fn write(&self, files: &[(&str, &str)]) {
            for (path, text) in files {
                let path = self.0.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
        }

        pub(crate) fn system(&self) -> System {
            System::at(&self.0)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!(cores("0-2,5, 7-7"), [0, 1, 2, 5, 7]);
        for none in ["", "none", "3-1", "0-99999999999", "-", "a-b,"] {
            assert_eq!(cores(none), [0usize; 0], "{none}");
        }
    }

    #[test]
    fn what_is_not_there_is_none() {
        let tree = testing::Tree::new("system", &[("a/number", " 42\n"), ("a/word", "on")]);
        let system = tree.system();
        assert_eq!((system.value::<u64>("a/number"), system.value::<u64>("a/word")), (Some(42), None));
        assert_eq!((system.text("a"), system.text("b"), system.link("a/word")), (None, None, None));
        assert_eq!((system.names("a"), system.names("b")), (vec!["number".to_owned(), "word".to_owned()], vec![]));
    }
}
