//! Clients that send nothing, read nothing or read too slowly, on a clock that does not wait.

use std::net::IpAddr;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::super::answer::{live, text};
use super::super::patience::PATIENCE;
use super::super::seats::{LISTENER, Seats};
use super::*;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Much longer than any deadline.
const LONG: Duration = Duration::from_secs(600);

/// A connection whose other side takes no more than a few bytes ahead.
fn connect(seats: &Arc<Seats>, size: usize) -> (DuplexStream, JoinHandle<hyper::Result<()>>) {
    let (client, server) = duplex(1024);
    let seat = seats.take(Some(PEER)).unwrap();
    let served = serve(server, seat, move |_, _| async move { text(StatusCode::OK, vec![b'x'; size]) });
    (client, tokio::spawn(served))
}

/// How long a connection lasts at most.
async fn lasts(served: JoinHandle<hyper::Result<()>>) -> Duration {
    let begin = Instant::now();
    let _ = timeout(LONG, served).await.expect("it ends");
    begin.elapsed()
}

const HEAD_TEXT: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn who_sends_nothing_or_never_ends_a_head_is_dropped() {
    let seats = Seats::new(LISTENER);
    let (_silent, served) = connect(&seats, 1);
    assert!(lasts(served).await <= HEAD * 2);
    let (mut slow, served) = connect(&seats, 1);
    let dripping = tokio::spawn(async move {
        for byte in HEAD_TEXT.iter().chain(HEAD_TEXT) {
            sleep(HEAD / 9).await;
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    });
    assert!(lasts(served).await <= HEAD * 2);
    dripping.await.unwrap();
    // And who was answered once and then is silent.
    let (mut idle, served) = connect(&seats, 1);
    idle.write_all(HEAD_TEXT).await.unwrap();
    assert!(lasts(served).await <= HEAD * 2);
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_is_dropped_and_who_reads_slowly_is_not() {
    let seats = Seats::new(LISTENER);
    let (mut deaf, served) = connect(&seats, 1 << 20);
    deaf.write_all(HEAD_TEXT).await.unwrap();
    assert!(lasts(served).await <= PATIENCE * 2);
    // A byte now and then is not reading.
    let (mut miser, served) = connect(&seats, 1 << 20);
    miser.write_all(HEAD_TEXT).await.unwrap();
    let sips = tokio::spawn(async move {
        while miser.read_u8().await.is_ok() {
            sleep(PATIENCE / 9).await
        }
    });
    assert!(lasts(served).await <= PATIENCE * 3);
    sips.await.unwrap();
    // A slow line is: it takes a minute and more, and everything comes.
    let (mut slow, served) = connect(&seats, 256 << 10);
    slow.write_all(HEAD_TEXT).await.unwrap();
    let reading = tokio::spawn(async move {
        let (mut all, mut piece) = (0, [0; 1024]);
        loop {
            sleep(Duration::from_millis(300)).await;
            match slow.read(&mut piece).await {
                Ok(0) | Err(_) => return all,
                Ok(count) => all += count,
            }
        }
    });
    assert!(lasts(served).await > PATIENCE * 3);
    assert!(reading.await.unwrap() > 256 << 10);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_follow_a_stream_of_events_is_cut() {
    let seats = Seats::new(LISTENER);
    let (client, server) = duplex(4096);
    let seat = seats.take(Some(PEER)).unwrap();
    let (sender, events) = mpsc::channel(4);
    let events = std::sync::Mutex::new(Some(events));
    let served = serve(server, seat, move |_, seat| {
        let answer = live(events.lock().unwrap().take().unwrap(), seat.streams(false).unwrap());
        async move { answer }
    });
    let served = tokio::spawn(served);
    let (mut reading, mut writing) = tokio::io::split(client);
    writing.write_all(HEAD_TEXT).await.unwrap();
    let taken = seats.take(Some(PEER)).unwrap();
    // As long as it reads, it may last.
    let mut piece = [0; 4096];
    for _ in 0..60 {
        sender.send(Bytes::from_static(&[b'x'; 900])).await.unwrap();
        sleep(Duration::from_secs(15)).await;
        assert!(reading.read(&mut piece).await.unwrap() > 0);
    }
    let rights = |count: usize| (0..count).map(|_| taken.streams(false)).collect::<Option<Vec<_>>>();
    assert!(rights(LISTENER.streams).is_none() && rights(LISTENER.streams - 1).is_some());
    let begin = Instant::now();
    while sender.send(Bytes::from_static(&[b'x'; 900])).await.is_ok() {}
    assert!(begin.elapsed() <= PATIENCE * 2);
    let _ = served.await.unwrap();
    // Its right is free for another.
    assert!(rights(LISTENER.streams).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_neither_sends_nor_reads_makes_room_at_once() {
    let seats = Seats::new(LISTENER);
    let mut others = Vec::new();
    for number in 0..LISTENER.all * 3 {
        let (mut client, served) = connect(&seats, 1 << 20);
        if number % 2 == 0 {
            // Answers that are not read, and more requests behind them.
            client.write_all(&HEAD_TEXT.repeat(9)).await.unwrap();
        }
        tokio::task::yield_now().await;
        others.push((client, served));
    }
    let begin = Instant::now();
    let (mut client, _served) = connect(&seats, 5);
    client.write_all(HEAD_TEXT).await.unwrap();
    let mut status = [0; 15];
    client.read_exact(&mut status).await.unwrap();
    assert_eq!((&status, begin.elapsed()), (b"HTTP/1.1 200 OK", Duration::ZERO));
    // Nobody had to wait for the time of another to be over.
    let left = others.iter().filter(|(_, served)| !served.is_finished()).count();
    assert!(left < LISTENER.of_address, "{left}");
}
