//! What the promises about death and concurrency rest on, tried exhaustively: a death before every
//! store of every operation (`death`), and every order of what two or three threads do, with all
//! that the memory model allows (`interleaving`, which runs with `--cfg loom`).

#[cfg(not(any(loom, miri)))]
mod death;
#[cfg(loom)]
mod interleaving;
