//! The admin listener: who may read, who may change, and what there is to read.

use crate::support::{Gateway, get, get_local, request};

const CONFIG: &str = r#"
[upstream.demo]
servers = ["builtin:echo"]

[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"

[[rbac.grant]]
id = "home"
roles = ["anyone"]
path = "/"
"#;

#[test]
fn health_and_metrics_are_for_everybody_and_the_rest_only_for_local_readers() {
    let gateway = Gateway::start(CONFIG);
    let admin = gateway.admin.expect("an admin listener");
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(admin, path).status, 200, "{path}");
    }
    for path in ["/metrics", "/api/status"] {
        assert_eq!(get_local(admin, path).status, 200, "{path}");
        // A page in a browser that resolves its own name to loopback.
        assert_eq!(get(admin, path).status, 401, "{path}");
        for host in ["app.test//localhost", "//localhost", "http://localhost"] {
            assert_eq!(request(admin, "GET", path, &[("Host", host)], b"").status, 401, "{path} {host}");
        }
        for origin in ["https://evil.test", "https://evil.test//localhost", "null", "localhost"] {
            let foreign = [("Host", "localhost"), ("Origin", origin)];
            assert_eq!(request(admin, "GET", path, &foreign, b"").status, 401, "{path} {origin}");
        }
        let own = [("Host", "localhost:9901"), ("Origin", "http://localhost:9901")];
        assert_eq!(request(admin, "GET", path, &own, b"").status, 200, "{path}");
        // The host that the target names is the one that is asked.
        let target = format!("http://app.test{path}");
        assert_eq!(get_local(admin, &target).status, 401, "{target}");
    }
    // And is told what would do.
    let refused = get(admin, "/metrics").text();
    assert!(refused.contains("`Host`") && refused.contains("admin token"), "{refused}");
    assert_eq!(get_local(admin, "/nothing").status, 404);
    assert_eq!(request(admin, "POST", "/livez", &[("Host", "localhost")], b"x").status, 405);
}

#[test]
fn a_change_needs_the_token() {
    let gateway = Gateway::start(CONFIG);
    let admin = gateway.admin.expect("an admin listener");
    let reload = |authorization: &str| {
        let fields = [("Host", "localhost"), ("Authorization", authorization)];
        request(admin, "POST", "/api/reload", &fields, b"").status
    };
    let token = std::fs::read_to_string(gateway.folder().join("admin.token")).expect("made at the start");
    assert_eq!(reload("Bearer wrong"), 401);
    assert_eq!(reload("Basic x"), 401);
    assert_eq!(reload(token.trim()), 401);
    assert_eq!(reload(&format!("bearer {}", token.trim())), 200);
    assert_eq!(reload(&format!("Bearer {}", token.trim())), 200);
    assert_eq!(request(admin, "GET", "/api/reload", &[("Host", "localhost")], b"").status, 405);
}

#[test]
fn metrics_count_what_happened_and_name_nobody() {
    let gateway = Gateway::start(CONFIG);
    for path in ["/", "/", "/secret/path", "/a%2fb"] {
        get(gateway.address, path);
    }
    let text = get_local(gateway.admin.expect("an admin listener"), "/metrics").text();
    for line in [
        "portcullis_requests_total{route=\"all\",code=\"200\",decided_by=\"upstream\"} 2",
        "portcullis_requests_total{route=\"all\",code=\"403\",decided_by=\"proxy\"} 1",
        "portcullis_decisions_total{stage=\"rbac\",rule=\"rbac/home\",decision=\"allow\",mode=\"enforce\"} 2",
        "portcullis_decisions_total{stage=\"rbac\",rule=\"rbac/default-deny\",decision=\"deny\",mode=\"enforce\"} 1",
        "portcullis_decisions_total{stage=\"intake\",rule=\"intake/encoded-slash\",decision=\"deny\",mode=\"enforce\"} 1",
        "portcullis_policy_generation 1",
        "portcullis_policy_reload_success 1",
        "portcullis_restart_required 0",
        "portcullis_panics_total 0",
        "portcullis_log_lost_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
    for name in [
        "portcullis_decision_seconds_bucket{",
        "portcullis_upstream_seconds_bucket{",
        "portcullis_policy_reload_timestamp_seconds ",
        "portcullis_connections ",
        "portcullis_build_info{",
    ] {
        assert!(text.contains(name), "{name} is not in:\n{text}");
    }
    assert!(!text.contains("secret") && !text.contains("127.0.0.1"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn status_tells_which_policy_runs() {
    let gateway = Gateway::start(CONFIG);
    let policy = get(gateway.address, "/").header("x-portcullis-policy").expect("set").to_owned();
    let status = get_local(gateway.admin.expect("an admin listener"), "/api/status").json();
    let Some((generation, hash)) = policy.split_once('-') else { panic!("{policy}") };
    assert_eq!(status["policy"]["generation"].to_string(), generation);
    assert_eq!(status["policy"]["hash"], hash);
}

#[test]
fn where_the_listener_is_no_loopback_metrics_are_read_by_any_name() {
    let admin = "[admin]\nlisten = \"0.0.0.0:0\"\ntoken_file = \"admin.token\"\n";
    let gateway = Gateway::start(&format!("{CONFIG}{admin}"));
    let port = gateway.admin.expect("an admin listener").port();
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(get(admin, "/metrics").status, 200);
    assert_eq!(get_local(admin, "/api/status").status, 401);
}

#[test]
fn metrics_can_be_kept_for_who_has_the_token() {
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"admin.token\"\nmetrics = \"token\"\n";
    let gateway = Gateway::start(&format!("{CONFIG}{admin}"));
    let address = gateway.admin.expect("an admin listener");
    let token = std::fs::read_to_string(gateway.folder().join("admin.token")).expect("made at the start");
    let bearer = format!("Bearer {}", token.trim());
    let ask = |fields: &[(&str, &str)]| request(address, "GET", "/metrics", fields, b"").status;
    assert_eq!(ask(&[("Host", "localhost")]), 401);
    assert_eq!(ask(&[("Authorization", &bearer)]), 200);
}
