//! Two processes that know only the names of three files share a queue of jobs, a hash of results
//! and a per-CPU counter.
//!
//! ```console
//! $ cargo run --release -p usermap --example share
//! ```
//!
//! The first process starts a second one of itself. It puts jobs into the queue; both take jobs
//! out and count visits, in the same hash, at the same time. In the end not one visit is missing.
//! The maps stay: the command `usermap map dump share_visits` shows them, `rm` removes them.

use std::error::Error;
use std::net::Ipv4Addr;
use std::process::{Command, id};
use usermap::{HashMap, PerCpuArray, Queue, abi::errno, default_folder};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// So many visits of one visitor are to be counted.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Job {
    visitor: [u8; 4],
    visits: u32,
}

/// After the last job.
const END: Job = Job { visitor: [0; 4], visits: 0 };

const JOBS: u32 = 1000;
const VISITS: u32 = 10_000;

struct Shared {
    jobs: Queue<Job>,
    visits: HashMap<[u8; 4], u64>,
    hits: PerCpuArray<u64>,
}

impl Shared {
    /// Opens the maps by their names; whoever comes first makes them.
    fn open() -> usermap::Result<Shared> {
        Ok(Shared {
            jobs: Queue::open_or_create("share_jobs", 16)?,
            visits: HashMap::open_or_create("share_visits", 1024)?,
            hits: PerCpuArray::open_or_create("share_hits", 1)?,
        })
    }

    fn work(&self, job: Job) -> usermap::Result<()> {
        for _ in 0..job.visits {
            self.visits.inc(&job.visitor, 1)?;
            self.hits.inc(0, 1)?;
        }
        Ok(())
    }
}

/// Hands all jobs out, and does one itself whenever the queue is full; gives how many it did.
fn first(shared: &Shared) -> usermap::Result<u32> {
    let job = |number: u32| Job { visitor: [10, 0, 0, (number % 4) as u8 + 1], visits: VISITS };
    let mut done = 0;
    for job in (0..JOBS).map(job).chain([END]) {
        while let Err(error) = shared.jobs.push(&job) {
            if error.errno() != errno::E2BIG {
                return Err(error);
            }
            if let Some(own) = shared.jobs.pop()? {
                shared.work(own)?;
                done += 1;
            }
        }
    }
    Ok(done)
}

/// Takes jobs until there are no more; gives how many it did.
fn second(shared: &Shared) -> usermap::Result<u32> {
    let mut done = 0;
    loop {
        match shared.jobs.pop()? {
            Some(job) if job.visits == END.visits => return Ok(done),
            Some(job) => {
                shared.work(job)?;
                done += 1;
            }
            None => std::thread::yield_now(),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let shared = Shared::open()?;
    if std::env::args().nth(1).as_deref() == Some("second") {
        println!("second process, {}: {} jobs", id(), second(&shared)?);
        return Ok(());
    }
    // What an earlier run left.
    shared.jobs.clear()?;
    shared.visits.clear()?;
    shared.hits.clear()?;

    println!("maps in {}: share_jobs, share_visits, share_hits", default_folder()?.display());
    let mut child = Command::new(std::env::current_exe()?).arg("second").spawn()?;
    let done = first(&shared);
    if done.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    println!("first process,  {}: {} jobs", id(), done?);
    if !status.success() {
        return Err("the second process failed".into());
    }

    println!("\nVISITOR       VISITS");
    let mut visits = shared.visits.iter().collect::<Result<Vec<_>, _>>()?;
    visits.sort();
    for (visitor, visits) in &visits {
        println!("{:<11} {visits:>8}", Ipv4Addr::from(*visitor));
    }
    let total: u64 = visits.iter().map(|(_, visits)| visits).sum();
    let hits = shared.hits.get(0)?;
    println!("{:<11} {total:>8} of {}", "all", JOBS * VISITS);
    println!("\nhits by CPU: {:?}, sum {}", &hits[..], hits.sum());
    println!("left in the queue: {}", shared.jobs.len());

    let expected = u64::from(JOBS * VISITS);
    if total != expected || hits.sum() != expected || !shared.jobs.is_empty() {
        return Err("visits were lost".into());
    }
    Ok(())
}
