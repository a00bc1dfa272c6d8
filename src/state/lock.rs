//! Who writes in a state folder: one process, which says there who it is.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The right to write, as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it, or says who has it and what to do.
    pub(super) fn take(folder: &Path) -> io::Result<Lock> {
        let path = folder.join("lock");
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                // For whoever comes next; without it, he is told less.
                let _ = write_down(&mut file);
                Ok(Lock { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.take(32).read_to_string(&mut holder);
                Err(io::Error::new(io::ErrorKind::WouldBlock, taken(holder.trim().parse().ok())))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn write_down(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn taken(holder: Option<u32>) -> String {
    let who = match holder {
        Some(id) => match fs::read_to_string(format!("/proc/{id}/comm")) {
            Ok(name) => format!("process {id} ({})", name.trim().escape_debug()),
            Err(_) => format!("process {id}, perhaps in another container or on another machine,"),
        },
        None => "another process".to_owned(),
    };
    format!(
        "{who} writes there; a gateway that was told to end keeps its folder until the last request has \
         ended, `[timeouts] drain_delay` and `drain` at most: wait until it is gone, or give this one a \
         `[server] state_dir` of its own"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_second_is_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lock"), "4294967295, and more than the next one writes").unwrap();
        let first = Lock::take(folder.path()).unwrap();
        let said = Lock::take(folder.path()).unwrap_err().to_string();
        let id = std::process::id();
        assert!(said.starts_with(&format!("process {id} (")) && said.contains("drain_delay"), "{said}");
        // One that has written nothing down, or is not to be found here.
        fs::write(folder.path().join("lock"), "").unwrap();
        let said = Lock::take(folder.path()).unwrap_err().to_string();
        assert!(said.starts_with("another process writes there"), "{said}");
        fs::write(folder.path().join("lock"), "4294967295\n").unwrap();
        let said = Lock::take(folder.path()).unwrap_err().to_string();
        assert!(said.contains("process 4294967295, perhaps in another container"), "{said}");
        drop(first);
        assert!(Lock::take(folder.path()).is_ok());
    }
}
