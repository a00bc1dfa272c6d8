//! Conversations with a server that says what it is told to say, in pieces of any size.

use http::{Version, header};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::upstream::body::BodyFailure;

/// What came of an exchange: the answer's status, its body and its trailers.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    status: u16,
    body: Vec<u8>,
    trailers: Vec<(String, String)>,
    reusable: bool,
}

fn get() -> Request<RequestBody> {
    ask(Method::GET)
}

fn ask(method: Method) -> Request<RequestBody> {
    let request = Request::builder().method(method).uri("/a?b=c").header("host", "example.com");
    request.header("x-one", "1").body(RequestBody::Empty).unwrap()
}

async fn body(connection: &mut Connection<DuplexStream>) -> Result<(Vec<u8>, Vec<(String, String)>), Broken> {
    let (mut all, mut trailers) = (Vec::new(), Vec::new());
    while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) => all.extend_from_slice(&data),
            Err(frame) => {
                let fields = frame.into_trailers().unwrap_or_default();
                let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
                trailers.extend(fields.iter().map(|(name, value)| (name.to_string(), text(value))));
            }
        }
    }
    Ok((all, trailers))
}

/// One exchange with a server that answers so, in pieces of a size, and closes if it is to.
async fn exchange(method: Method, answer: &[u8], piece: usize, closes: bool) -> Result<Came, Broken> {
    let (near, mut far) = duplex(1 << 20);
    let mut connection = Connection::new(near);
    let server = async move {
        for piece in answer.chunks(piece) {
            // The client may have heard enough.
            if far.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        (!closes).then_some(far)
    };
    let client = async move {
        let response = connection.exchange(&mut ask(method), Beside::default()).await?;
        let (body, trailers) = body(&mut connection).await?;
        let reusable = poll_fn(|cx| Poll::Ready(connection.is_usable(cx))).await;
        Ok(Came { status: response.status().as_u16(), body, trailers, reusable })
    };
    tokio::join!(client, server).0
}

fn on_this_thread<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The answer in pieces of every size must come out the same.
fn came(method: &Method, answer: &[u8], closes: bool) -> Result<Came, Broken> {
    on_this_thread(async {
        let whole = exchange(method.clone(), answer, usize::MAX, closes).await;
        for piece in [1, 2, 3, 7, 64] {
            let again = exchange(method.clone(), answer, piece, closes).await;
            assert_eq!(again, whole, "in pieces of {piece}: {:?}", String::from_utf8_lossy(answer));
        }
        whole
    })
}

fn answered(answer: &str) -> Result<Came, Broken> {
    came(&Method::GET, answer.as_bytes(), false)
}

fn plain(status: u16, body: &str, reusable: bool) -> Result<Came, Broken> {
    Ok(Came { status, body: body.into(), trailers: Vec::new(), reusable })
}

#[test]
fn an_answer_ends_where_its_head_says() {
    assert_eq!(answered("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), plain(200, "hello", true));
    assert_eq!(answered("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), plain(200, "", true));
    assert_eq!(answered("HTTP/1.1 204 \r\n\r\n"), plain(204, "", true));
    assert_eq!(answered("HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n"), plain(304, "", true));
    assert_eq!(
        answered(
            "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
        ),
        plain(200, "x", true)
    );
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(answered(chunked), plain(200, "abc0123456789", true));
    let head = came(&Method::HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false);
    assert_eq!(head, plain(200, "", true));
    let until_close = came(&Method::GET, b"HTTP/1.1 200 OK\r\n\r\nhello", true);
    assert_eq!(until_close, plain(200, "hello", false));
}

#[test]
fn trailers_come_behind_the_body() {
    let answer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nGrpc-Status: 0\r\nA: b\r\n\r\n";
    let trailers = vec![("grpc-status".into(), "0".into()), ("a".into(), "b".into())];
    assert_eq!(answered(answer), Ok(Came { status: 200, body: b"x".into(), trailers, reusable: true }));
}

#[test]
fn a_connection_lasts_only_as_its_server_says() {
    for (answer, reusable) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: a, Close\r\n\r\nx", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx", true),
    ] {
        assert_eq!(answered(answer), plain(200, "x", reusable), "{answer:?}");
    }
}

#[test]
fn what_comes_behind_an_answer_was_not_asked_for() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n";
    let came = on_this_thread(exchange(Method::GET, answer, usize::MAX, false));
    assert_eq!(came, plain(200, "x", false));
}

#[test]
fn what_two_readers_might_take_differently_is_no_answer() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nx",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx",
    ] {
        assert_eq!(answered(answer), Err(Broken::Malformed), "{answer:?}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
    ] {
        assert_eq!(came(&Method::GET, answer.as_bytes(), true), Err(Broken::Closed), "{answer:?}");
    }
    assert_eq!(came(&Method::GET, b"", true), Err(Broken::Unanswered));
    assert_eq!(came(&Method::GET, b"HTTP/1.1 200 OK\r\nA: ", true), Err(Broken::Malformed));
}

#[test]
fn a_line_or_head_without_end_is_given_up() {
    let long = "a".repeat(LONGEST_HEAD + 1);
    on_this_thread(async {
        for answer in [
            format!("HTTP/1.1 200 OK\r\nA: {long}"),
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{long}"),
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: {long}"),
        ] {
            let came = exchange(Method::GET, answer.as_bytes(), 4096, false).await;
            assert_eq!(came, Err(Broken::Malformed), "{:.60}", answer);
        }
    });
}

/// What a server reads of a request, and how the exchange ended.
async fn written(mut request: Request<RequestBody>) -> String {
    let (near, mut far) = duplex(1 << 20);
    let mut connection = Connection::new(near);
    let server = async move {
        let mut text = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let count = far.read(&mut piece).await.unwrap();
            text.extend_from_slice(&piece[..count]);
            let ended = text.ends_with(b"\r\n\r\n") || text.ends_with(b"END");
            if count == 0 || ended {
                break;
            }
        }
        far.write_all(b"HTTP/1.1 204 N\r\n\r\n").await.unwrap();
        (String::from_utf8(text).unwrap(), far)
    };
    let (response, (text, _far)) = tokio::join!(connection.exchange(&mut request, Beside::default()), server);
    let response = response.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::NO_CONTENT, Version::HTTP_11));
    assert!(connection.is_done(), "{text}");
    text
}

#[test]
fn a_request_says_host_first_and_its_length_once() {
    on_this_thread(async {
        assert_eq!(written(get()).await, "GET /a?b=c HTTP/1.1\r\nhost: example.com\r\nx-one: 1\r\n\r\n");
        assert_eq!(
            written(ask(Method::POST)).await,
            "POST /a?b=c HTTP/1.1\r\nhost: example.com\r\nx-one: 1\r\ncontent-length: 0\r\n\r\n"
        );
        let mut request = ask(Method::PUT);
        request.headers_mut().insert(header::CONTENT_LENGTH, 7.into());
        *request.body_mut() = RequestBody::Whole(Some(Bytes::from_static(b"the END")));
        assert_eq!(
            written(request).await,
            "PUT /a?b=c HTTP/1.1\r\nhost: example.com\r\nx-one: 1\r\ncontent-length: 7\r\n\r\nthe END"
        );
    });
}

#[test]
fn frames_become_chunks_and_trailers_or_bytes_of_a_length() {
    let (mut out, mut piece) = (BytesMut::new(), Bytes::new());
    let mut chunked = Framing::Chunked(Some(http::HeaderValue::from_static("x, A")));
    for data in ["", "hello", "0123456789abcdef"] {
        assert_eq!(chunked.frame(Frame::data(Bytes::from(data)), &mut out, &mut piece), Ok(true));
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("a", http::HeaderValue::from_static("b"));
    trailers.insert("unannounced", http::HeaderValue::from_static("c"));
    assert_eq!(chunked.frame(Frame::trailers(trailers.clone()), &mut out, &mut piece), Ok(false));
    assert_eq!(out, "5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\na: b\r\n\r\n");
    out.clear();
    let mut sized = Framing::Sized(5);
    assert_eq!(sized.frame(Frame::data(Bytes::from("hello")), &mut out, &mut piece), Ok(true));
    assert_eq!(sized.frame(Frame::trailers(trailers), &mut out, &mut piece), Ok(true));
    assert_eq!((sized.end(&mut out), &out[..]), (Ok(()), &b"hello"[..]));
    // A body that is not as long as it said is not sent as if it were.
    assert_eq!(sized.frame(Frame::data(Bytes::from("x")), &mut out, &mut piece), Err(Broken::Body));
    assert_eq!(Framing::Sized(1).end(&mut out), Err(Broken::Body));
    let long = Bytes::from(vec![b'x'; COPIED + 1]);
    out.clear();
    assert_eq!(Framing::Sized(u64::MAX).frame(Frame::data(long.clone()), &mut out, &mut piece), Ok(true));
    assert_eq!((out.len(), piece), (0, long));
}

#[test]
fn a_server_that_answers_early_is_heard_and_its_connection_not_used_again() {
    on_this_thread(async {
        let (near, mut far) = duplex(64);
        let mut connection = Connection::new(near);
        let mut request = ask(Method::POST);
        *request.body_mut() = RequestBody::Whole(Some(Bytes::from(vec![b'x'; 4096])));
        let server = async move {
            far.write_all(b"HTTP/1.1 413 L\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
            far
        };
        let (response, far) = tokio::join!(connection.exchange(&mut request, Beside::default()), server);
        assert_eq!(response.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(body(&mut connection).await.unwrap().0, b"no");
        assert!(!connection.is_done());
        drop(far);
    });
}

#[test]
fn a_rested_connection_that_was_closed_or_spoken_on_is_not_used() {
    on_this_thread(async {
        let (near, mut far) = duplex(64);
        let mut connection = Connection::new(near);
        assert!(poll_fn(|cx| Poll::Ready(connection.is_usable(cx))).await);
        far.write_all(b"x").await.unwrap();
        assert!(!poll_fn(|cx| Poll::Ready(connection.is_usable(cx))).await);
        let (near, far) = duplex(64);
        let mut connection = Connection::new(near);
        drop(far);
        assert!(!poll_fn(|cx| Poll::Ready(connection.is_usable(cx))).await);
    });
}

#[test]
fn a_request_that_nobody_answered_is_sent_again_as_it_was() {
    on_this_thread(async {
        let mut sent = Vec::new();
        // The server reads and closes, or has closed before anything could be written.
        for reads in [true, false] {
            let (near, mut far) = duplex(1 << 16);
            let mut connection = Connection::new(near);
            let server = async move {
                let mut bytes = vec![0; 1 << 10];
                let count = if reads { far.read(&mut bytes).await.unwrap() } else { 0 };
                bytes.truncate(count);
                drop(far);
                bytes
            };
            let mut request = get();
            let (bytes, broken) = match reads {
                true => tokio::join!(server, connection.exchange(&mut request, Beside::default())),
                false => (server.await, connection.exchange(&mut request, Beside::default()).await),
            };
            assert_eq!(broken.unwrap_err(), Broken::Unanswered);
            sent.push(bytes);
            let (near, mut far) = duplex(1 << 16);
            far.write_all(b"HTTP/1.1 204 N\r\n\r\n").await.unwrap();
            let again = connection.into_unanswered();
            let mut connection = Connection::new(near);
            assert_eq!(connection.repeat(again, &Method::GET).await.unwrap().status(), 204);
            assert!(connection.is_done());
            drop(connection);
            let mut bytes = Vec::new();
            far.read_to_end(&mut bytes).await.unwrap();
            assert_eq!(bytes, sent[0]);
        }
    });
}

#[test]
fn a_whole_body_that_came_with_its_head_is_taken_at_once() {
    on_this_thread(async {
        let (near, mut far) = duplex(1 << 16);
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        let mut connection = Connection::new(near);
        connection.exchange(&mut get(), Beside::default()).await.unwrap();
        assert_eq!((connection.remaining(), connection.whole_body()), (Some(5), Some(Bytes::from("hello"))));
        assert!(connection.is_done());
    });
}

/// hyper's own server must read what is written here, whatever a body's frames are.
#[test]
fn hypers_server_reads_the_requests() {
    on_this_thread(async {
        let (near, far) = duplex(1 << 10);
        let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async {
            let read = request.into_body().collect().await.map_err(|_| BodyFailure::Cut)?.to_bytes();
            Ok::<_, BodyFailure>(Response::new(http_body_util::Full::new(read)))
        });
        let server = hyper::server::conn::http1::Builder::new()
            .serve_connection(hyper_util::rt::TokioIo::new(far), service);
        let client = async move {
            let mut connection = Connection::new(near);
            for length in [0, 1, 100, 5000, 100_000] {
                let text = vec![b'y'; length];
                let mut request = ask(Method::POST);
                *request.body_mut() = RequestBody::Whole(Some(Bytes::from(text.clone())));
                assert_eq!(connection.exchange(&mut request, Beside::default()).await.unwrap().status(), 200);
                assert_eq!(body(&mut connection).await.unwrap().0, text);
            }
        };
        let _ = tokio::join!(client, server);
    });
}
