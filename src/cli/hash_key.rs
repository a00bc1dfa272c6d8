//! `hash-key`: what a policy file holds instead of an API key or a password.

use std::path::PathBuf;

use argon2::{Argon2, PasswordHasher};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::files;
use super::reply::{Exit, Reply};
use crate::policy::authn;

/// Hash an API key or a password for the configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis hash-key --generate            a new key and its hash
  printf %s \"$KEY\" | portcullis hash-key    the hash of a key that exists
  portcullis hash-key --password secret.txt

The key is read from a file or standard input, never from the command line,
where other users and the shell's history would see it. A line break at its end
does not count.")]
pub(super) struct Args {
    /// The file of the key or password; `-` is standard input.
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
    /// Make a new random key and print it together with its hash.
    #[arg(long, conflicts_with_all = ["password", "file"])]
    generate: bool,
    /// Hash a password for HTTP Basic, slowly (argon2id).
    #[arg(long)]
    password: bool,
}

/// Bytes of a new key: as much as its digest can hold.
const KEY_BYTES: usize = 32;

/// A key shorter than this can be guessed from its hash.
const SHORT: usize = 16;

/// Prints a hash.
pub(super) fn hash_key(args: &Args) -> Reply {
    if args.generate {
        return generate();
    }
    let secret = match files::read_secret(&args.file) {
        Ok(secret) => secret,
        Err(why) => return Reply::failure(Exit::Usage, why),
    };
    if args.password {
        return password(&secret);
    }
    let reply = Reply::exact(Exit::Fine, authn::hash_key(&secret) + "\n");
    if secret.len() < SHORT {
        let note =
            "note: this key is short enough to be guessed from its hash; `--generate` makes a better one";
        return reply.with_err(format_args!("{note}\n"));
    }
    reply
}

fn generate() -> Reply {
    let mut bytes = [0; KEY_BYTES];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        return Reply::failure(Exit::Internal, "the system gives no random numbers");
    }
    let key = URL_SAFE_NO_PAD.encode(bytes);
    Reply::exact(Exit::Fine, format!("key  {key}\nhash {}\n", authn::hash_key(key.as_bytes())))
        .with_err("note: the key is shown only now; give it to its holder and keep the hash\n")
}

fn password(secret: &[u8]) -> Reply {
    match Argon2::default().hash_password(secret) {
        Ok(hash) => Reply::exact(Exit::Fine, format!("{hash}\n")),
        Err(error) => Reply::failure(Exit::Internal, error),
    }
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;

    use super::*;

    #[test]
    fn a_key_is_hashed_with_sha256() {
        // FIPS 180-4, the digest of "abc".
        let want = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(authn::hash_key(b"abc"), want);
    }

    #[test]
    fn a_generated_key_has_the_hash_that_is_printed_with_it() {
        let reply = generate();
        let lines: Vec<&str> = reply.out.lines().collect();
        let (key, hash) = (lines[0].strip_prefix("key  ").unwrap(), lines[1].strip_prefix("hash ").unwrap());
        assert_eq!(authn::hash_key(key.as_bytes()), hash);
        assert_eq!(URL_SAFE_NO_PAD.decode(key).unwrap().len(), KEY_BYTES);
        assert_ne!(reply.out, generate().out);
    }

    #[test]
    fn a_password_verifies_against_its_hash() {
        let hash = password(b"open sesame").out;
        assert!(hash.starts_with("$argon2id$"));
        let verify = |secret: &[u8]| Argon2::default().verify_password(secret, hash.trim());
        assert!(verify(b"open sesame").is_ok() && verify(b"open").is_err());
    }
}
