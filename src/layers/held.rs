//! The duty to record each request once, however it ends.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use http::HeaderMap;

use super::context::Context;
use super::judged::Judged;
use super::record::{CLIENT_GONE, End, Ending};
use crate::decision::{Builtin, Denial, Stage};
use crate::policy::rbac::Nearest;

/// What is known of a request, and the duty to record it once.
#[derive(Debug)]
pub(crate) struct Held {
    judged: Box<Judged>,
    context: Rc<Context>,
    /// Whether the record is still to be written.
    due: bool,
}

impl Held {
    /// Begins to hold.
    pub(crate) fn new(context: &Rc<Context>, judged: Judged) -> Held {
        Held { judged: Box::new(judged), context: Rc::clone(context), due: true }
    }

    /// The worker that has the request.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// Counts the request and makes its record, for the log to take.
    pub(super) fn end(&mut self, end: &End, headers: Option<&HeaderMap>, nearest: &[Nearest]) -> Vec<u8> {
        self.due = false;
        self.judged.count(&self.context, end);
        if let Some(trace) = self.judged.trace.take()
            && let Some(verbose) = &self.judged.installed.snapshot.verbose
        {
            verbose.keep(&self.judged, &trace);
        }
        self.judged.line(&self.context, end, headers, nearest)
    }

    /// The same, for what outlives this.
    pub(super) fn shared_context(&self) -> Rc<Context> {
        Rc::clone(&self.context)
    }

    /// Counts and records a request whose answer ends now, has gone or never comes; the number of its
    /// record if that comes before the end of the answer.
    pub(super) fn record(&mut self, end: &End) -> Option<u64> {
        let line = self.end(end, None, &[]);
        self.context.log.push_before_answer(&line)
    }

    /// An upgraded connection has closed; its change of protocol was recorded before.
    pub(crate) fn closed(mut self, received: u64, sent: u64) {
        self.judged.fate.get_or_insert_default().add(received);
        let end = End::new(101, sent, Ending::TunnelClosed);
        self.context.log.push(&self.judged.line(&self.context, &end, None, &[]));
    }
}

impl Deref for Held {
    type Target = Judged;

    fn deref(&self) -> &Judged {
        &self.judged
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Judged {
        &mut self.judged
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.due {
            return;
        }
        let end = if std::thread::panicking() || self.context.panicked.get() {
            let denial = Denial::builtin(Stage::Fault, Builtin::FaultInternal);
            End::new(denial.status(), 0, Ending::Denied(denial))
        } else {
            End::new(CLIENT_GONE, 0, Ending::ClientGone)
        };
        self.record(&end);
    }
}
