//! The socket of the admin listener: whoever may open it may change things.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use tokio::net::{UnixListener, UnixStream};

/// Binds the socket with mode 0600. It is made where nobody else can reach it and put in its place
/// when its mode is right; one that an earlier process left is replaced, one on which somebody listens
/// is not: whoever listens would not know that nobody comes any more.
pub(super) async fn bind(path: &Path) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|found| !is_socket(&found)) {
        return Err(io::Error::other("there is something else at this path"));
    }
    if let Ok(taken) = UnixStream::connect(path).await {
        let who = match taken.peer_cred().ok().and_then(|cred| cred.pid()) {
            Some(id) => format!("process {id}"),
            None => "another process".to_owned(),
        };
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!(
                "{who} listens there; a gateway that was told to end does so until its last request has \
                 ended: wait until it is gone, or give this one an `[admin] socket` of its own"
            ),
        ));
    }
    let mut folder = path.as_os_str().to_owned();
    folder.push(format!(".{}", std::process::id()));
    let folder = Path::new(&folder);
    DirBuilder::new().mode(0o700).create(folder)?;
    let made = folder.join("s");
    let bound = UnixListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        fs::rename(&made, path)?;
        Ok(listener)
    });
    // What is left of it is empty, unless something failed, which is told.
    let _ = fs::remove_dir_all(folder);
    bound
}

fn is_socket(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;

    found.file_type().is_socket()
}

/// The next connection, if there is a socket.
pub(super) async fn accept(listener: Option<&UnixListener>) -> io::Result<UnixStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_its_owner_may_open_it_and_a_stale_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(bind(&path).await.unwrap());
        let again = bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (opened, accepted) = tokio::join!(UnixStream::connect(&path), accept(Some(&again)));
        assert!(opened.is_ok() && accepted.is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // One on which somebody listens is his.
        let said = bind(&path).await.unwrap_err().to_string();
        assert!(said.starts_with(&format!("process {} listens there", std::process::id())), "{said}");
        assert!(UnixStream::connect(&path).await.is_ok());
    }

    #[tokio::test]
    async fn a_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        fs::write(&path, "x").unwrap();
        assert!(bind(&path).await.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }
}
