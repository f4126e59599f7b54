//! Runs one program of a conformance suite, by the convention of such suites' plug-ins.
//!
//! ```text
//! conformance [MEMORY] [--elf] [--interpret | --jit] < PROGRAM
//! ```
//!
//! The program is on standard input: its instructions as hex digits, or with `--elf` an object, as
//! it is or as hex digits too. `MEMORY` is what the program gets, as hex digits: the address in r1,
//! the length in r2. It prints r0 as a hex number and exits with 0, or says what is wrong on
//! standard error and exits with 1. White space in hex digits means nothing.

use std::io::Read;
use std::process::ExitCode;
use usermap_vm::bare::{Engine, Options};
use usermap_vm::instruction::Instruction;
use usermap_vm::{Code, Context, Function, Object};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(value) => {
            println!("{value:x}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<u64, Failure> {
    let (mut memory, mut elf, mut engine) = (Vec::new(), false, Engine::all()[0]);
    for (number, argument) in std::env::args().skip(1).enumerate() {
        match argument.as_str() {
            "--elf" => elf = true,
            "--interpret" => engine = Engine::Interpreter,
            "--jit" => engine = Engine::Jit,
            // Suites give an empty option where they have none.
            text if text.trim().is_empty() => {}
            text if number == 0 && !text.starts_with('-') => memory = hex(text.as_bytes())?,
            other => return Err(format!("{other}: no such option").into()),
        }
    }
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    if elf && !input.starts_with(b"\x7fELF") {
        input = hex(&input)?;
    }
    match elf {
        true => run_object(&input, memory, engine),
        false => {
            let program = Options::new().engine(engine).load(instructions(&hex(&input)?)?)?;
            Ok(program.run(&mut memory)?)
        }
    }
}

/// Runs the first program of an object. One that uses maps gets the context of its type, of which
/// the memory is the packet.
fn run_object(bytes: &[u8], mut memory: Vec<u8>, engine: Engine) -> Result<u64, Failure> {
    let object = Object::from_bytes(bytes, "standard input")?;
    let code = match object.programs().first() {
        Some(program) => program.clone(),
        None => code_only(bytes)?,
    };
    if object.maps().is_empty() {
        return Ok(Options::new().engine(engine).load_code(code)?.run(&mut memory)?);
    }
    let interpret = engine == Engine::Interpreter;
    let loaded = object.load(&usermap_vm::Options::new().interpret(interpret))?;
    let packet = Context::of_packet(code.program_type, memory.clone());
    let mut context = packet.unwrap_or(Context::Bytes(memory));
    Ok(loaded.program(&code.name)?.run(&mut context)?.value)
}

/// Bytes of hex digits.
fn hex(text: &[u8]) -> Result<Vec<u8>, Failure> {
    let digit = |letter: u8| {
        let digit = char::from(letter).to_digit(16);
        digit.ok_or_else(|| format!("{:?} is no hex digit", char::from(letter)))
    };
    let text = text.iter().filter(|letter| !letter.is_ascii_whitespace());
    let digits = text.map(|letter| digit(*letter)).collect::<Result<Vec<_>, _>>()?;
    match digits.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|[high, low]| (high << 4 | low) as u8).collect()),
        _ => Err("there is an odd number of hex digits".into()),
    }
}

fn instructions(bytes: &[u8]) -> Result<Vec<Instruction>, Failure> {
    match bytes.as_chunks() {
        (each, []) => Ok(each.iter().map(|bytes| Instruction::from_bytes(*bytes)).collect()),
        _ => Err(format!("{} bytes are no number of whole instructions", bytes.len()).into()),
    }
}

/// The code of an object that has functions, but no section that says what program they are.
fn code_only(bytes: &[u8]) -> Result<Code, Failure> {
    use object::{Object, ObjectSection, SectionKind};
    let file = object::File::parse(bytes)?;
    let mut sections = file.sections().filter(|section| section.kind() == SectionKind::Text);
    let section = sections.find(|section| section.size() > 0).ok_or("there is no code")?;
    let main = Function { name: "main".to_owned(), start: 0 };
    Ok(Code {
        name: main.name.clone(),
        instructions: instructions(section.data()?)?,
        functions: vec![main],
        ..Code::default()
    })
}
