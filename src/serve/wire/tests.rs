//! Conversations as bytes in pieces: what is told of their heads.

use super::*;

fn wire() -> Rc<Wire> {
    Wire::new(Timeouts::default())
}

fn altered(wire: &Wire, method: &str, uri: &str, body: Framed) -> Option<Builtin> {
    wire.begin(method, &uri.parse().expect("a target"), body).target
}

fn begin(wire: &Wire, method: &str, uri: &str, body: Framed) -> bool {
    altered(wire, method, uri, body).is_none()
}

#[tokio::test(flavor = "current_thread")]
async fn the_target_as_sent_is_compared_with_the_target_as_parsed() {
    for (sent, parsed, want) in [
        ("GET /a HTTP/1.1\r\n\r\n", "/a", None),
        ("\r\n\r\nGET /a?b HTTP/1.1\r\n\r\n", "/a?b", None),
        ("GET /a#b HTTP/1.1\r\n\r\n", "/a", Some(Builtin::Fragment)),
        ("\r\nGET /a#b HTTP/1.1\r\n\r\n", "/a", Some(Builtin::Fragment)),
        ("GET /a HTTP/1.1\r\nX: #\r\n\r\n", "/b", Some(Builtin::BadTarget)),
        ("GET http://h HTTP/1.1\r\n\r\n", "http://h/", None),
        ("GET http://h/x HTTP/1.1\r\n\r\n", "http://h/x", None),
        ("GET http://h/x#y HTTP/1.1\r\n\r\n", "http://h/x", Some(Builtin::Fragment)),
    ] {
        let wire = wire();
        wire.on_read(sent.as_bytes());
        assert_eq!(altered(&wire, "GET", parsed, Framed::Absent), want, "{sent:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn pipelined_heads_are_told_apart() {
    let wire = wire();
    wire.on_read(b"GET /a HTTP/1.1\r\nX: y\r\n\r\nGET /b#c HTTP/1.1\r\n\r\nGET /d HTTP/1.1\r\n\r\n");
    assert!(begin(&wire, "GET", "/a", Framed::Absent));
    wire.end();
    assert!(!begin(&wire, "GET", "/b", Framed::Absent));
    wire.end();
    assert!(begin(&wire, "GET", "/d", Framed::Absent));
}

const BOUNDARIES: [usize; 4] = [1, 7, 64, 4096];

/// Requests one after the other, each sent when the one before was answered, in pieces of a
/// size. What the bytes say of each.
fn conversation(requests: &[(&str, &str, &str, Framed)], piece: usize) -> Vec<Altered> {
    let wire = wire();
    let one = |(head, rest, target, body): &(&str, &str, &str, Framed)| {
        head.as_bytes().chunks(piece).for_each(|piece| wire.on_read(piece));
        let method = head.split(' ').next().unwrap_or_default();
        let altered = wire.begin(method, &target.parse().expect("a target"), *body);
        rest.as_bytes().chunks(piece).for_each(|piece| wire.on_read(piece));
        wire.end();
        altered
    };
    requests.iter().map(one).collect()
}

#[tokio::test(flavor = "current_thread")]
async fn what_stands_in_a_body_does_not_matter() {
    let multipart = "--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\
                     GET /a HTTP/1.1\r\n\r\nGET /b#c HTTP/1.1\r\n\r\n--x--\r\n";
    let length = multipart.len() as u64;
    let chunked = format!("{length:x}\r\n{multipart}\r\n0\r\n\r\n");
    let post = "POST /up HTTP/1.1\r\nHost: a\r\n\r\n";
    let get = ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "", "/a", Framed::Absent);
    let fragment = ("GET /b#c HTTP/1.1\r\n\r\n", "", "/b", Framed::Absent);
    for piece in BOUNDARIES {
        let sized = (post, multipart, "/up", Framed::Sized(length));
        let chunked = (post, &*chunked, "/up", Framed::Chunked);
        for up in [sized, chunked] {
            let said = conversation(&[up, get, get, up, up, get, fragment, get], piece);
            let targets: Vec<_> = said.iter().map(|altered| altered.target).collect();
            let want = [None, None, None, None, None, None, Some(Builtin::Fragment), None];
            assert_eq!(targets, want, "{piece} {:?}", up.3);
            assert!(said.iter().all(|altered| !altered.length));
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_request_sent_with_a_body_is_found_behind_it() {
    let wire = wire();
    wire.on_read(b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /b#c HTTP/1.1\r\n\r\n");
    assert!(begin(&wire, "POST", "/a", Framed::Sized(5)));
    wire.end();
    assert_eq!(altered(&wire, "GET", "/b", Framed::Absent), Some(Builtin::Fragment));
    wire.on_read(b"POST /c HTTP/1.1\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /d HTTP/1.1\r\n\r\n");
    assert!(begin(&wire, "POST", "/c", Framed::Chunked));
    wire.end();
    assert!(begin(&wire, "GET", "/d", Framed::Absent));
    wire.end();
    wire.on_read(b"POST /c HTTP/1.1\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /d#e HTTP/1.1\r\n\r\n");
    assert!(begin(&wire, "POST", "/c", Framed::Chunked));
    wire.end();
    assert!(!begin(&wire, "GET", "/d", Framed::Absent));
}

#[tokio::test(flavor = "current_thread")]
async fn a_line_that_stands_elsewhere_too_hides_no_length() {
    let wire = wire();
    wire.on_read(
        b"POST /a HTTP/1.1\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
        POST /t HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\
        X: POST /t HTTP/1.1\r\n\r\n16\r\n\nPOST /t HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
    );
    assert!(begin(&wire, "POST", "/a", Framed::Chunked));
    wire.end();
    assert!(wire.begin("POST", &"/t".parse().expect("a target"), Framed::Chunked).length);
}

#[tokio::test(flavor = "current_thread")]
async fn a_length_that_the_parser_dropped_is_seen() {
    let altered = |head: &str| {
        let wire = wire();
        wire.on_read(head.as_bytes());
        wire.begin("POST", &"/a".parse().expect("a target"), Framed::Chunked)
    };
    let both = "POST /a HTTP/1.1\r\nCONTENT-length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(altered(both).length);
    assert!(!altered("POST /a HTTP/1.1\r\nX-Content-Length: 3\r\n\r\nx\ncontent-length: 3").length);
    assert!(!altered("POST /a HTTP/1.1\r\nContent-Length-Hint: 3\r\n\r\n").length);
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_kept_is_bounded() {
    let wire = wire();
    wire.on_read(b"POST /a HTTP/1.1\r\n\r\n");
    assert!(begin(&wire, "POST", "/a", Framed::Chunked));
    for _ in 0..100 {
        wire.on_read(&[b'x'; 8192]);
    }
    wire.end();
    wire.on_read(b"GET /b HTTP/1.1\r\n\r\n");
    assert!(wire.head.borrow().len() <= KEPT);
    assert!(begin(&wire, "GET", "/b", Framed::Absent));
    wire.end();
    // Much that was sent ahead: what did not fit is looked for behind what did.
    for _ in 0..10_000 {
        wire.on_read(b"GET /c HTTP/1.1\r\n\r\n");
    }
    assert!(wire.head.borrow().len() <= KEPT);
    assert!(begin(&wire, "GET", "/c", Framed::Absent));
}
