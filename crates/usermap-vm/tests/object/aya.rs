//! An object that aya-ebpf's macros and maps made (`objects/aya`), run in both engines.

use super::object;
use usermap::{HashMap, PerCpuArray};
use usermap_vm::{Options, Xdp};

/// A frame of Ethernet and IPv4 for this port.
fn packet(port: u16) -> Vec<u8> {
    let mut packet = vec![0; 60];
    packet[36..38].copy_from_slice(&port.to_be_bytes());
    packet
}

#[test]
fn its_maps_and_its_program() {
    let object = object("aya.bpf.o");
    for interpret in [false, true] {
        let loaded = object.load(&Options::new().interpret(interpret)).unwrap();
        let program = loaded.program("count").unwrap();
        for port in [53, 443, 53] {
            let outcome = program.run(&mut Xdp::new(packet(port)).into()).unwrap();
            assert_eq!(outcome.value, 2, "XDP_PASS");
        }
        let outcome = program.run(&mut Xdp::new(vec![0; 30]).into()).unwrap();
        assert_eq!(outcome.value, 1, "XDP_DROP: too short for a port");
        let ports = HashMap::<u16, u64>::from_map(loaded.map("PORTS").unwrap()).unwrap();
        assert_eq!(ports.len(), 2, "interpreted: {interpret}");
        assert_eq!((ports.get(&53).unwrap(), ports.get(&443).unwrap()), (Some(2), Some(1)));
        let total = PerCpuArray::<u64>::from_map(loaded.map("TOTAL").unwrap()).unwrap();
        assert_eq!(total.sum(0).unwrap(), 4);
    }
}
