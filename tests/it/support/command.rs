//! The `portcullis` command in a folder of its own, with an environment of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder that is gone when the test ends, and the command to run in it.
pub struct Bench {
    folder: TempDir,
}

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Bench {
    /// An empty folder.
    pub fn new() -> Bench {
        Bench { folder: tempfile::tempdir().expect("a folder for the test") }
    }

    /// A folder with a configuration.
    pub fn with(config: &str) -> Bench {
        let bench = Bench::new();
        bench.write("portcullis.toml", config);
        bench
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// The text of a file in the folder.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).expect("a file")
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The command, to be changed before it is run: nothing of this machine's environment, 80
    /// columns, and the test's folder as home.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments).current_dir(self.path()).env_clear();
        command.env("HOME", self.path()).env("COLUMNS", "80");
        // Where coverage is measured, the run counts too.
        if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", profile);
        }
        command
    }

    /// Runs the command.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments), b"")
    }

    /// Runs the command with this on standard input.
    pub fn run_with(&self, arguments: &[&str], input: &[u8]) -> Ran {
        Ran::of(&mut self.command(arguments), input)
    }
}

impl Ran {
    /// Runs a command to its end.
    pub fn of(command: &mut Command, input: &[u8]) -> Ran {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // A verb that reads nothing may have closed its end.
        let _ = stdin.write_all(input);
        drop(stdin);
        let output = child.wait_with_output().expect("the command ends");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ran {
            code: output.status.code().expect("an exit code"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// The exit code, then everything that was written.
    pub fn show(&self) -> String {
        let err = if self.err.is_empty() { String::new() } else { format!("--- stderr\n{}", self.err) };
        format!("exit {}\n--- stdout\n{}{err}", self.code, self.out)
    }

    /// What was written, whatever its lines.
    pub fn words(&self) -> String {
        self.out.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What was written for programs.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.show()))
    }
}

/// A configuration that is right and does nothing special.
pub const PLAIN: &str = "\
version = 1

[server]
listen = [\"127.0.0.1:8080\"]

[upstream.app]
servers = [\"builtin:echo\"]

[[route]]
id = \"app\"
path = \"/{*rest}\"
upstream = \"app\"

[[rbac.grant]]
id = \"all\"
roles = [\"anyone\"]

[[lint.allow]]
code = \"allow-all\"
reason = \"for tests\"
";

/// Runs a command about the configuration of a folder.
pub fn about_folder(folder: &Path, arguments: &[&str]) -> Ran {
    let bench = Bench::new();
    let mut command = bench.command(arguments);
    Ran::of(command.arg("--config").arg(folder.join("portcullis.toml")), b"")
}
