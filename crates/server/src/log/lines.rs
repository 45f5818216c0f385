//! The bounded buffer of lines, and the thread that writes it out.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// What may wait to be written: some ten thousand lines.
const MOST_BUFFERED: usize = 4 << 20;

/// How long the end of the process waits for a reader that does not read.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Takes whole lines from any thread and never blocks.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    /// Dropped lines that the log does not tell of yet.
    untold: u64,
    dropped: u64,
    is_writing: bool,
    is_closed: bool,
    has_ended: bool,
}

/// The writing thread. Dropping it writes what is buffered and ends the thread.
pub struct Writer(Lines);

impl Lines {
    /// Starts a thread that writes lines to `out`.
    pub fn to(out: Box<dyn Write + Send>) -> io::Result<(Lines, Writer)> {
        let lines = Lines(Arc::default());
        let of_thread = lines.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || of_thread.write_all(out))?;
        Ok((lines.clone(), Writer(lines)))
    }

    /// Adds one line, which ends in a newline, or counts it as dropped.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.buffer.len() + line.len() > MOST_BUFFERED || state.is_closed {
            state.untold += 1;
            state.dropped += 1;
            return;
        }
        let was_empty = state.buffer.is_empty();
        state.buffer.extend_from_slice(line);
        let is_asleep = was_empty && !state.is_writing;
        drop(state);
        if is_asleep {
            self.0.changed.notify_all();
        }
    }

    /// Lines that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: takes the buffer as a whole, so that many lines are one write.
    fn write_all(&self, mut out: Box<dyn Write + Send>) {
        let mut taken = Vec::new();
        loop {
            let mut state = self.lock();
            state.is_writing = false;
            while state.buffer.is_empty() && !state.is_closed {
                state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.buffer.is_empty() {
                state.has_ended = true;
                drop(state);
                self.0.changed.notify_all();
                return;
            }
            std::mem::swap(&mut state.buffer, &mut taken);
            state.is_writing = true;
            let dropped = std::mem::take(&mut state.untold);
            drop(state);
            // There is nowhere to tell that the log itself cannot be written.
            let _ = out.write_all(&taken).and_then(|()| out.flush());
            taken.clear();
            if dropped > 0 {
                tracing::warn!(dropped, "log lines were dropped, because nobody read them in time");
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.0.changed.notify_all();
        let state = self.0.lock();
        let wait = |state: &mut State| !state.has_ended;
        drop(self.0.0.changed.wait_timeout_while(state, LAST_WRITE, wait));
    }
}

/// One event of `tracing`: the formatter hands over whole lines.
impl<'a> MakeWriter<'a> for Lines {
    type Writer = OneLine<'a>;

    fn make_writer(&'a self) -> OneLine<'a> {
        OneLine(self)
    }
}

/// Writes what it is given as one line.
pub struct OneLine<'a>(&'a Lines);

impl Write for OneLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Hands over what is written, and takes more only when the test has received it.
    struct Out(mpsc::SyncSender<Vec<u8>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_end_writes_what_is_buffered() {
        let (sender, receiver) = mpsc::sync_channel(1_000);
        let (lines, writer) = Lines::to(Box::new(Out(sender))).unwrap();
        for number in 0..100 {
            lines.push(format!("line {number}\n").as_bytes());
        }
        drop(writer);
        let written: Vec<u8> = receiver.try_iter().flatten().collect();
        let expected: String = (0..100).map(|number| format!("line {number}\n")).collect();
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up() {
        let (sender, receiver) = mpsc::sync_channel(0);
        let (lines, writer) = Lines::to(Box::new(Out(sender))).unwrap();
        let line = vec![b'x'; 1 << 16];
        // The thread may hold one buffer, the other fills; what is beyond both is dropped.
        for _ in 0..200 {
            lines.push(&line);
        }
        assert!(lines.dropped() > 0);
        let dropped = usize::try_from(lines.dropped()).unwrap();
        let reader = std::thread::spawn(move || receiver.iter().map(|it| it.len()).sum::<usize>());
        drop(writer);
        drop(lines);
        assert_eq!(reader.join().unwrap(), (200 - dropped) * line.len());
    }
}
