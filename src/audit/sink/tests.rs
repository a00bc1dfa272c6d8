//! Sinks on real files, pipes and devices. Time is paused: what waits a second waits no time.

use std::collections::BTreeMap;
use std::fs;
use std::future::{Future, poll_fn};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::runtime::LocalOptions;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, sleep};

use super::*;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}

fn settings(path: &Path) -> Settings {
    let sink = SinkSettings::File { path: path.to_str().unwrap().into(), rotate: None, keep: 10 };
    Settings { sink, ..Settings::default() }
}

/// A folder that is there as long as the test, and a path in it.
fn file(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    (folder, path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn pipe(name: &str) -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = file(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    (folder, path)
}

/// Waits until everything has arrived. A thread writes to pipes, and paused time does not wait for
/// threads: a second passes at once. So this asks until it is so.
async fn arrived(handle: &LogHandle) {
    while handle.flush().await.is_err() {
        sleep(Duration::from_millis(1)).await;
        thread::yield_now();
    }
}

// === group ===

#[test]
fn all_that_are_ready_in_one_turn_are_one_write() {
    let (_folder, path) = file("d.jsonl");
    let log = Log::open(&settings(&path)).unwrap();
    run(ten_and_one_more(Arc::clone(&log)));
    assert_eq!(log.writes(), 1);
    // The other kind of runtime that keeps its tasks on one thread.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build_local(LocalOptions::default());
    runtime.unwrap().block_on(ten_and_one_more(Arc::clone(&log)));
    assert_eq!(log.writes(), 2);

    let mut lines: Vec<String> = read(&path).lines().map(str::to_owned).collect();
    lines.sort();
    lines.dedup();
    assert_eq!((lines.len(), &*lines[0], &*lines[10]), (11, "0", "ended"));
}

async fn ten_and_one_more(log: Arc<Log>) {
    let handle = Rc::new(log.handle());
    // A thread's first turn starts the task that hands over.
    yield_now().await;
    let tasks: Vec<_> = (0..10)
        .map(|number| {
            let handle = Rc::clone(&handle);
            spawn_local(async move { handle.write_before_answer(format!("{number}\n").as_bytes()).await })
        })
        .collect();
    handle.push(b"ended\n");
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(()));
    }
}

#[test]
fn a_record_is_in_the_file_when_its_answer_may_go() {
    let (_folder, path) = file("d.jsonl");
    let log = Log::open(&settings(&path)).unwrap();
    run(async {
        let handle = log.handle();
        for number in 0..3 {
            assert_eq!(handle.write_before_answer(format!("{number}\n").as_bytes()).await, Ok(()));
            assert_eq!(read(&path).lines().count(), number + 1);
        }
    });
    assert_eq!((log.writes(), log.lost()), (3, 0));
}

#[test]
fn the_end_of_an_answer_waits_for_its_record_where_records_come_first() {
    let (_folder, path) = file("d.jsonl");
    let log = Log::open(&settings(&path)).unwrap();
    run(async {
        let handle = log.handle();
        assert!(handle.precedes_answers());
        let first = handle.push_before_answer(b"a\n").unwrap();
        let second = handle.push_before_answer(b"b\n").unwrap();
        assert_eq!(read(&path), "");
        handle.arrived(first).await;
        // Both were ready in one turn.
        assert_eq!((&*read(&path), log.writes()), ("a\nb\n", 1));
        handle.arrived(second).await;
        // Of what is not recorded there is nothing to wait for.
        assert_eq!(handle.push_before_answer(b""), None);
    });
    let log = Log::open(&Settings { sink: SinkSettings::None, ..settings(&path) }).unwrap();
    run(async { assert!(!log.handle().precedes_answers()) });
}

#[test]
fn a_client_that_hangs_up_does_not_take_its_record_along() {
    let (_folder, path) = file("d.jsonl");
    let log = Log::open(&settings(&path)).unwrap();
    run(async {
        let handle = log.handle();
        {
            let mut waiting = pin!(handle.write_before_answer(b"gone\n"));
            poll_fn(|context| {
                assert!(waiting.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        assert_eq!(log.writes(), 0);
        handle.flush().await.unwrap();
    });
    assert_eq!(read(&path), "gone\n");
}

#[test]
fn closing_loses_nothing() {
    for flush in [Flush::Group, Flush::After(Duration::from_secs(10))] {
        let (_folder, path) = file("d.jsonl");
        let log = Log::open(&Settings { flush, ..settings(&path) }).unwrap();
        run(async {
            let handle = log.handle();
            for number in 0..1000 {
                handle.push(format!("{number}\n").as_bytes());
            }
            assert_eq!(handle.close().await, Ok(()));
        });
        assert_eq!((read(&path).lines().count(), log.lost()), (1000, 0));
    }
}

#[test]
fn nothing_is_kept_of_what_goes_nowhere() {
    let log = Log::open(&Settings { sink: SinkSettings::None, ..Settings::default() }).unwrap();
    run(async {
        let handle = log.handle();
        assert_eq!(handle.write_before_answer(b"x\n").await, Ok(()));
        handle.push(b"y\n");
        assert!(handle.ready());
        assert_eq!((handle.flush().await, handle.close().await), (Ok(()), Ok(())));
    });
    assert_eq!(log.lost(), 0);
}

// === batches ===

#[test]
fn batches_wait_for_their_time_or_size() {
    let (_folder, path) = file("d.jsonl");
    let flush = Flush::After(Duration::from_millis(100));
    let log = Log::open(&Settings { flush, ..settings(&path) }).unwrap();
    run(async {
        let handle = log.handle();
        assert_eq!(handle.write_before_answer(b"a\n").await, Ok(()));
        sleep(Duration::from_millis(99)).await;
        assert_eq!(log.writes(), 0);
        handle.push(b"b\n");
        sleep(Duration::from_millis(2)).await;
        assert_eq!((log.writes(), &*read(&path)), (1, "a\nb\n"));

        // No answer waits for what goes in batches.
        assert!(!handle.precedes_answers());
        assert_eq!(handle.push_before_answer(&[&[b'x'; 70_000][..], b"\n"].concat()), None);
        yield_now().await;
        yield_now().await;
        assert_eq!(log.writes(), 2);

        handle.push(b"c\n");
        handle.flush().await.unwrap();
        assert_eq!(log.writes(), 3);
    });
}

// === files ===

#[test]
fn rotation_keeps_every_line_once_whoever_writes() {
    let (folder, path) = file("d.jsonl");
    let sink =
        SinkSettings::File { path: path.to_str().unwrap().into(), rotate: Some(64 * 1024), keep: 1000 };
    let log = Log::open(&Settings { sink, ..Settings::default() }).unwrap();
    const THREADS: usize = 4;
    const LINES: usize = 5000;
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                run(async {
                    let handle = log.handle();
                    for number in 0..LINES {
                        let line = format!("{thread} {number} {}\n", "x".repeat(number % 97));
                        if number % 10 == 0 {
                            handle.write_before_answer(line.as_bytes()).await.unwrap();
                        } else {
                            handle.push(line.as_bytes());
                        }
                    }
                    handle.close().await.unwrap();
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());

    let mut seen: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let mut files = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let text = read(&path);
        assert!(text.len() <= 64 * 1024 && text.ends_with('\n'), "{path:?} has {} bytes", text.len());
        files += 1;
        for line in text.lines() {
            let mut words = line.split(' ');
            let mut number = || words.next().unwrap().parse::<usize>().unwrap();
            let key = (number(), number());
            assert_eq!(words.next().unwrap().len(), key.1 % 97, "{line}");
            *seen.entry(key).or_default() += 1;
        }
    }
    assert!(files > 5, "{files} files");
    assert_eq!(seen.len(), THREADS * LINES);
    assert!(seen.values().all(|count| *count == 1));
    assert_eq!(log.lost(), 0);
}

#[test]
fn the_oldest_files_go() {
    let (folder, path) = file("d.jsonl");
    let sink = FileSink::open(&path, Some(10), 2).unwrap();
    for line in ["aaaaaaaa\n", "bbbbbbbb\n", "cccccccc\n", "dddddddd\n"] {
        assert!(sink.write(line.as_bytes()).result.is_ok());
    }
    assert_eq!(read(&path), "dddddddd\n");
    assert_eq!(read(&path.with_extension("jsonl.1")), "cccccccc\n");
    assert_eq!(read(&path.with_extension("jsonl.2")), "bbbbbbbb\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn a_file_that_cannot_be_put_aside_grows_on() {
    let (_folder, path) = file("d.jsonl");
    let sink = FileSink::open(&path, Some(4), 1).unwrap();
    // A folder that is not empty stands where the file would go.
    fs::create_dir_all(path.with_extension("jsonl.1").join("x")).unwrap();
    for _ in 0..3 {
        assert!(sink.write(b"aaa\n").result.is_ok());
    }
    assert_eq!(read(&path), "aaa\naaa\naaa\n");
}

#[test]
fn a_file_that_was_moved_is_begun_anew() {
    let (_folder, path) = file("d.jsonl");
    let sink = FileSink::open(&path, None, 1).unwrap();
    sink.write(b"a\n").result.unwrap();
    let moved = path.with_extension("old");
    fs::rename(&path, &moved).unwrap();
    sink.reopen();
    sink.write(b"b\n").result.unwrap();
    fs::rename(&moved, &path).unwrap();
    sink.reopen();
    sink.write(b"c\n").result.unwrap();
    assert_eq!(read(&path), "a\nc\n");
}

#[test]
fn a_torn_last_line_is_left_behind() {
    let (_folder, path) = file("d.jsonl");
    fs::write(&path, "{\"whole\":1}\n{\"to").unwrap();
    let sink = FileSink::open(&path, None, 1).unwrap();
    sink.write(b"a\n").result.unwrap();
    assert_eq!(read(&path), "{\"whole\":1}\n{\"to\na\n");
    let sink = FileSink::open(&path, None, 1).unwrap();
    sink.write(b"b\n").result.unwrap();
    assert!(read(&path).ends_with("\na\nb\n"));
}

#[test]
fn a_folder_that_vanishes_is_an_error_until_it_is_back() {
    let (folder, path) = file("logs/d.jsonl");
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let log = Log::open(&settings(&path)).unwrap();
    run(async {
        let handle = log.handle();
        handle.write_before_answer(b"a\n").await.unwrap();
        fs::remove_dir_all(&logs).unwrap();
        log.reopen();
        assert!(handle.ready());
        let before = Instant::now();
        assert_eq!(handle.write_before_answer(b"b\n").await, Err(LogUnavailable));
        assert!(before.elapsed() < Duration::from_millis(1100));
        assert!(!handle.ready());
        // Now that it is known, nobody waits.
        let before = Instant::now();
        assert_eq!(handle.write_before_answer(b"c\n").await, Err(LogUnavailable));
        assert_eq!(handle.until_ready().await, Err(LogUnavailable));
        assert_eq!(before.elapsed(), Duration::ZERO);

        fs::create_dir(&logs).unwrap();
        while !handle.ready() {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(handle.write_before_answer(b"d\n").await, Ok(()));
        assert_eq!(read(&path), "b\nc\nd\n");
    });
    // The two that came too late for their answers.
    assert_eq!(log.lost(), 2);
}

#[test]
fn a_folder_is_no_sink_and_neither_is_a_file_in_none() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Log::open(&settings(folder.path())).is_err());
    assert!(Log::open(&settings(&folder.path().join("none/d.jsonl"))).is_err());
}

// === devices and pipes ===

#[test]
fn a_full_device_is_an_error_within_a_second_and_what_is_given_up_is_counted() {
    let log = Log::open(&settings(Path::new("/dev/full"))).unwrap();
    run(async {
        let handle = log.handle();
        let before = Instant::now();
        assert_eq!(handle.write_before_answer(b"a\n").await, Err(LogUnavailable));
        assert!((900..1200).contains(&before.elapsed().as_millis()), "{:?}", before.elapsed());
        assert!(!handle.ready());
        assert_eq!(handle.write_before_answer(b"b\n").await, Err(LogUnavailable));
        assert_eq!(log.lost(), 2);
        // What came too late is not counted again when it is given up.
        handle.push(b"c\n");
        assert_eq!(handle.close().await, Err(LogUnavailable));
    });
    assert_eq!(log.lost(), 3);
}

#[test]
fn an_answer_waits_no_longer_than_a_second_for_its_record_and_its_loss_is_counted() {
    let log = Log::open(&settings(Path::new("/dev/full"))).unwrap();
    run(async {
        let handle = log.handle();
        let before = Instant::now();
        let number = handle.push_before_answer(b"a\n").unwrap();
        handle.arrived(number).await;
        assert!((900..1200).contains(&before.elapsed().as_millis()), "{:?}", before.elapsed());
        assert_eq!(log.lost(), 1);
        assert_eq!(handle.close().await, Err(LogUnavailable));
    });
    assert_eq!(log.lost(), 1);
}

#[test]
fn what_one_thread_learns_of_the_sink_all_act_upon() {
    let log = Log::open(&settings(Path::new("/dev/full"))).unwrap();
    run(async {
        let (one, other) = (log.handle(), log.handle());
        assert_eq!(one.write_before_answer(b"a\n").await, Err(LogUnavailable));
        assert!(!other.ready());
        let before = Instant::now();
        assert_eq!(other.until_ready().await, Err(LogUnavailable));
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert_eq!(one.close().await, Err(LogUnavailable));
        assert!(other.ready());
    });
}

#[test]
fn batches_learn_of_a_full_device_as_soon() {
    let flush = Flush::After(Duration::from_secs(10));
    let log = Log::open(&Settings { flush, ..settings(Path::new("/dev/full")) }).unwrap();
    run(async {
        let handle = log.handle();
        assert_eq!(handle.write_before_answer(b"a\n").await, Ok(()));
        let before = Instant::now();
        assert_eq!(handle.flush().await, Err(LogUnavailable));
        assert!(before.elapsed() < Duration::from_millis(1100), "{:?}", before.elapsed());
        assert_eq!(handle.write_before_answer(b"b\n").await, Err(LogUnavailable));
        assert_eq!(handle.until_ready().await, Err(LogUnavailable));
    });
}

#[test]
fn where_records_may_be_lost_requests_go_on() {
    let settings = Settings { on_error: OnErrorWord::Drop, ..settings(Path::new("/dev/full")) };
    let log = Log::open(&settings).unwrap();
    run(async {
        let handle = log.handle();
        assert_eq!(handle.write_before_answer(b"a\n").await, Ok(()));
        assert!(handle.ready());
        assert_eq!(handle.until_ready().await, Ok(()));
        let line = [&[b'x'; 99_999][..], b"\n"].concat();
        for _ in 0..30 {
            assert_eq!(handle.write_before_answer(&line).await, Ok(()));
        }
        // More than can wait.
        assert!(log.lost() > 0);
        let _ = handle.close().await;
    });
    assert_eq!(log.lost(), 31);
}

#[test]
fn a_pipe_that_nobody_reads_blocks_nobody_and_recovers() {
    let (_folder, path) = pipe("d.pipe");
    let log = Log::open(&settings(&path)).unwrap();
    run(async {
        let handle = Rc::new(log.handle());
        let ticks = spawn_local(async {
            let mut ticks = 0;
            while ticks < 50 {
                sleep(Duration::from_millis(10)).await;
                ticks += 1;
            }
            ticks
        });
        let before = Instant::now();
        assert_eq!(handle.write_before_answer(b"a\n").await, Err(LogUnavailable));
        assert!((900..1200).contains(&before.elapsed().as_millis()), "{:?}", before.elapsed());
        assert!(ticks.is_finished(), "others went on meanwhile");
        assert!(!handle.ready());

        let reader = {
            let path = path.clone();
            thread::spawn(move || {
                let pipe = BufReader::new(fs::File::open(path).unwrap());
                pipe.lines().take(2).map(Result::unwrap).collect::<Vec<_>>()
            })
        };
        arrived(&handle).await;
        assert!(handle.ready());
        handle.push(b"b\n");
        arrived(&handle).await;
        assert_eq!(reader.join().unwrap(), ["a", "b"]);
    });
    // The one that came too late for its answer.
    assert_eq!(log.lost(), 1);
}

#[test]
fn a_reader_that_leaves_gives_way_to_the_next() {
    let (_folder, path) = pipe("d.pipe");
    let log = Log::open(&settings(&path)).unwrap();
    let read_one = |path: PathBuf| {
        thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(fs::File::open(path).unwrap()).read_line(&mut line).unwrap();
            line
        })
    };
    run(async {
        let handle = log.handle();
        let reader = read_one(path.clone());
        handle.push(b"a\n");
        arrived(&handle).await;
        assert_eq!(reader.join().unwrap(), "a\n");
        // The reader has left: the pipe is broken until the next one opens it.
        let reader = read_one(path.clone());
        handle.push(b"b\n");
        arrived(&handle).await;
        assert_eq!(reader.join().unwrap(), "b\n");
    });
}

#[test]
fn a_pipe_that_nobody_reads_does_not_keep_the_process() {
    let (_folder, path) = pipe("d.pipe");
    let log = Log::open(&settings(&path)).unwrap();
    run(async {
        let handle = log.handle();
        handle.push(b"a\n");
        handle.push(b"b\n");
        assert_eq!(handle.close().await, Err(LogUnavailable));
    });
    assert_eq!(log.lost(), 2);
}

#[test]
fn too_much_that_waits_stops_requests_until_it_is_written() {
    let (_folder, path) = pipe("d.pipe");
    let log = Log::open(&settings(&path)).unwrap();
    run(async {
        let handle = log.handle();
        handle.push(b"first\n");
        yield_now().await;
        yield_now().await;
        // The first batch is with the thread; these wait behind it.
        let line = [&[b'x'; 99_999][..], b"\n"].concat();
        for _ in 0..11 {
            assert!(handle.ready());
            handle.push(&line);
        }
        assert!(!handle.ready());
        assert_eq!(handle.until_ready().await, Err(LogUnavailable));
    });
}
