//! A progress bar on a terminal's stderr, for work that turns out to take long.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Before it has taken so long, work shows nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// Between two looks at how far the work is.
const INTERVAL: Duration = Duration::from_millis(100);

/// Fewer entries, or bytes, are done before a bar could be seen: no thread is started for them.
pub const MANY: u64 = 50_000;

/// Does `work` on `total` entries, and meanwhile shows `done()` of them. `quiet` shows nothing,
/// for when the output is on the same terminal.
pub fn during<R>(
    doing: &'static str,
    total: u64,
    quiet: bool,
    done: impl Fn() -> u64 + Sync,
    work: impl FnOnce() -> R,
) -> R {
    let style = "{msg} {wide_bar} {human_pos}/{human_len}, {eta} left";
    watch(doing, style, total, quiet, done, work)
}

/// The same on a file of `total` bytes.
pub fn during_bytes<R>(
    doing: &'static str,
    total: u64,
    quiet: bool,
    done: impl Fn() -> u64 + Sync,
    work: impl FnOnce() -> R,
) -> R {
    let style = "{msg} {wide_bar} {bytes}/{total_bytes}, {eta} left";
    watch(doing, style, total, quiet, done, work)
}

fn watch<R>(
    doing: &'static str,
    style: &'static str,
    total: u64,
    quiet: bool,
    done: impl Fn() -> u64 + Sync,
    work: impl FnOnce() -> R,
) -> R {
    if quiet || total < MANY || !std::io::stderr().is_terminal() {
        return work();
    }
    let done = &done;
    std::thread::scope(|scope| {
        // Dropped when the work ends, by a panic too: that is the signal.
        let (alive, ended) = channel::<()>();
        scope.spawn(move || {
            if ended.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.set_message(doing);
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                bar.set_position(done().min(total));
            }
            bar.finish_and_clear();
        });
        let result = work();
        drop(alive);
        result
    })
}
