//! From files to a running configuration: settings of the process, and the compiled policy.
//!
//! [`load`](load::load) opens the files; everything else here works on named text. A configuration
//! is used whole or not at all: [`compile`] gives a [`Setup`] only if there is no error.

mod canonical;
pub mod files;
mod lint;
pub mod load;
mod otlp;
pub mod raw;
mod settings;
mod tls;
pub mod upstream;

pub use otlp::Otlp;
pub use settings::{Admin, ConnectionLimits, Listener, ListenerKey, Settings, Timeouts, UpstreamHeaders};
pub use tls::{Certificate, ClientAuth, Clients, Material, Served, Tls, TlsError};
pub use upstream::Upstream;

use std::collections::BTreeSet;
use std::path::PathBuf;

use http::HeaderName;
use jiff::Timestamp;
use toml::de::{DeTable, DeValue};

use self::raw::{ClientAddressWord, Included, RawAdmin, Root};
use crate::policy::code::{Code, Severity};
use crate::policy::decode::{Decode, Node, ProcessPath, place};
use crate::policy::diagnostic::{At, Diagnostic, Diagnostics, FileId};
use crate::policy::intake::{AddressSource, Limits};
use crate::policy::lint::{self as policy_lint, AllowList, Allowed};
use crate::policy::source::Sources;
use crate::policy::{Frame, Policy};

/// A configuration that may be run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What concerns the process.
    pub settings: Settings,
    /// The policy; its generation is given when it is installed.
    pub policy: Policy,
    /// The texts it was made of.
    pub sources: Sources,
}

/// What became of a configuration: usable or not, with everything there is to say about it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The configuration, if it has no errors.
    pub setup: Option<Setup>,
    /// The texts.
    pub sources: Sources,
    /// Errors and lints, in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
    /// The lints that `[[lint.allow]]` allows.
    pub allowed: Vec<Allowed>,
    allow: AllowList,
}

impl Outcome {
    /// Sets aside what is allowed. Done once, when all has been found.
    fn settled(mut self) -> Outcome {
        self.allowed = std::mem::take(&mut self.allow).apply(&mut self.diagnostics);
        self
    }

    /// What there is to say where there is nothing to compile.
    pub(crate) fn nothing(why: String) -> Outcome {
        let mut diagnostics = Diagnostics::default();
        diagnostics.push(Code::File, None, why);
        let diagnostics = diagnostics.into_sorted();
        Outcome {
            setup: None,
            sources: Sources::default(),
            diagnostics,
            allowed: Vec::new(),
            allow: AllowList::default(),
        }
    }

    /// The worst there is to say.
    pub fn worst(&self) -> Option<Severity> {
        self.diagnostics.iter().map(|diagnostic| diagnostic.severity).max()
    }
}

/// The documents of a configuration, decoded but not yet compiled.
#[derive(Debug)]
pub(crate) struct Documents {
    root: Option<Root>,
    included: Vec<Included>,
    digest: canonical::Digest,
    /// Whether every file could be decoded.
    complete: bool,
}

/// A configuration of which all is known but what is suspicious in it.
#[derive(Debug)]
struct Compiled {
    root: Option<Root>,
    settings: Option<Settings>,
    policy: Option<Policy>,
    /// The texts, and the same with what is secret among them.
    sources: Sources,
    marked: Sources,
    /// Whether every file could be decoded.
    complete: bool,
}

/// Compiles a configuration that is all in memory.
pub fn compile(sources: Sources, now: Timestamp) -> Outcome {
    let mut diagnostics = Diagnostics::default();
    let mut documents = Documents::default();
    for (file, source) in sources.policy_files() {
        documents.read(file, &source.text, &mut diagnostics);
    }
    documents.compile(sources, now, diagnostics).settled()
}

/// The operators' listener, read from the main file's text alone, whatever else is in it.
fn admin(sources: &Sources) -> Option<Admin> {
    let text = sources.get(FileId::default()).map_or("", |source| &*source.text);
    let (table, _) = DeTable::parse_recoverable(text);
    let node = Node::new(FileId::default(), table.get_ref().get("admin")?);
    let raw = RawAdmin::decode(node, &mut Diagnostics::default())?;
    Some(Admin::new(&raw, sources))
}

/// The state folder, read from the main file's text alone, whatever else is in it.
fn state_dir(sources: &Sources) -> Option<PathBuf> {
    let text = sources.get(FileId::default()).map_or("", |source| &*source.text);
    let (table, _) = DeTable::parse_recoverable(text);
    let server = table.get_ref().get("server")?;
    let folder = Node::new(FileId::default(), server.get_ref().get("state_dir")?);
    let folder = ProcessPath::decode(folder, &mut Diagnostics::default())?;
    Some(sources.resolve(FileId::default(), &folder.0).into())
}

/// The file of the decision log, read from the main file's text alone.
fn log_file(sources: &Sources) -> Option<PathBuf> {
    let text = sources.get(FileId::default()).map_or("", |source| &*source.text);
    let (table, _) = DeTable::parse_recoverable(text);
    let sink = table.get_ref().get("log")?.get_ref().get("sink")?;
    let file = Node::new(FileId::default(), sink.get_ref().get("file")?);
    let file = ProcessPath::decode(file, &mut Diagnostics::default())?;
    Some(sources.resolve(FileId::default(), &file.0).into())
}

impl Default for Documents {
    fn default() -> Documents {
        Documents { root: None, included: Vec::new(), digest: canonical::Digest::new(), complete: true }
    }
}

impl Documents {
    /// Reads one policy file: the first is the main one. Gives what stands in it, unless that is no TOML.
    pub(crate) fn read<'t>(
        &mut self,
        file: FileId,
        text: &'t str,
        diagnostics: &mut Diagnostics,
    ) -> Option<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        self.complete &= errors.is_empty();
        for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
            let span = error.span().unwrap_or(0..0);
            diagnostics.push(Code::Syntax, place(file, &span), error.message().trim_end().to_owned());
        }
        if !errors.is_empty() {
            diagnostics.lose_file();
            return None;
        }
        self.digest.table(table.get_ref());
        // The place of a whole document is its beginning, not all of its text.
        let value = toml::Spanned::new(0..0, DeValue::Table(table.into_inner()));
        let node = Node::new(file, &value);
        if file == FileId::default() {
            self.root = Root::decode(node, diagnostics);
            self.complete &= self.root.is_some();
        } else {
            let included = Included::decode(node, diagnostics);
            self.complete &= included.is_some();
            self.included.extend(included);
        }
        match value.into_inner() {
            DeValue::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The globs of further files, as the main file names them.
    pub(crate) fn includes(&self) -> &[At<String>] {
        self.root.as_ref().map_or(&[], |root| &root.include)
    }

    /// The globs of programs in SecLang.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &At<String>> {
        let mine = self.root.iter().map(|root| &root.policy);
        let policies = mine.chain(self.included.iter().map(|included| &included.policy));
        let globs = policies.filter_map(|policy| policy.waf.as_ref()?.seclang.as_ref());
        globs.flat_map(|globs| &globs.value)
    }

    /// Checks what was read, and makes a configuration of it if there are no errors.
    pub(crate) fn compile(self, sources: Sources, now: Timestamp, mut diagnostics: Diagnostics) -> Outcome {
        let compiled = self.settle(sources, now, &mut diagnostics);
        let allow = compiled.lint(Some(now), &mut diagnostics);
        compiled.finish(allow, diagnostics)
    }

    /// The same, and looks only for what keeps a policy from being used.
    pub(crate) fn recall(self, sources: Sources, now: Timestamp, mut diagnostics: Diagnostics) -> Outcome {
        let compiled = self.settle(sources, now, &mut diagnostics);
        let allow = compiled.lint(None, &mut diagnostics);
        compiled.finish(allow, diagnostics)
    }

    /// Forgets what was read of the WAF.
    pub(crate) fn leave_out_waf(&mut self) {
        let mine = self.root.iter_mut().map(|root| &mut root.policy);
        let policies = mine.chain(self.included.iter_mut().map(|included| &mut included.policy));
        policies.for_each(|policy| policy.waf = None);
    }

    /// Makes of what was read what a policy is, without looking for what is suspicious.
    fn settle(mut self, sources: Sources, now: Timestamp, diagnostics: &mut Diagnostics) -> Compiled {
        let complete = self.complete;
        let Some(mut root) = self.root.take() else {
            let marked = sources.clone();
            return Compiled { root: None, settings: None, policy: None, sources, marked, complete };
        };
        let (settings, policy, secrets) = self.setup(&mut root, &sources, now, diagnostics);
        let mut marked = sources.clone();
        marked.set_secrets(secrets);
        Compiled { root: Some(root), settings: Some(settings), policy, sources, marked, complete }
    }

    fn setup(
        &mut self,
        root: &mut Root,
        sources: &Sources,
        now: Timestamp,
        diagnostics: &mut Diagnostics,
    ) -> (Settings, Option<Policy>, BTreeSet<String>) {
        if root.version.value != 1 && !diagnostics.lacks(root.place, &["version"]) {
            diagnostics
                .push(
                    Code::BadValue,
                    root.version.place,
                    format!("version {} is not known", root.version.value),
                )
                .help("this portcullis reads version 1");
        }
        let mut raw_upstreams = std::mem::take(&mut root.upstream);
        for included in self.included.drain(..) {
            raw_upstreams.extend(included.upstream);
            root.policy.absorb(included.policy, diagnostics);
        }
        let upstreams = upstream::compile(&raw_upstreams, sources, diagnostics);
        let settings = Settings::new(root, upstreams, sources, diagnostics);
        let files = root.policy.authn.iter().flat_map(|authn| authn.files());
        let files = files.chain(root.policy.route.iter().flat_map(|route| route.secret_files()));
        let files = files.chain(root.log.iter().filter_map(|log| log.hash_key_file.as_ref()));
        let keys: BTreeSet<String> =
            files.map(|file| sources.resolve(file.place.file, &file.value.0)).collect();
        let frame = frame(root, &settings, self.digest.finish(sources, &keys), diagnostics);
        let policy = Policy::compile(&root.policy, &frame, sources, now, diagnostics);
        (settings, policy, keys)
    }
}

impl Compiled {
    /// Looks for what is dangerous, and where a time is given for what is suspicious then.
    fn lint(&self, suspicious: Option<Timestamp>, diagnostics: &mut Diagnostics) -> AllowList {
        let (Some(root), Some(settings)) = (&self.root, &self.settings) else { return AllowList::default() };
        lint::check(root, settings, self.policy.as_ref(), diagnostics);
        if let Some((policy, now)) = self.policy.as_ref().zip(suspicious) {
            let before = diagnostics.iter().count();
            policy_lint::check(&root.policy, policy, &self.sources, now, diagnostics);
            let mut found = diagnostics.iter().skip(before);
            debug_assert!(found.all(|found| found.severity < Severity::Deny), "a reload does not look here");
        }
        AllowList::compile(root.policy.lint.as_ref(), diagnostics)
    }

    /// The policy, if there is no error so far.
    fn policy(&self, diagnostics: &Diagnostics) -> Option<&Policy> {
        self.policy.as_ref().filter(|_| self.complete && !diagnostics.has_errors())
    }

    fn finish(self, allow: AllowList, diagnostics: Diagnostics) -> Outcome {
        let usable = self.complete && !diagnostics.has_errors();
        let Compiled { settings, policy, sources, marked, .. } = self;
        let setup = settings.zip(policy).filter(|_| usable);
        let setup = setup.map(|(settings, policy)| Setup { settings, policy, sources: marked });
        let diagnostics = diagnostics.into_sorted();
        Outcome { setup, sources, diagnostics, allowed: Vec::new(), allow }
    }
}

fn frame(root: &Root, settings: &Settings, hash: u32, diagnostics: &mut Diagnostics) -> Frame {
    let server = root.server.as_ref();
    let source = server.and_then(|server| server.client_address);
    Frame {
        limits: limits(root, diagnostics),
        trusted_proxies: server.map(|server| server.trusted_proxies.clone()).unwrap_or_default(),
        client_address: match source.unwrap_or(ClientAddressWord::XForwardedFor) {
            ClientAddressWord::XForwardedFor => AddressSource::XForwardedFor,
            ClientAddressWord::Forwarded => AddressSource::Forwarded,
            ClientAddressWord::Peer => AddressSource::Peer,
        },
        managed_headers: managed_headers(settings),
        upstreams: settings.upstreams.iter().map(|upstream| upstream.name.clone()).collect(),
        waf_data: settings.log.waf_data,
        hash,
    }
}

fn limits(root: &Root, diagnostics: &mut Diagnostics) -> Limits {
    let mut limits = Limits::default();
    let Some(raw) = &root.limits else { return limits };
    let mut size =
        |raw: Option<At<crate::policy::decode::Size>>, to: &mut u64, range: std::ops::RangeInclusive<u64>| {
            let Some(raw) = raw else { return };
            if !range.contains(&raw.value.0) {
                let (from, to) = (bytesize::ByteSize(*range.start()), bytesize::ByteSize(*range.end()));
                diagnostics.push(
                    Code::BadValue,
                    raw.place,
                    format!("this limit must be between {from} and {to}"),
                );
            }
            *to = raw.value.0;
        };
    let (mut target, mut credential) = (limits.target as u64, limits.credential as u64);
    // hyper cannot parse with a buffer below 8 KiB; above 1 MiB a head is an attack on memory.
    size(raw.head, &mut limits.head, 8 * 1024..=1024 * 1024);
    size(raw.target, &mut target, 64..=512 * 1024);
    size(raw.credential, &mut credential, 64..=512 * 1024);
    (limits.target, limits.credential) = (target as usize, credential as usize);
    if let Some(fields) = raw.fields {
        if !(4..=1000).contains(&fields.value) {
            diagnostics.push(Code::BadValue, fields.place, "this limit must be between 4 and 1000");
        }
        limits.fields = usize::from(fields.value);
    }
    limits
}

/// The headers that the gateway sets, towards clients and upstreams.
fn managed_headers(settings: &Settings) -> Vec<HeaderName> {
    let fixed = MANAGED.iter().map(|name| HeaderName::from_static(name));
    fixed.chain(settings.upstream_headers.names().into_iter().cloned()).collect()
}

/// Fields that clients may not bring in any spelling, because somebody downstream would take them
/// for ours.
const MANAGED: &[&str] = &[
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-portcullis-decision",
    "x-portcullis-policy",
    "x-portcullis-reason",
    "x-portcullis-rule",
    "x-portcullis-roles",
    "x-portcullis-shadow",
    "x-portcullis-subject",
    "x-real-ip",
    "x-request-id",
];

/// A file that is no TOML at all has an error in every line; the first few are enough.
const MAX_SYNTAX_ERRORS: usize = 20;
