//! The log as one runtime thread sees it: a buffer of lines, and a task that hands them over.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::lines::Written;
use super::recent::Ring;
use super::{Log, LogUnavailable, Sink};
use crate::audit::raw::OnErrorWord;
use crate::audit::settings::Flush;

/// The decision log, for the requests of one runtime thread.
#[derive(Debug)]
pub struct LogHandle {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    log: Arc<Log>,
    /// Where operators find the last lines; none if nobody is to look.
    ring: Option<Arc<Ring>>,
    state: RefCell<State>,
}

/// INVARIANT: `done <= pushed`, and `pending` holds the lines between them that are not being
/// written; none is in both.
#[derive(Debug, Default)]
struct State {
    /// Lines that wait to be handed over.
    pending: Vec<u8>,
    /// A buffer that was handed over and came back empty.
    spare: Vec<u8>,
    /// Lines that were ever taken.
    pushed: u64,
    /// The first of them that arrived.
    done: u64,
    /// How many of the others were counted as lost, because nobody could wait for them any longer.
    missed: u64,
    health: Health,
    /// Somebody wants everything handed over now.
    hurry: bool,
    closing: bool,
    finished: bool,
    /// The task that hands over, when it has nothing to do.
    writer: Option<Waker>,
    /// Requests that wait for a line to arrive or the sink to work.
    waiting: Vec<Waker>,
}

/// What is known of the sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Health {
    /// It took what it was last given.
    #[default]
    Well,
    /// It has taken nothing since then.
    Troubled(Instant),
    /// Nor for longer than anybody waits.
    Failing,
}

impl Log {
    /// A handle for this thread. Must be called on a `LocalSet` or `LocalRuntime`, where the task
    /// that hands lines over will run.
    pub fn handle(self: &Arc<Log>) -> LogHandle {
        let shared =
            Rc::new(Shared { log: Arc::clone(self), ring: self.recent.ring(), state: RefCell::default() });
        tokio::task::spawn_local(Rc::clone(&shared).run());
        LogHandle { shared }
    }
}

// === impl LogHandle ===

impl LogHandle {
    /// Whether records go anywhere.
    pub fn is_on(&self) -> bool {
        self.shared.log.is_on()
    }

    /// Whether a request may be passed on: its record can be expected to be taken. Always, where
    /// records may be lost.
    pub fn ready(&self) -> bool {
        self.shared.log.on_error == OnErrorWord::Drop || self.shared.is_ready()
    }

    /// Waits until a request may be passed on, for as long as there is hope.
    pub async fn until_ready(&self) -> Result<(), LogUnavailable> {
        let ready = |state: &State| {
            (state.health == Health::Well && state.pending.len() < MOST_PENDING).then_some(())
        };
        match self.ready() {
            true => Ok(()),
            // Another thread has waited long enough, and only that one learns when it is over.
            false if self.shared.log.is_failing() => Err(LogUnavailable),
            false => self.shared.wait(ready).await,
        }
    }

    /// Takes a line, which ends in a line break, and returns when its answer may be sent: with
    /// `flush = "group"` when the kernel has the line. An error says that this did not come to
    /// pass in time; the line is kept and tried again as long as there is room.
    pub async fn write_before_answer(&self, line: &[u8]) -> Result<(), LogUnavailable> {
        let arrived = match (self.shared.push(line), self.shared.log.flush) {
            (None, _) => Err(LogUnavailable),
            (Some(_), Flush::After(_)) if self.shared.is_failing() => self.shared.miss(),
            (Some(_), Flush::After(_)) => Ok(()),
            (Some(number), Flush::Group) => {
                let arrived = self.shared.wait(|state| (state.done >= number).then_some(())).await;
                arrived.or_else(|LogUnavailable| self.shared.miss())
            }
        };
        match self.shared.log.on_error {
            OnErrorWord::Block => arrived,
            OnErrorWord::Drop => Ok(()),
        }
    }

    /// Whether answers wait until the kernel has their records.
    pub fn precedes_answers(&self) -> bool {
        self.is_on() && self.shared.log.flush == Flush::Group
    }

    /// Takes a line whose answer is about to end; its number, if the end is to wait until it has
    /// [`arrived`](LogHandle::arrived).
    pub fn push_before_answer(&self, line: &[u8]) -> Option<u64> {
        let number = self.shared.push(line)?;
        (self.precedes_answers() && !line.is_empty()).then_some(number)
    }

    /// Waits until a line has arrived, or until it comes too late for its answer, which is counted.
    pub async fn arrived(&self, number: u64) {
        poll_fn(|context| self.poll_arrived(number, context)).await;
    }

    /// The same.
    pub fn poll_arrived(&self, number: u64, context: &mut Context<'_>) -> Poll<()> {
        let polled = self.shared.poll(context, |state| match state.done >= number {
            true => Some(true),
            false => (state.health == Health::Failing || state.finished).then_some(false),
        });
        polled.map(|arrived| {
            if !arrived {
                let _ = self.shared.miss();
            }
        })
    }

    /// Takes a line whose answer has been sent, and hands it over with the next ones.
    pub fn push(&self, line: &[u8]) {
        self.shared.push(line);
    }

    /// Hands everything over and waits until it has arrived.
    pub async fn flush(&self) -> Result<(), LogUnavailable> {
        let target = {
            let mut state = self.shared.state.borrow_mut();
            state.hurry = state.done < state.pushed;
            state.wake_writer();
            state.pushed
        };
        self.shared.wait(|state| (state.done >= target).then_some(())).await
    }

    /// Hands everything over and ends. What the sink does not take within the second that anybody
    /// waits is counted as lost, and the error says so.
    pub async fn close(&self) -> Result<(), LogUnavailable> {
        let before = {
            let mut state = self.shared.state.borrow_mut();
            state.closing = true;
            state.wake_writer();
            state.pushed
        };
        poll_fn(|context| self.shared.poll(context, |state| state.finished.then_some(()))).await;
        let done = self.shared.state.borrow().done;
        if done >= before { Ok(()) } else { Err(LogUnavailable) }
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        let mut state = self.shared.state.borrow_mut();
        state.closing = true;
        state.wake_writer();
    }
}

// === impl Shared: for requests ===

impl Shared {
    /// Takes a line; its number, or none if it was given up.
    fn push(&self, line: &[u8]) -> Option<u64> {
        debug_assert!(line.is_empty() || line.ends_with(b"\n"));
        let mut state = self.state.borrow_mut();
        // Of what is not recorded there is no line, and nothing to wait for.
        if line.is_empty() {
            return Some(state.done);
        }
        if state.closing || state.pending.len() + line.len() > MOST_PENDING + ROOM_BEYOND {
            self.log.lose(1);
            return None;
        }
        state.pushed += 1;
        if matches!(self.log.sink, Sink::None) {
            state.done = state.pushed;
            return Some(state.pushed);
        }
        state.pending.extend_from_slice(line);
        state.wake_writer();
        Some(state.pushed)
    }

    fn is_ready(&self) -> bool {
        let state = self.state.borrow();
        state.health == Health::Well && state.pending.len() < MOST_PENDING && !self.log.is_failing()
    }

    /// Counts a line that is kept, but came too late for its answer.
    fn miss(&self) -> Result<(), LogUnavailable> {
        let mut state = self.state.borrow_mut();
        let counted = state.finished || self.log.on_error == OnErrorWord::Drop;
        if !counted && state.missed < state.pushed - state.done {
            state.missed += 1;
            self.log.lose(1);
        }
        Err(LogUnavailable)
    }

    fn is_failing(&self) -> bool {
        self.state.borrow().health == Health::Failing
    }

    /// Waits for something, or for the sink to fail.
    async fn wait(&self, found: impl Fn(&State) -> Option<()>) -> Result<(), LogUnavailable> {
        poll_fn(|context| {
            self.poll(context, |state| match found(state) {
                Some(()) => Some(Ok(())),
                None if state.health == Health::Failing || state.finished => Some(Err(LogUnavailable)),
                None => None,
            })
        })
        .await
    }

    fn poll<T>(&self, context: &Context<'_>, found: impl FnOnce(&State) -> Option<T>) -> Poll<T> {
        let mut state = self.state.borrow_mut();
        match found(&state) {
            Some(value) => Poll::Ready(value),
            None => {
                state.waiting.push(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl State {
    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn wake_waiting(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

// === impl Shared: for the task that hands over ===

impl Shared {
    /// Hands lines over until the handle is gone and nothing is left.
    ///
    /// The task is woken by the first line of a turn and runs behind all that were ready before it,
    /// since the runtime's queue is first in, first out: so it finds the lines of all of them.
    async fn run(self: Rc<Shared>) {
        while self.work().await {
            if let Flush::After(longest) = self.log.flush {
                let enough = |state: &State| {
                    let urgent = state.hurry || state.closing || state.health != Health::Well;
                    urgent || state.pending.len() >= FULL_BATCH
                };
                // Waits for more lines, or for that time; either way they are handed over then.
                let _ = timeout(longest, self.until(enough)).await;
            }
            if !self.hand_over().await && !self.retry().await {
                break;
            }
        }
        let mut state = self.state.borrow_mut();
        self.log.lose((state.pushed - state.done).saturating_sub(state.missed));
        self.set_health(&mut state, Health::Well);
        state.finished = true;
        state.wake_waiting();
    }

    /// Waits for something to do; false when there never will be.
    async fn work(&self) -> bool {
        self.until(|state| state.done < state.pushed || state.closing).await;
        let state = self.state.borrow();
        state.done < state.pushed
    }

    /// Hands over what is pending. Whether the sink is well.
    async fn hand_over(&self) -> bool {
        let (batch, upto) = {
            let mut state = self.state.borrow_mut();
            state.hurry = false;
            let spare = std::mem::take(&mut state.spare);
            (std::mem::replace(&mut state.pending, spare), state.pushed)
        };
        let (batch, written) = match &self.log.sink {
            Sink::None => return true,
            Sink::File(file) => {
                let written = file.write(&batch);
                (batch, written)
            }
            Sink::Pipe(pipe) => {
                let mut answer = pipe.submit(batch);
                let begin = match self.state.borrow().health {
                    Health::Troubled(since) => since,
                    Health::Well | Health::Failing => Instant::now(),
                };
                let received = match timeout_at(begin + PATIENCE, &mut answer).await {
                    Ok(received) => received,
                    Err(_) => {
                        self.fail();
                        tokio::select! {
                            received = answer => received,
                            // The lines are with the thread, which may still write them; nobody waits for it.
                            () = self.until(|state| state.closing) => return false,
                        }
                    }
                };
                match received {
                    Ok(received) => received,
                    // The thread is gone, and the lines with it.
                    Err(_) => {
                        self.fail();
                        return false;
                    }
                }
            }
        };
        self.settle(batch, upto, &written)
    }

    /// Notes what became of a batch. Whether all of it arrived.
    fn settle(&self, mut batch: Vec<u8>, upto: u64, written: &Written) -> bool {
        let mut state = self.state.borrow_mut();
        match &written.result {
            Ok(()) => {
                // Also a line that was begun earlier and has been finished now.
                state.done = upto;
                state.missed = 0;
                if state.health != Health::Well {
                    tracing::info!("the decision log takes records again");
                }
                self.set_health(&mut state, Health::Well);
                self.show(&batch);
                batch.clear();
                state.spare = batch;
            }
            Err(error) => {
                state.done += written.lines;
                self.show(batch.get(..written.taken).unwrap_or_default());
                batch.drain(..written.taken);
                batch.append(&mut state.pending);
                state.pending = batch;
                let now = Instant::now();
                match state.health {
                    Health::Well => {
                        tracing::warn!(%error, "the decision log refused records; trying again");
                        state.health = Health::Troubled(now);
                    }
                    Health::Troubled(since) if now >= since + PATIENCE => {
                        tracing::error!(%error, "the decision log takes no records");
                        self.set_health(&mut state, Health::Failing);
                    }
                    Health::Troubled(_) | Health::Failing => {}
                }
            }
        }
        state.wake_waiting();
        written.result.is_ok()
    }

    /// Lets operators see lines that have arrived.
    fn show(&self, lines: &[u8]) {
        if let Some(ring) = &self.ring {
            self.log.recent.take(ring, lines);
        }
    }

    fn fail(&self) {
        let mut state = self.state.borrow_mut();
        if state.health != Health::Failing {
            tracing::error!("the decision log takes no records");
        }
        self.set_health(&mut state, Health::Failing);
        state.wake_waiting();
    }

    fn set_health(&self, state: &mut State, health: Health) {
        let (before, after) = (state.health == Health::Failing, health == Health::Failing);
        state.health = health;
        if after && !before {
            self.log.failing.fetch_add(1, Ordering::Relaxed);
        } else if before && !after {
            self.log.failing.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits before the next attempt. False when the log is closed and there is no more hope.
    async fn retry(&self) -> bool {
        {
            let state = self.state.borrow();
            if state.closing && state.health == Health::Failing {
                return false;
            }
        }
        sleep(RETRY).await;
        true
    }

    /// Waits until the state is so. Only for the task that hands over.
    async fn until(&self, so: impl Fn(&State) -> bool) {
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            if so(&state) {
                return Poll::Ready(());
            }
            state.writer = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// How long a sink may take nothing before it is called failing.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait between attempts at a sink that refuses.
const RETRY: Duration = Duration::from_millis(50);

/// A batch that is handed over without waiting for more.
const FULL_BATCH: usize = 64 * 1024;

/// Lines that wait while the sink takes nothing. Beyond this no request is passed on.
const MOST_PENDING: usize = 1024 * 1024;

/// Room for refusals, and for the requests that were passed on before that.
const ROOM_BEYOND: usize = 1024 * 1024;
