//! What is told of programs, and programs by id.

use super::*;

#[test]
fn infos() {
    if !kernel() {
        return;
    }
    let mut comparison = Comparison::default();
    let pair = Pair::new(|side| {
        let (_map, mut instructions) = array(side, 2, 1);
        instructions.extend(returns(2));
        load(XDP, &instructions).bytes(48, b"named").memory(16, b"MIT").descriptor(side)
    });
    let mut compare = |what: &str, call: Call| {
        comparison.same(what, &[0], |side| told(call.clone().u32(0, pair.of(side)).make(side)));
    };
    for length in [0, 4, 16, 80, 104, 200, 232, 240, 4096, 4097] {
        compare(&format!("{length} bytes"), info(&vec![0; length]));
    }
    let with = |at: usize, value: u32| {
        let mut bytes = [0; 232];
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        info(&bytes)
    };
    compare("a tail", info(&[vec![0; 232], vec![1; 4]].concat()));
    compare("nowhere", info(&[0; 232]).u64(8, 8));
    compare("a field too many", info(&[0; 232]).u32(16, 1));
    compare("ids nowhere", with(52, 1));
    compare("instructions nowhere", with(20, 8));
    compare("tags nowhere", with(180, 1));
    for (at, right) in [(132, 8), (172, 16), (176, 8)] {
        compare("records' size", with(at, right));
        compare("another size", with(at, right + 4));
    }
    compare("records without size", with(144, 1));
    compare("lines without size", with(148, 1));
    for fd in [999, u32::MAX] {
        let call = info(&[0; 232]).u32(0, fd);
        comparison.same("no descriptor", &[], |side| call.make(side));
    }
}

/// The lists that an info is asked for.
#[test]
fn lists() {
    let side = Side::Usermap;
    let (map, mut instructions) = array(side, 1, 1);
    let (bound, _) = array(side, 1, 1);
    instructions.extend(returns(2));
    let loaded = program(side, XDP, &instructions);
    let bind = |fd: i32, flags: u32| {
        let call = Call::new(BIND_MAP).u32(0, loaded.number as u32).u32(4, fd as u32);
        call.u32(8, flags).make(side).result
    };
    assert_eq!(bind(bound.number, 0), Ok(0));
    assert_eq!(bind(bound.number, 0), Ok(0));
    assert_eq!(bind(map.number, 1), Err(libc::EINVAL));
    assert_eq!(bind(999, 0), Err(libc::EBADF));
    assert_eq!(bind(loaded.number, 0), Err(libc::EINVAL));
    let id_of = |fd: i32| info(&[0; 104]).u32(0, fd as u32).make(side).memory[0][4..8].to_vec();
    let expected = [id_of(map.number), id_of(bound.number)].concat();

    let id = id_of(loaded.number);
    let id = u32::from_ne_bytes([id[0], id[1], id[2], id[3]]);
    let again = Call::new(FD_BY_ID).u32(0, id).descriptor(side);
    for fd in [loaded.number, again.number] {
        let mut ids = [0_u32; 4];
        let mut xlated = [0_u8; 64];
        let mut asked = [0_u8; 232];
        asked[20..24].copy_from_slice(&64_u32.to_ne_bytes());
        asked[32..40].copy_from_slice(&(xlated.as_mut_ptr() as u64).to_ne_bytes());
        asked[52..56].copy_from_slice(&4_u32.to_ne_bytes());
        asked[56..64].copy_from_slice(&(ids.as_mut_ptr() as u64).to_ne_bytes());
        let answer = info(&asked).u32(0, fd as u32).make(side);
        assert_eq!(answer.result, Ok(0));
        assert_eq!(answer.memory[0][52..56], 2_u32.to_ne_bytes());
        let given: Vec<u8> =
            std::hint::black_box(ids).iter().flat_map(|id| id.to_ne_bytes()).collect();
        assert_eq!(given[..8], expected);
        let xlated = std::hint::black_box(xlated);
        assert_eq!((xlated[0], xlated[1], &xlated[4..8]), (0x18, 0x11, &expected[..4]));
        assert_eq!(xlated[16..24], returns(2)[0]);
    }
    let answer = Call::new(NEXT_ID).u32(0, id - 1).make(side);
    assert_eq!((answer.result, answer.u32(4)), (Ok(0), id));
    drop((loaded, again));
    // A child that another test has just started has all descriptors until it executes.
    let start = std::time::Instant::now();
    while let Ok(fd) = Call::new(FD_BY_ID).u32(0, id).make(side).result {
        drop(Descriptor::new(fd));
        assert!(start.elapsed().as_secs() < 60, "the program outlives its descriptors");
        std::thread::yield_now();
    }
    assert_eq!(Call::new(FD_BY_ID).u32(0, id).make(side).result, Err(libc::ENOENT));
}
