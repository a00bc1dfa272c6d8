//! Ending connections: first asked to finish, then cut.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};

use tokio::sync::Notify;

/// What a connection is asked to do. Once asked, no longer asked for less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    /// Go on.
    Nothing,
    /// Tell the client to go elsewhere, and serve what it still asks.
    Leave,
    /// Take no request that has not begun.
    Finish,
    /// End now.
    Cut,
}

/// How one connection's task is told.
#[derive(Debug)]
pub(super) struct Control {
    ask: Cell<Ask>,
    waker: RefCell<Option<Waker>>,
    connections: Weak<Connections>,
    key: usize,
}

/// The open connections of one thread.
#[derive(Debug, Default)]
pub(super) struct Connections {
    slots: RefCell<Vec<Option<Weak<Control>>>>,
    free: RefCell<Vec<usize>>,
    open: Cell<usize>,
    ask: Cell<Option<Ask>>,
    changed: Notify,
}

impl Connections {
    /// Adds a connection; it is gone again when the control is dropped.
    pub(super) fn add(self: &Rc<Self>) -> Rc<Control> {
        let mut slots = self.slots.borrow_mut();
        let key = self.free.borrow_mut().pop().unwrap_or_else(|| {
            slots.push(None);
            slots.len() - 1
        });
        let control = Rc::new(Control {
            ask: Cell::new(self.ask.get().unwrap_or(Ask::Nothing)),
            waker: RefCell::default(),
            connections: Rc::downgrade(self),
            key,
        });
        slots[key] = Some(Rc::downgrade(&control));
        self.open.set(self.open.get() + 1);
        control
    }

    /// Asks all connections for the same.
    pub(super) fn ask(&self, ask: Ask) {
        self.ask.set(Some(ask));
        let controls: Vec<Rc<Control>> =
            self.slots.borrow().iter().flatten().filter_map(Weak::upgrade).collect();
        for control in controls {
            control.ask.set(ask);
            if let Some(waker) = control.waker.take() {
                waker.wake();
            }
        }
    }

    /// Waits until none is open.
    pub(super) async fn all_closed(&self) {
        while self.open.get() > 0 {
            self.changed.notified().await;
        }
    }
}

impl Control {
    /// What is asked; the task is woken when that changes.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Ask {
        let mut waker = self.waker.borrow_mut();
        if waker.is_none() {
            *waker = Some(cx.waker().clone());
        }
        self.ask.get()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let Some(connections) = self.connections.upgrade() else { return };
        connections.slots.borrow_mut()[self.key] = None;
        connections.free.borrow_mut().push(self.key);
        connections.open.set(connections.open.get() - 1);
        connections.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn every_connection_is_asked_also_one_that_comes_later() {
        let connections = Rc::new(Connections::default());
        let (a, b) = (connections.add(), connections.add());
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(a.poll(&mut cx), Ask::Nothing);
        connections.ask(Ask::Finish);
        assert_eq!((a.poll(&mut cx), b.poll(&mut cx)), (Ask::Finish, Ask::Finish));
        connections.ask(Ask::Cut);
        assert_eq!((a.poll(&mut cx), b.poll(&mut cx)), (Ask::Cut, Ask::Cut));
        drop((a, b));
        connections.all_closed().await;
        assert_eq!(connections.add().poll(&mut cx), Ask::Cut);
    }
}
