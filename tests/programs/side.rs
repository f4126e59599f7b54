//! usermap's side: an object, loaded for one of the engines.

use crate::input::Input;
use std::collections::BTreeMap;
use usermap_tests::everything;
use usermap_vm::{Context, Loaded, Object, Options, ProgramType};

/// What a run gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The verdict.
    pub value: u32,
    /// The packet as it was left.
    pub packet: Vec<u8>,
    /// Instructions that were counted; 0 of the kernel's runs.
    pub instructions: u64,
}

/// All entries of maps, by the maps' names: keys and values, sorted; a queue's or stack's values
/// in their order.
pub type Maps = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>;

/// An object that usermap has loaded.
pub struct Usermap {
    loaded: Loaded,
}

impl Usermap {
    /// Loads it.
    pub fn load(name: &str, bytes: &[u8], interpret: bool) -> Usermap {
        let object = Object::from_bytes(bytes, name).unwrap_or_else(|error| panic!("{error}"));
        let options = Options::new().interpret(interpret);
        let loaded = object.load(&options).unwrap_or_else(|error| panic!("{error}"));
        Usermap { loaded }
    }

    /// Its programs' names.
    pub fn programs(&self) -> Vec<String> {
        self.loaded.programs().iter().map(|program| program.name().to_owned()).collect()
    }

    /// Runs a program.
    pub fn run(&self, program: &str, input: &Input) -> Option<Answer> {
        let program = self.loaded.program(program).expect("it has this program");
        let mut context = context(program.program_type(), input);
        let outcome = match program.run(&mut context) {
            Ok(outcome) => outcome,
            Err(error) => panic!("{error}"),
        };
        // The kernel gives the metadata with the packet.
        let metadata = match &context {
            Context::Xdp(xdp) => xdp.metadata.clone(),
            _ => Vec::new(),
        };
        let packet = [metadata, context.into_packet().unwrap_or_default()].concat();
        Some(Answer { value: outcome.value as u32, packet, instructions: outcome.instructions })
    }

    /// Everything in its maps.
    pub fn maps(&self) -> Maps {
        let mut maps = Maps::new();
        for definition in self.loaded.object().maps() {
            if let Ok(map) = self.loaded.map(&definition.name) {
                maps.insert(definition.name.clone(), everything(&map));
            }
        }
        maps
    }
}

/// The context that a program of a type gets.
pub fn context(program_type: ProgramType, input: &Input) -> Context {
    let of_packet = Context::of_packet(program_type, input.packet.clone());
    of_packet.unwrap_or_else(|| Context::from(input.bytes.clone()))
}
