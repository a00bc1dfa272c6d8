//! The stream to an upstream, over whatever it runs; small pieces leave in one write.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::flatten::write_flattened;

/// A connected stream.
#[derive(Debug)]
pub(super) enum UpstreamIo {
    /// Clear text.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
    /// TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Does the same with whatever stream it is.
macro_rules! with_stream {
    ($io:expr, $stream:ident => $what:expr) => {
        match &mut *$io {
            UpstreamIo::Tcp($stream) => $what,
            UpstreamIo::Unix($stream) => $what,
            UpstreamIo::Tls(tls) => {
                let $stream = &mut **tls;
                $what
            }
        }
    };
}

impl AsyncRead for UpstreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        with_stream!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        with_stream!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with_stream!(self, stream => write_flattened(Pin::new(stream), cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_stream!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_stream!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
