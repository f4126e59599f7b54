//! The parts of an ELF file that eBPF objects are made of, all checked against the file's size.

use object::LittleEndian;
use object::elf::{self, FileHeader64, SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS, SHT_PROGBITS};
use object::read::SectionIndex;
use object::read::elf::{FileHeader, Rel, Rela, SectionHeader, SectionTable, Sym, SymbolTable};

/// Longer names than any compiler's; they are copied into messages.
const NAME: usize = 4096;

type Header = FileHeader64<LittleEndian>;

/// An ELF file.
pub(super) struct Elf<'d> {
    /// The sections, by their numbers in the file; the first is none.
    pub(super) sections: Vec<Section<'d>>,
    /// The symbols, by their numbers in the file.
    pub(super) symbols: Vec<Symbol<'d>>,
}

/// A section.
pub(super) struct Section<'d> {
    pub(super) name: &'d str,
    /// `SHT_…`
    kind: u32,
    flags: u64,
    /// Its bytes in memory; `.bss` has none in the file.
    pub(super) size: u64,
    pub(super) data: &'d [u8],
    /// Relocations in it, by where they are.
    pub(super) relocations: Vec<Relocation>,
}

/// A symbol.
#[derive(Clone, Copy)]
pub(super) struct Symbol<'d> {
    pub(super) name: &'d str,
    /// The section that it is in; `None` if it is undefined, or in none.
    pub(super) section: Option<usize>,
    pub(super) value: u64,
    pub(super) size: u64,
    /// `STT_…`
    kind: u8,
    /// `STB_…`
    binding: u8,
}

/// A place in a section that is to be filled in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relocation {
    pub(super) offset: u64,
    pub(super) symbol: usize,
    /// Added to the symbol's value, besides what is at the place.
    pub(super) addend: i64,
}

impl Section<'_> {
    pub(super) fn is_executable(&self) -> bool {
        self.kind == SHT_PROGBITS && self.flags & u64::from(SHF_EXECINSTR) != 0 && self.size > 0
    }

    /// Whether it has no bytes in the file.
    pub(super) fn is_zero(&self) -> bool {
        self.kind == SHT_NOBITS
    }

    pub(super) fn has_data(&self) -> bool {
        self.kind == SHT_PROGBITS && self.size > 0
    }

    fn is_allocated(&self) -> bool {
        self.flags & u64::from(SHF_ALLOC) != 0
    }
}

impl Symbol<'_> {
    pub(super) fn is_function(&self) -> bool {
        self.kind == elf::STT_FUNC
    }

    pub(super) fn is_section(&self) -> bool {
        self.kind == elf::STT_SECTION
    }

    /// Whether it names a place in memory: a variable or a function.
    pub(super) fn is_named(&self) -> bool {
        matches!(self.kind, elf::STT_FUNC | elf::STT_OBJECT | elf::STT_NOTYPE)
            && !self.name.is_empty()
    }

    pub(super) fn is_local(&self) -> bool {
        self.binding == elf::STB_LOCAL
    }

    pub(super) fn is_weak(&self) -> bool {
        self.binding == elf::STB_WEAK
    }
}

impl<'d> Elf<'d> {
    pub(super) fn parse(data: &'d [u8]) -> Result<Elf<'d>, String> {
        let header = header(data)?;
        let table = header.sections(LittleEndian, data).map_err(|error| error.to_string())?;
        let mut sections = Vec::with_capacity(table.len());
        for (index, section) in table.enumerate() {
            sections.push(
                one(data, &table, section)
                    .map_err(|problem| format!("section {}: {problem}", index.0))?,
            );
        }
        check_overlap(&sections, data)?;
        let symbols = symbols(data, &table, sections.len())?;
        relocations(data, &table, &mut sections)?;
        Ok(Elf { sections, symbols })
    }

    /// The sections that are in memory, with their numbers.
    pub(super) fn enumerate(&self) -> impl Iterator<Item = (usize, &Section<'d>)> {
        self.sections.iter().enumerate()
    }

    /// The data of the first section of a name.
    pub(super) fn data(&self, name: &str) -> Option<&'d [u8]> {
        let section = self.sections.iter().find(|section| section.name == name)?;
        (!section.data.is_empty()).then_some(section.data)
    }

    /// What to call a place in a section: the variable there, or the section and the offset.
    pub(super) fn describe(&self, section: usize, offset: u64) -> String {
        let name = self.sections.get(section).map_or("?", |section| section.name);
        let symbol = self.symbols.iter().find(|symbol| {
            symbol.section == Some(section)
                && symbol.is_named()
                && (symbol.value..symbol.value.saturating_add(symbol.size.max(1))).contains(&offset)
        });
        match symbol {
            Some(symbol) => format!("{} in section {name}", symbol.name),
            None => format!("byte {offset} of section {name}"),
        }
    }
}

fn header(data: &[u8]) -> Result<&Header, String> {
    match data.get(..6) {
        Some([0x7f, b'E', b'L', b'F', 2, 1]) => {}
        Some([0x7f, b'E', b'L', b'F', 1, _]) => return Err("ELF of 32 bits, not of 64".into()),
        Some([0x7f, b'E', b'L', b'F', _, 2]) => {
            return Err("big endian; build with -target bpf on this machine".into());
        }
        _ => return Err("no ELF file".into()),
    }
    let header = Header::parse(data).map_err(|error| error.to_string())?;
    let (kind, machine) = (header.e_type(LittleEndian), header.e_machine(LittleEndian));
    if machine != elf::EM_BPF && machine != elf::EM_NONE {
        return Err(format!("ELF for machine {machine}, not eBPF (247); build with -target bpf"));
    }
    if kind != elf::ET_REL {
        return Err(format!("ELF of type {kind}, not a relocatable object; build with -c"));
    }
    Ok(header)
}

fn name(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() > NAME {
        return Err(format!("a name of {} bytes", bytes.len()));
    }
    str::from_utf8(bytes).map_err(|_| "a name that is not UTF-8".into())
}

fn one<'d>(
    data: &'d [u8],
    table: &SectionTable<'d, Header>,
    section: &'d elf::SectionHeader64<LittleEndian>,
) -> Result<Section<'d>, String> {
    let kind = section.sh_type(LittleEndian);
    let text = table.section_name(LittleEndian, section).map_err(|error| error.to_string())?;
    let bytes = match kind {
        SHT_PROGBITS => section.data(LittleEndian, data).map_err(|error| error.to_string())?,
        _ => &[],
    };
    Ok(Section {
        name: name(text)?,
        kind,
        flags: section.sh_flags(LittleEndian),
        size: section.sh_size(LittleEndian),
        data: bytes,
        relocations: Vec::new(),
    })
}

/// Sections that lie over one another would cost far more memory than the file has.
fn check_overlap(sections: &[Section<'_>], data: &[u8]) -> Result<(), String> {
    let sum =
        sections.iter().try_fold(0, |sum: usize, section| sum.checked_add(section.data.len()));
    match sum {
        Some(sum) if sum <= data.len() => Ok(()),
        _ => Err("sections lie over one another".into()),
    }
}

fn symbols<'d>(
    data: &'d [u8],
    table: &SectionTable<'d, Header>,
    sections: usize,
) -> Result<Vec<Symbol<'d>>, String> {
    let all: SymbolTable<'d, Header> = table
        .symbols(LittleEndian, data, elf::SHT_SYMTAB)
        .map_err(|error| format!("symbols: {error}"))?;
    let mut symbols = Vec::with_capacity(all.len());
    for (index, symbol) in all.enumerate() {
        let text = all.symbol_name(LittleEndian, symbol);
        let text = text.map_err(|error| format!("symbol {}: {error}", index.0))?;
        let section = all.symbol_section(LittleEndian, symbol, index).ok().flatten();
        symbols.push(Symbol {
            name: name(text).map_err(|problem| format!("symbol {}: {problem}", index.0))?,
            section: section.map(|section| section.0).filter(|section| *section < sections),
            value: symbol.st_value(LittleEndian),
            size: symbol.st_size(LittleEndian),
            kind: symbol.st_type(),
            binding: symbol.st_bind(),
        });
    }
    Ok(symbols)
}

fn relocations<'d>(
    data: &'d [u8],
    table: &SectionTable<'d, Header>,
    sections: &mut [Section<'d>],
) -> Result<(), String> {
    let mut left = data.len() / 16;
    for (index, header) in table.enumerate() {
        let target = header.sh_info(LittleEndian) as usize;
        // Those of debugging information are of no use here.
        let Some(section) = sections.get_mut(target).filter(|section| section.is_allocated())
        else {
            continue;
        };
        let found = of_section(data, header)
            .map_err(|error| format!("relocations in section {}: {error}", index.0))?;
        left = left
            .checked_sub(found.len())
            .ok_or("sections of relocations lie over one another".to_owned())?;
        section.relocations.extend(found);
    }
    for section in sections {
        section.relocations.sort_by_key(|relocation| relocation.offset);
    }
    Ok(())
}

fn of_section(
    data: &[u8],
    header: &elf::SectionHeader64<LittleEndian>,
) -> object::read::Result<Vec<Relocation>> {
    let endian = LittleEndian;
    if let Some((all, SectionIndex(_))) = header.rel(endian, data)? {
        let one = |rel: &elf::Rel64<LittleEndian>| Relocation {
            offset: rel.r_offset(endian),
            symbol: rel.r_sym(endian) as usize,
            addend: 0,
        };
        return Ok(all.iter().map(one).collect());
    }
    if let Some((all, SectionIndex(_))) = header.rela(endian, data)? {
        let one = |rela: &elf::Rela64<LittleEndian>| Relocation {
            offset: rela.r_offset(endian),
            symbol: rela.r_sym(endian, false) as usize,
            addend: rela.r_addend(endian),
        };
        return Ok(all.iter().map(one).collect());
    }
    Ok(Vec::new())
}
