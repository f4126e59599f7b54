//! An application with a plug-in that is an eBPF program: it says which requests are served.
//!
//! `objects/plugin.bpf.c` is compiled by clang, as for the kernel. It can read what it is given and
//! its own map, and nothing else of this process: whatever it does, the worst that happens is an
//! error for one request. Its map is the application's, too, which reads the counts as they grow.
//!
//! ```console
//! $ cargo run --release -p usermap-vm --example plugin
//! ```

use std::time::Duration;
use usermap::HashMap;
use usermap_vm::{Context, Error, Loaded, Object, Options, Runner};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The plug-in. An application would read a file that its user names: `Object::open`.
const OBJECT: &[u8] = include_bytes!("objects/plugin.bpf.o");
/// What the plug-in returns for requests that are to be served.
const SERVE: u64 = 0;

/// `struct request` of the plug-in.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Request {
    time: u64,
    client: [u8; 4],
    bytes: u32,
    retry_after: u64,
}

/// `struct client` of the plug-in.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Client {
    lock: u32,
    unused: u32,
    tokens: u64,
    filled_at: u64,
    served: u64,
    refused: u64,
    bytes: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Served,
    /// 429: with how long the client should wait.
    Refused(Duration),
}

/// The plug-in, with the map that is shared with it.
struct Plugin {
    loaded: Loaded,
    clients: HashMap<[u8; 4], Client>,
}

impl Plugin {
    fn load(rate: u64, burst: u64) -> Result<Plugin, Error> {
        let mut object = Object::from_bytes(OBJECT, "plugin.bpf.o")?;
        object.set_global("rate", &rate.to_ne_bytes())?;
        object.set_global("burst", &burst.to_ne_bytes())?;
        // A request that takes a plug-in longer than this is an error.
        let loaded = object.load(&Options::new().budget(10_000))?;
        let clients = HashMap::from_map(loaded.map("clients")?)?;
        Ok(Plugin { loaded, clients })
    }
}

/// Asks the plug-in about a request.
fn admit(plugin: &mut Runner<'_>, request: Request) -> Result<Answer, Error> {
    let mut context = Context::from(request.as_bytes());
    let outcome = plugin.run(&mut context)?;
    let bytes = context.to_bytes();
    // It may have written into the request.
    let request = Request::read_from_bytes(&bytes).unwrap_or(request);
    Ok(match outcome.value {
        SERVE => Answer::Served,
        _ => Answer::Refused(Duration::from_nanos(request.retry_after)),
    })
}

/// A client that sends requests of 100 bytes at an even pace.
fn send(loaded: &Loaded, client: [u8; 4], requests: u64, pace: Duration) -> Result<u64, Error> {
    let program = loaded.program("admit")?;
    // Each thread has a CPU slot and a stack of its own for as long as it has the runner.
    let mut plugin = program.runner()?;
    let mut served = 0;
    for number in 0..requests {
        let time = number * pace.as_nanos() as u64;
        let request = Request { time, client, bytes: 100, retry_after: 0 };
        served += u64::from(admit(&mut plugin, request)? == Answer::Served);
    }
    Ok(served)
}

/// Three clients at once, each of its own thread, for one second of the clock in their requests.
fn serve(plugin: &Plugin) -> Result<(), Error> {
    let load = [
        ([192, 0, 2, 1], 5, Duration::from_millis(200)),
        ([192, 0, 2, 2], 20, Duration::from_millis(50)),
        ([192, 0, 2, 3], 1000, Duration::from_millis(1)),
    ];
    std::thread::scope(|scope| {
        let threads = load.map(|(client, requests, pace)| {
            scope.spawn(move || send(&plugin.loaded, client, requests, pace))
        });
        for thread in threads {
            thread.join().expect("a client's thread")?;
        }
        Ok(())
    })
}

fn main() -> Result<(), Error> {
    let plugin = Plugin::load(10, 5)?;
    serve(&plugin)?;
    println!("10 requests a second of each client, 5 at once\n");
    println!("CLIENT      SERVED  REFUSED  BYTES");
    let mut counts = plugin.clients.iter().collect::<usermap::Result<Vec<_>>>()?;
    counts.sort_by_key(|(client, _)| *client);
    for ([a, b, c, d], client) in counts {
        let name = format!("{a}.{b}.{c}.{d}");
        println!("{name:<10}  {:>6}  {:>7}  {:>5}", client.served, client.refused, client.bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: [u8; 4] = [203, 0, 113, 9];

    fn request(milliseconds: u64) -> Request {
        Request { time: milliseconds * 1_000_000, client: CLIENT, bytes: 7, retry_after: 0 }
    }

    #[test]
    fn a_burst_then_the_rate() -> Result<(), Error> {
        let plugin = Plugin::load(10, 2)?;
        let program = plugin.loaded.program("admit")?;
        let mut runner = program.runner()?;
        let wait = |milliseconds| Answer::Refused(Duration::from_millis(milliseconds));
        for (time, answer) in [
            (0, Answer::Served),
            (0, Answer::Served),
            (0, wait(100)),
            (60, wait(40)),
            (100, Answer::Served),
            (10_000, Answer::Served),
            (10_000, Answer::Served),
            (10_000, wait(100)),
        ] {
            assert_eq!(admit(&mut runner, request(time))?, answer, "at {time} ms");
        }
        let client = plugin.clients.get(&CLIENT)?.expect("its counts");
        assert_eq!((client.served, client.refused, client.bytes), (5, 3, 35));
        Ok(())
    }

    #[test]
    fn it_runs() -> Result<(), Error> {
        main()
    }

    #[test]
    fn threads_lose_no_count() -> Result<(), Error> {
        let plugin = Plugin::load(10, 5)?;
        serve(&plugin)?;
        let counts = |last| {
            let client = plugin.clients.get(&[192, 0, 2, last]);
            client.map(|client| client.map(|client| (client.served, client.refused)))
        };
        assert_eq!(counts(1)?, Some((5, 0)));
        // 5 at once, and 9.5 in 950 ms; or 9.99 in 999 ms.
        assert_eq!(counts(2)?, Some((14, 6)));
        assert_eq!(counts(3)?, Some((14, 986)));
        Ok(())
    }

    #[test]
    fn the_application_can_change_the_shared_map() -> Result<(), Error> {
        let plugin = Plugin::load(10, 1)?;
        let program = plugin.loaded.program("admit")?;
        let mut runner = program.runner()?;
        assert_eq!(admit(&mut runner, request(0))?, Answer::Served);
        assert!(matches!(admit(&mut runner, request(0))?, Answer::Refused(_)));
        plugin.clients.remove(&CLIENT)?; // forgiven
        assert_eq!(admit(&mut runner, request(0))?, Answer::Served);
        Ok(())
    }
}
