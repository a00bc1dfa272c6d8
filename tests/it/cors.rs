//! Pages of other origins: their preflights, what they see of answers and of refusals. And what every
//! answer says about TLS.

use crate::support::command::Bench;
use crate::support::{Gateway, Response, Upstream, get, request};

const APP: (&str, &str) = ("Origin", "https://app.test");
const EVIL: (&str, &str) = ("Origin", "https://evil.test");

/// The upstream claims a CORS policy of its own.
fn upstream() -> Upstream {
    Upstream::answering(|received| {
        let status = if received.line.starts_with("OPTIONS") { "405 No" } else { "200 OK" };
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: *\r\n\
             Access-Control-Allow-Methods: TRACE\r\nStrict-Transport-Security: max-age=1\r\n\r\nok"
        )
        .into_bytes()
    })
}

fn gateway(upstream: &Upstream, more: &str) -> Gateway {
    Gateway::start(&format!(
        r#"{}
[server]
listen = ["127.0.0.1:0"]
trusted_proxies = ["127.0.0.1"]
client_address = "peer"

[[route]]
id = "api"
path = "/api/{{*rest}}"
upstream = "origin"
[route.cors]
origins = ["https://app.test", "http://localhost:3000"]
methods = ["GET", "PUT"]
headers = ["content-type", "x-tenant"]
expose = ["etag"]
credentials = true
max_age = "10m"

[[route]]
id = "open"
path = "/open"
upstream = "origin"
[route.cors]
origins = ["*"]

[[route]]
id = "written"
path = "/written"
methods = ["PUT", "PATCH"]
upstream = "origin"
cors = {{ origins = ["https://app.test"] }}

[[route]]
id = "plain"
path = "/plain"
upstream = "origin"

[[route]]
id = "down"
path = "/down"
upstream = "nobody"
cors = {{ origins = ["https://app.test"] }}

[upstream.nobody]
servers = ["http://127.0.0.1:1"]

[rbac.role.editor]
[[rbac.grant]]
id = "read"
roles = ["anyone"]
methods = ["GET", "OPTIONS"]
[[rbac.deny]]
id = "shut"
path = "/api/shut"
{more}
"#,
        upstream.table("origin")
    ))
}

fn preflight(gateway: &Gateway, path: &str, fields: &[(&str, &str)]) -> Response {
    let asked = [("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", "x-tenant")];
    request(gateway.address, "OPTIONS", path, &[fields, &asked].concat(), b"")
}

/// All values of a field.
fn all<'r>(response: &'r Response, name: &str) -> Vec<&'r str> {
    response.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| &**value).collect()
}

#[test]
fn a_preflight_of_a_listed_origin_is_answered_and_goes_no_further() {
    let upstream = upstream();
    let gateway = gateway(&upstream, "");
    let response = preflight(&gateway, "/api/orders", &[APP]);
    assert_eq!((response.status, response.rule()), (204, "route/preflight"));
    let header = |name: &str| response.header(name).unwrap_or("-").to_owned();
    assert_eq!(header("x-portcullis-decision"), "allow");
    assert_eq!(header("access-control-allow-origin"), "https://app.test");
    assert_eq!(header("access-control-allow-methods"), "GET, PUT");
    assert_eq!(header("access-control-allow-headers"), "content-type, x-tenant");
    assert_eq!(header("access-control-allow-credentials"), "true");
    assert_eq!(header("access-control-max-age"), "600");
    assert!(all(&response, "vary").join(", ").contains("origin"));
    assert!(upstream.received().is_empty());
    let record = &gateway.records(1)[0];
    assert_eq!(
        (&record["decision"], &record["rule"], &record["status"], &record["decided_by"], &record["route"]),
        (&"allow".into(), &"route/preflight".into(), &204.into(), &"proxy".into(), &"api".into())
    );
}

#[test]
fn a_preflight_is_for_the_route_that_would_serve_what_it_asks_about() {
    let upstream = upstream();
    let gateway = gateway(&upstream, "");
    let response = preflight(&gateway, "/written", &[APP]);
    assert_eq!((response.status, response.header("access-control-allow-methods")), (204, Some("PUT, PATCH")));
    let plain = request(gateway.address, "OPTIONS", "/written", &[APP], b"");
    assert_eq!((plain.status, plain.rule()), (404, "route/none"));
}

#[test]
fn everything_else_is_judged_as_if_there_were_no_cors() {
    let upstream = upstream();
    let gateway = gateway(&upstream, "");
    let check = |response: &Response, status: u16, rule: &str| {
        assert_eq!((response.status, response.rule()), (status, rule));
        assert_eq!(response.header("access-control-allow-origin"), None);
    };
    // A preflight of an origin that is not listed, and of none.
    check(&preflight(&gateway, "/api/orders", &[EVIL]), 405, "rbac/read");
    check(&preflight(&gateway, "/api/orders", &[]), 405, "rbac/read");
    check(&preflight(&gateway, "/api/orders", &[("Origin", "null")]), 405, "rbac/read");
    check(&preflight(&gateway, "/api/orders", &[("Origin", "https://APP.test")]), 405, "rbac/read");
    check(&preflight(&gateway, "/api/shut", &[EVIL]), 403, "rbac/shut");
    check(&preflight(&gateway, "/api/orders", &[APP, EVIL]), 400, "intake/header-duplicate");
    // OPTIONS that is no preflight.
    let options = request(gateway.address, "OPTIONS", "/api/orders", &[APP], b"");
    assert_eq!((options.status, options.rule()), (405, "rbac/read"));
}

#[test]
fn a_page_sees_the_answer_and_the_refusal() {
    let upstream = upstream();
    let gateway = gateway(&upstream, "");
    let ask = |method: &str, path: &str, fields: &[(&str, &str)]| {
        request(gateway.address, method, path, fields, b"")
    };
    let allowed = ask("GET", "/api/orders", &[APP]);
    let refused = ask("DELETE", "/api/orders", &[APP]);
    let broken = ask("GET", "/down", &[APP]);
    let forged = ask("GET", "/api/orders", &[APP, ("Authorization", "Bearer x")]);
    for (response, status) in [(&allowed, 200), (&refused, 403), (&broken, 502), (&forged, 401)] {
        assert_eq!(response.status, status);
        assert_eq!(response.header("access-control-allow-origin"), Some("https://app.test"), "{status}");
        assert_eq!(response.header("access-control-allow-methods"), None, "{status}");
        let exposed = response.header("access-control-expose-headers").unwrap_or("-");
        assert!(exposed.contains("x-portcullis-rule") && exposed.contains("x-request-id"), "{exposed}");
        assert!(all(response, "vary").join(", ").contains("origin"), "{status}");
    }
    assert_eq!(refused.header("access-control-allow-credentials"), Some("true"));
    assert!(allowed.header("access-control-expose-headers").is_some_and(|exposed| exposed.contains("etag")));
    assert!(all(&refused, "vary").join(", ").contains("authorization"));
    // To others neither, whatever the upstream says; and caches are told.
    for (response, status) in [
        (ask("GET", "/api/orders", &[EVIL]), 200),
        (ask("DELETE", "/api/orders", &[EVIL]), 403),
        (get(gateway.address, "/api/orders"), 200),
    ] {
        assert_eq!(response.status, status);
        assert_eq!(response.header("access-control-allow-origin"), None);
        assert_eq!(response.header("access-control-expose-headers"), None);
        assert!(all(&response, "vary").join(", ").contains("origin"));
    }
    // Any origin is answered alike.
    let open = ask("GET", "/open", &[EVIL]);
    assert_eq!(open.header("access-control-allow-origin"), Some("*"));
    assert_eq!(open.header("access-control-allow-credentials"), None);
    assert!(!all(&open, "vary").join(", ").contains("origin"));
    // A route without `cors` passes on what its upstream says.
    assert_eq!(ask("GET", "/plain", &[APP]).header("access-control-allow-methods"), Some("TRACE"));
}

#[test]
fn silence_is_the_same_for_a_listed_origin() {
    let upstream = upstream();
    let gateway = gateway(&upstream, "[[disclosure]]\nlevel = \"silent\"\n");
    let refused = request(gateway.address, "DELETE", "/api/orders", &[APP], b"");
    let unrouted = request(gateway.address, "DELETE", "/nowhere", &[APP], b"");
    let shown = |response: &Response| {
        let headers = response.headers.iter().filter(|(name, _)| !matches!(&**name, "x-request-id" | "date"));
        (response.status, headers.cloned().collect::<Vec<_>>(), response.body.clone())
    };
    assert_eq!(shown(&refused), shown(&unrouted));
    // What is allowed is no secret to whom it is allowed.
    let allowed = request(gateway.address, "GET", "/api/orders", &[APP], b"");
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.test"));
    assert_eq!(allowed.header("access-control-expose-headers"), Some("etag"));
}

#[test]
fn clear_text_is_sent_to_tls_and_tls_says_so() {
    let upstream = upstream();
    let gateway = Gateway::start(&format!(
        r#"{}
[server]
listen = ["127.0.0.1:0"]
trusted_proxies = ["127.0.0.1"]
client_address = "peer"
[[route]]
id = "all"
host = "*.app.test"
path = "/{{*rest}}"
upstream = "origin"
redirect = "https"
hsts = {{ max_age = "365d", include_subdomains = true, preload = true }}
[[ip.rule]]
id = "shut"
path = "/shut"
deny = ["127.0.0.1"]
[[rbac.grant]]
id = "read"
roles = ["anyone"]
methods = ["GET"]
"#,
        upstream.table("origin")
    ));
    let ask = |method: &str, path: &str, host: &str, scheme: &str| {
        request(gateway.address, method, path, &[("Host", host), ("X-Forwarded-Proto", scheme)], b"")
    };
    let hsts = |response: &Response| response.header("strict-transport-security").map(str::to_owned);
    let sent = ask("DELETE", "/a/./b%7e?q=/..", "WWW.App.Test.:8080", "http");
    assert_eq!((sent.status, sent.rule()), (308, "route/redirect"));
    assert_eq!(sent.header("location"), Some("https://www.app.test/a/b~?q=/.."));
    assert_eq!((hsts(&sent), sent.text().as_str()), (None, ""));
    assert!(upstream.received().is_empty());
    // Of several fields the first may be the client's own.
    let fields = [("Host", "www.app.test"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")];
    let twice = request(gateway.address, "GET", "/a", &fields, b"");
    assert_eq!((twice.status, twice.rule()), (400, "intake/bad-target"));
    // The address rules stand before it, and a host that no route serves is sent nowhere.
    let shut = ask("GET", "/shut", "www.app.test", "http");
    assert_eq!((shut.status, shut.rule(), shut.header("location")), (403, "ip/shut", None));
    let foreign = ask("GET", "/a", "evil.test", "http");
    assert_eq!((foreign.status, foreign.rule(), foreign.header("location")), (421, "route/authority", None));
    let year = Some("max-age=31536000; includeSubDomains; preload".to_owned());
    let allowed = ask("GET", "/a", "www.app.test", "https");
    assert_eq!((allowed.status, hsts(&allowed)), (200, year.clone()));
    let refused = ask("DELETE", "/a", "www.app.test", "https");
    assert_eq!((refused.status, hsts(&refused)), (403, year));
    let record = &gateway.records(1)[0];
    assert_eq!((&record["rule"], &record["status"]), (&"route/redirect".into(), &308.into()));
}

#[test]
fn explain_says_that_the_gateway_answers_itself() {
    let bench = Bench::with(
        "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\n[upstream.app]\nservers = [\"builtin:echo\"]\n\
         [[route]]\nid = \"pages\"\npath = \"/{*rest}\"\nupstream = \"app\"\n\
         cors = { origins = [\"https://app.test\"] }\n[[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\n",
    );
    let arguments = [
        "explain",
        "-X",
        "OPTIONS",
        "/x",
        "--header",
        "Origin: https://app.test",
        "--header",
        "Access-Control-Request-Method: PUT",
    ];
    let ran = bench.run(&arguments);
    assert_eq!(ran.code, 0, "{}", ran.show());
    let words = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("is answered here with 204: route/preflight says so"), "{}", ran.show());
    assert!(words.contains("route pages; answered here with 204, by route/preflight"), "{}", ran.show());
    assert!(words.contains("rbac not reached") && !words.contains("to upstream app"), "{}", ran.show());
}
