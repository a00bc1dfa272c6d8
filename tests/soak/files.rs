//! Files of policies and certificates that vanish, are half written, or are replaced while requests
//! flow: the last good ones stay in force, and the next good ones are taken.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{Client, get, run};
use crate::gateway::{Gateway, Start, open};
use crate::load::{Load, Plan, Tags};
use crate::origin::Origin;
use crate::process::until;
use crate::report::Limit::Exactly;
use crate::report::{Report, Scale};
use crate::support::tls::Authority;

pub fn faults(scale: Scale, report: &mut Report) {
    let origin = Origin::start();
    let authority = Authority::new("soak");
    let listeners = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
                     tls = { certificates = [{ cert = \"app.pem\", key = \"app.key\" }] }\n";
    let config = format!("include = [\"more/*.toml\"]\n{}", open(&origin.servers(), listeners));
    let start = Start::new(&config);
    let folder = start.folder.path().to_owned();
    authority.server(&["app.test"]).write(&folder, "app");
    fs::create_dir(folder.join("more")).expect("a folder");
    let deny = |number: u32| format!("[[rbac.deny]]\nid = \"deny-{number}\"\npath = \"/denied/{{*rest}}\"\n");
    fs::write(folder.join("more/a.toml"), deny(0)).expect("written");
    let gateway = start.start();
    let connector = trusting(&authority);
    let load = Load::start(gateway.address(), Plan { connections: 4, rest: Duration::from_millis(2) }, Tags);
    let mut wrong = Vec::new();
    let mut rounds = 0;
    for number in 1..=scale.pick(3, 20) {
        for (what, fault) in FAULTS {
            rounds += 1;
            let before = rule(&gateway);
            fault(&gateway, &config);
            let (status, _) = gateway.reload();
            let refused = status == 422;
            if !refused || rule(&gateway) != before || !secured(&gateway, &connector) {
                wrong.push(format!("{what}: reload {status}, then {}", rule(&gateway)));
            }
            // Everything is as it should be again, and new.
            let _ = fs::remove_dir(gateway.path().join("more/a.toml"));
            gateway.write("more/a.toml", &deny(number));
            gateway.write_config(&config);
            authority.server(&["app.test"]).write(gateway.path(), "app");
            let taken = || {
                (gateway.reload().0 == 200 && rule(&gateway) == format!("rbac/deny-{number}")).then_some(())
            };
            if until(Duration::from_secs(10), taken).is_none() || !secured(&gateway, &connector) {
                wrong.push(format!("{what}: what is good again was not taken"));
            }
        }
    }
    let outcome = load.stop();
    report.none("files", "faults of files that were taken, or not made good", &wrong, rounds);
    report.none("files", "requests failed meanwhile", &outcome.wrong, outcome.sent);
    let panics = gateway.metric("portcullis_panics_total").unwrap_or(f64::NAN);
    report.line("files", "panics", panics, "", Exactly(0.0));
}

type Fault = fn(&Gateway, &str);

const FAULTS: &[(&str, Fault)] = &[
    ("the configuration gone", |gateway, _| {
        fs::remove_file(gateway.path().join("portcullis.toml")).expect("removed");
    }),
    ("the configuration empty", |gateway, _| gateway.write("portcullis.toml", "")),
    ("the configuration half written", |gateway, config| {
        // In place, as an editor that does not rename would.
        fs::write(gateway.path().join("portcullis.toml"), &config[..config.len() / 2]).expect("written");
    }),
    ("an included file gone", |gateway, _| {
        fs::remove_file(gateway.path().join("more/a.toml")).expect("removed");
    }),
    ("an included file half written", |gateway, _| {
        fs::write(gateway.path().join("more/a.toml"), "[[rbac.deny]]\nid = \"de").expect("written");
    }),
    ("a folder in the place of a file", |gateway, _| {
        fs::remove_file(gateway.path().join("more/a.toml")).expect("removed");
        fs::create_dir(gateway.path().join("more/a.toml")).expect("made");
    }),
    ("a certificate gone", |gateway, _| {
        fs::remove_file(gateway.path().join("app.pem")).expect("removed");
    }),
    ("a certificate half written", |gateway, _| {
        let path = gateway.path().join("app.pem");
        let text = fs::read(&path).expect("there");
        fs::write(&path, &text[..text.len() / 2]).expect("written");
    }),
    ("the key of another certificate", |gateway, _| {
        Authority::new("other").server(&["app.test"]).write(gateway.path(), "other");
        fs::rename(gateway.path().join("other.key"), gateway.path().join("app.key")).expect("renamed");
    }),
];

/// The rule by which a path is denied.
fn rule(gateway: &Gateway) -> String {
    let answer = run(Client::get(gateway.address(), "/denied/x")).expect("an answer");
    answer.rule().to_owned()
}

fn trusting(authority: &Authority) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate()).expect("a certificate");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// Whether a request over TLS, with a handshake of its own, is served.
fn secured(gateway: &Gateway, connector: &TlsConnector) -> bool {
    let served = run(async {
        let stream = TcpStream::connect(gateway.addresses[1]).await?;
        let name = ServerName::try_from("app.test").expect("a name");
        let mut client = Client::over(connector.connect(name, stream).await?);
        client.ask(&get("/tag/secured")).await
    });
    served.is_ok_and(|answer| answer.status == 200)
}
