//! Wrong on purpose, for ThreadSanitizer: threads count in memory that is no atomic.

struct Counter(std::cell::UnsafeCell<u64>);

// SAFETY: there is none.
unsafe impl Sync for Counter {}

static COUNTER: Counter = Counter(std::cell::UnsafeCell::new(0));

fn count() {
    for _ in 0..1000 {
        // SAFETY: there is none: the other thread does the same.
        unsafe { *COUNTER.0.get() += 1 };
    }
}

fn main() {
    let other = std::thread::spawn(count);
    count();
    other.join().unwrap();
}
