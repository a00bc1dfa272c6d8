//! The token that changes need: a file that only its owner may read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;

/// The token. Never shown.
pub(super) struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A shorter one could be guessed.
const SHORTEST: usize = 16;

impl Token {
    /// Reads the file; makes it, with a new token and mode 0600, when it is absent.
    pub(super) fn load(path: &Path) -> io::Result<Token> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
        match fs::read_to_string(path) {
            Ok(text) => {
                let token = text.trim().to_owned();
                if token.len() < SHORTEST {
                    return Err(named(io::Error::other("the token has fewer than 16 characters")));
                }
                let mode = fs::metadata(path).map_err(named)?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(named(io::Error::other("others may read it; set its mode to 0600")));
                }
                Ok(Token(token))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Token::make(path).map_err(named),
            Err(error) => Err(named(error)),
        }
    }

    fn make(path: &Path) -> io::Result<Token> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| io::Error::other("no random bytes"))?;
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(token.as_bytes())?;
        file.write_all(b"\n")?;
        Ok(Token(token))
    }

    /// A token that stands in no file.
    #[cfg(test)]
    pub(super) fn of(text: &str) -> Token {
        Token(text.to_owned())
    }

    /// Whether this is it, compared in constant time.
    pub(super) fn is(&self, shown: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), shown.as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_token_is_made_for_its_owner_alone_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.token");
        let made = Token::load(&path).expect("made");
        let text = fs::read_to_string(&path).expect("written");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(made.is(text.trim()) && !made.is("x"));
        assert!(Token::load(&path).expect("read").is(text.trim()));
    }

    #[test]
    fn a_token_that_others_may_read_or_guess_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.token");
        fs::write(&path, "0123456789abcdef0123").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        assert!(Token::load(&path).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
        assert!(Token::load(&path).is_ok());
        fs::write(&path, "short").expect("written");
        assert!(Token::load(&path).is_err());
    }
}
