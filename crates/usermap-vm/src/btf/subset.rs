//! Cuts BTF down to what some types need, to be stored with a map.

use super::Btf;
use super::types::*;
use std::collections::{HashMap, VecDeque};

impl Btf {
    /// A blob with nothing but these types and what they are made of, and the ids that they have
    /// in it. What pointers point to is only named, so that the blob stays small.
    ///
    /// ```
    /// # use usermap_vm::btf::Btf;
    /// # fn store(btf: &Btf, key: u32, value: u32) {
    /// let (bytes, ids) = btf.subset(&[key, value]);
    /// let small = Btf::parse(&bytes).unwrap();
    /// assert_eq!(small.describe(ids[0]), btf.describe(key));
    /// # }
    /// ```
    pub fn subset(&self, ids: &[u32]) -> (Vec<u8>, Vec<u32>) {
        let mut writer = Writer::new(self);
        let new: Vec<u32> = ids.iter().map(|id| writer.want(*id, false)).collect();
        while let Some((id, named)) = writer.waiting.pop_front() {
            writer.write(id, named);
        }
        (writer.finish(), new)
    }
}

/// Writes types in the order in which they are first wanted, so that nothing recurs.
struct Writer<'b> {
    btf: &'b Btf,
    /// The new ids, by the old ones and by whether structs are only named.
    ids: HashMap<(u32, bool), u32>,
    waiting: VecDeque<(u32, bool)>,
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Where strings are.
    offsets: HashMap<String, u32>,
}

impl<'b> Writer<'b> {
    fn new(btf: &'b Btf) -> Writer<'b> {
        Writer {
            btf,
            ids: HashMap::new(),
            waiting: VecDeque::new(),
            types: Vec::new(),
            strings: vec![0],
            offsets: HashMap::new(),
        }
    }

    /// The id that a type will have; it is written later.
    fn want(&mut self, id: u32, named: bool) -> u32 {
        let void = match self.btf.kind(id) {
            None | Some(Kind::Void) => true,
            // A name is all that is kept of these, and they have none, or cannot do with it.
            Some(Kind::Struct(_) | Kind::Union(_)) => named && self.btf.name(id).is_empty(),
            Some(Kind::Enum(_) | Kind::Prototype { .. }) => named,
            _ => false,
        };
        if void {
            return 0;
        }
        let next = self.ids.len() as u32 + 1;
        *self.ids.entry((id, named)).or_insert_with(|| {
            self.waiting.push_back((id, named));
            next
        })
    }

    fn string(&mut self, offset: u32) -> u32 {
        let string = self.btf.string(offset);
        if string.is_empty() {
            return 0;
        }
        if let Some(offset) = self.offsets.get(string) {
            return *offset;
        }
        let new = self.strings.len() as u32;
        self.strings.extend_from_slice(string.as_bytes());
        self.strings.push(0);
        self.offsets.insert(string.to_owned(), new);
        new
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }

    /// The part that all types have: name, kind, length, flag, and a size or another type.
    fn head(&mut self, id: u32, number: u32, length: usize, flag: bool, third: u32) {
        let name = self.btf.types.get(id as usize).map_or(0, |entry| entry.name);
        let name = self.string(name);
        let info = u32::from(flag) << 31 | number << 24 | length as u32 & 0xffff;
        self.words(&[name, info, third]);
    }

    fn write(&mut self, id: u32, named: bool) {
        let btf = self.btf;
        let Some(kind) = btf.kind(id) else { return };
        match kind {
            Kind::Void => {}
            Kind::Int(int) => self.int(id, int),
            Kind::Pointer(inner) => {
                let inner = self.want(*inner, true);
                self.head(id, 2, 0, false, inner);
            }
            Kind::Array { element, index, count } => {
                let (element, index) = (self.want(*element, named), self.want(*index, named));
                self.head(id, 3, 0, false, 0);
                self.words(&[element, index, *count]);
            }
            Kind::Struct(_) if named => self.head(id, 7, 0, false, 0),
            Kind::Union(_) if named => self.head(id, 7, 0, true, 0),
            Kind::Struct(composite) => self.composite(id, 4, composite),
            Kind::Union(composite) => self.composite(id, 5, composite),
            Kind::Enum(enumeration) => self.enumeration(id, enumeration),
            Kind::Forward { union } => self.head(id, 7, 0, *union, 0),
            Kind::Typedef(inner) => self.modifier(id, 8, *inner, named),
            Kind::Volatile(inner) => self.modifier(id, 9, *inner, named),
            Kind::Const(inner) => self.modifier(id, 10, *inner, named),
            Kind::Restrict(inner) => self.modifier(id, 11, *inner, named),
            Kind::TypeTag(inner) => self.modifier(id, 18, *inner, named),
            Kind::Function { prototype, linkage } => {
                let prototype = self.want(*prototype, false);
                self.head(id, 12, linkage_number(*linkage) as usize, false, prototype);
            }
            Kind::Prototype { result, parameters } => self.prototype(id, *result, parameters),
            Kind::Variable { type_id, linkage } => {
                let type_id = self.want(*type_id, named);
                self.head(id, 14, 0, false, type_id);
                self.words(&[linkage_number(*linkage)]);
            }
            Kind::Section { size, variables } => self.section(id, *size, variables),
            Kind::Float { size } => self.head(id, 16, 0, false, *size),
            Kind::DeclTag { target, component } => {
                let target = self.want(*target, named);
                self.head(id, 17, 0, false, target);
                self.words(&[component.unwrap_or(u32::MAX)]);
            }
        }
    }

    fn modifier(&mut self, id: u32, number: u32, inner: u32, named: bool) {
        let inner = self.want(inner, named);
        self.head(id, number, 0, false, inner);
    }

    fn int(&mut self, id: u32, int: &Int) {
        let encoding = match int.encoding {
            Encoding::Unsigned => 0,
            Encoding::Signed => 1,
            Encoding::Char => 2,
            Encoding::Bool => 4,
        };
        self.head(id, 1, 0, false, int.size);
        let word = encoding << 24 | u32::from(int.offset) << 16 | u32::from(int.bits);
        self.words(&[word]);
    }

    fn composite(&mut self, id: u32, number: u32, composite: &Composite) {
        let flag = composite.members.iter().any(|member| member.bits > 0);
        self.head(id, number, composite.members.len(), flag, composite.size);
        for member in &composite.members {
            let (name, type_id) = (self.string(member.name), self.want(member.type_id, false));
            let bits = if flag { member.bits << 24 } else { 0 };
            self.words(&[name, type_id, bits | member.bit_offset]);
        }
    }

    fn enumeration(&mut self, id: u32, enumeration: &Enumeration) {
        let number = if enumeration.wide { 19 } else { 6 };
        let Enumeration { size, signed, values, wide } = enumeration;
        self.head(id, number, values.len(), *signed, *size);
        for value in values {
            let name = self.string(value.name);
            self.words(&[name, value.value as u32]);
            if *wide {
                self.words(&[(value.value >> 32) as u32]);
            }
        }
    }

    fn prototype(&mut self, id: u32, result: u32, parameters: &[Parameter]) {
        let result = self.want(result, true);
        self.head(id, 13, parameters.len(), false, result);
        for parameter in parameters {
            let (name, type_id) = (self.string(parameter.name), self.want(parameter.type_id, true));
            self.words(&[name, type_id]);
        }
    }

    fn section(&mut self, id: u32, size: u32, variables: &[SectionVariable]) {
        self.head(id, 15, variables.len(), false, size);
        for variable in variables {
            let type_id = self.want(variable.type_id, false);
            self.words(&[type_id, variable.offset, variable.size]);
        }
    }

    fn finish(self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let header = [0x0001_eb9f, 24, 0, types, types, strings];
        let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

fn linkage_number(linkage: Linkage) -> u32 {
    match linkage {
        Linkage::Static => 0,
        Linkage::Global => 1,
        Linkage::Extern => 2,
    }
}
