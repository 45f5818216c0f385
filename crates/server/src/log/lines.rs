//! The bounded buffer of lines, and the thread that writes it out.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// What may wait to be written: some ten thousand lines.
const MOST_BUFFERED: usize = 4 << 20;

/// How long the end of the process waits for a reader that does not read.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// How long lines gather before they are written: waking the thread for each would cost a
/// request more than its line does.
const GATHER: Duration = Duration::from_millis(5);
/// … unless there are as many as this, bytes.
const ENOUGH: usize = 64 << 10;

/// How long an error waits until it is written. It may be the last word of a process that aborts.
const LAST_WORD: Duration = Duration::from_millis(100);

/// Takes whole lines from any thread. Only an error waits for its writing, and not for long.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    wanted: Condvar,
    /// Wakes who waits for the thread.
    written: Condvar,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    /// Bytes that were added, and that were written, since the start.
    added_bytes: u64,
    written_bytes: u64,
    /// Dropped lines that the log does not tell of yet.
    untold: u64,
    dropped: u64,
    /// The thread waits for a first line.
    is_asleep: bool,
    /// Somebody has waited in vain; nobody else does until something is written.
    is_stuck: bool,
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

    /// Adds one line, which ends in a newline, or counts it as dropped. Never blocks.
    pub fn push(&self, line: &[u8]) {
        drop(self.add(line));
    }

    /// The same, then waits a moment until it is written.
    fn push_and_wait(&self, line: &[u8]) {
        let mut state = self.add(line);
        if state.is_closed || state.is_stuck {
            return;
        }
        // The thread must not gather now.
        self.0.wanted.notify_all();
        let end = state.added_bytes;
        let is_unwritten = |state: &mut State| state.written_bytes < end;
        let waited = self.0.written.wait_timeout_while(state, LAST_WORD, is_unwritten);
        let (guard, result) = waited.unwrap_or_else(PoisonError::into_inner);
        state = guard;
        state.is_stuck |= result.timed_out();
    }

    fn add(&self, line: &[u8]) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if state.buffer.len() + line.len() > MOST_BUFFERED || state.is_closed {
            state.untold += 1;
            state.dropped += 1;
            return state;
        }
        state.buffer.extend_from_slice(line);
        state.added_bytes += u64::try_from(line.len()).unwrap_or(0);
        let before = state.buffer.len() - line.len();
        let is_enough = before < ENOUGH && state.buffer.len() >= ENOUGH;
        if std::mem::take(&mut state.is_asleep) || is_enough {
            self.0.wanted.notify_all();
        }
        state
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
        while let Some(dropped) = self.take(&mut taken) {
            // There is nowhere to tell that the log itself cannot be written.
            let _ = out.write_all(&taken).and_then(|()| out.flush());
            let mut state = self.lock();
            state.written_bytes += u64::try_from(taken.len()).unwrap_or(0);
            state.is_stuck = false;
            drop(state);
            self.0.written.notify_all();
            taken.clear();
            if dropped > 0 {
                tracing::warn!(dropped, "log lines were dropped, because nobody read them in time");
            }
        }
        self.lock().has_ended = true;
        self.0.written.notify_all();
    }

    /// Waits for lines and takes them, with the number of those that were dropped; `None` at the
    /// end.
    fn take(&self, taken: &mut Vec<u8>) -> Option<u64> {
        let mut state = self.lock();
        while state.buffer.is_empty() && !state.is_closed {
            state.is_asleep = true;
            state = self.0.wanted.wait(state).unwrap_or_else(PoisonError::into_inner);
            if state.buffer.len() < ENOUGH && !state.is_closed {
                let gathered = self.0.wanted.wait_timeout(state, GATHER);
                (state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            }
        }
        state.is_asleep = false;
        if state.buffer.is_empty() {
            return None;
        }
        std::mem::swap(&mut state.buffer, taken);
        Some(std::mem::take(&mut state.untold))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let lines = &self.0.0;
        self.0.lock().is_closed = true;
        lines.wanted.notify_all();
        let goes_on = |state: &mut State| !state.has_ended;
        drop(lines.written.wait_timeout_while(self.0.lock(), LAST_WRITE, goes_on));
    }
}

/// One event of `tracing`: the formatter hands over whole lines.
impl<'a> MakeWriter<'a> for Lines {
    type Writer = OneLine<'a>;

    fn make_writer(&'a self) -> OneLine<'a> {
        OneLine { lines: self, is_error: false }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> OneLine<'a> {
        OneLine { lines: self, is_error: *event.level() == Level::ERROR }
    }
}

/// Writes what it is given as one line.
pub struct OneLine<'a> {
    lines: &'a Lines,
    is_error: bool,
}

impl Write for OneLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.is_error {
            true => self.lines.push_and_wait(line),
            false => self.lines.push(line),
        }
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

    #[test]
    fn an_error_is_written_when_it_has_been_said() {
        let (sender, receiver) = mpsc::sync_channel(1_000);
        let (lines, _writer) = Lines::to(Box::new(Out(sender))).unwrap();
        for number in 0..20 {
            lines.push(b"before ");
            lines.push_and_wait(format!("error {number}\n").as_bytes());
            let written: Vec<u8> = receiver.try_iter().flatten().collect();
            assert_eq!(String::from_utf8(written).unwrap(), format!("before error {number}\n"));
        }
    }

    #[test]
    fn errors_do_not_wait_for_ever() {
        let (sender, receiver) = mpsc::sync_channel(0);
        let (lines, writer) = Lines::to(Box::new(Out(sender))).unwrap();
        // Nobody reads: the first waits its time, the others do not even that.
        for _ in 0..1_000 {
            lines.push_and_wait(b"error\n");
        }
        assert!(lines.lock().is_stuck);
        let reader = std::thread::spawn(move || receiver.iter().flatten().count());
        drop(writer);
        drop(lines);
        assert_eq!(reader.join().unwrap(), 6_000);
    }
}
