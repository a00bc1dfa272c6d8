//! stand-in
use std::sync::Arc;
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub sink: String,
}
#[derive(Debug)]
pub struct Log {}
#[derive(Debug)]
pub struct LogHandle {}
impl Log {
    pub fn open(_: &Settings, _: prometheus_client::metrics::counter::Counter) -> std::io::Result<Arc<Log>> {
        Ok(Arc::new(Log {}))
    }
    pub fn handle(self: &Arc<Self>) -> LogHandle {
        LogHandle {}
    }
    pub fn reopen(&self) {}
}
impl LogHandle {
    pub async fn write_before_answer(&self, _line: &[u8]) -> Result<(), ()> {
        Ok(())
    }
    pub fn push(&self, _line: &[u8]) {}
    pub async fn close(&self) {}
    pub async fn ready(&self) -> bool {
        true
    }
}
