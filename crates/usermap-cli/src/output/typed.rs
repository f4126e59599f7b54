//! Keys and values by the types that their map carries, in bpftool's JSON.

use super::json::Json;
use crate::failure::Result;
use crate::session::Session;
use crate::target::Target;
use std::fmt::Display;
use std::io::{self, Write};
use std::rc::Rc;
use usermap::{Map, MapTypes};
use usermap_vm::btf::{Btf, Encoding, Int, Kind, Member, Value};

/// The types of a map's keys and values, read.
#[derive(Debug)]
pub struct Typed {
    /// What the types are among.
    pub btf: Btf,
    /// The key's, if it has one.
    pub key: Option<u32>,
    /// The value's.
    pub value: u32,
}

impl Typed {
    /// A map's types, if it has some. That they cannot be read is told, and no more: its entries
    /// can be shown without.
    pub fn of(session: &mut Session, target: &Target) -> Result<Option<Rc<Typed>>> {
        let types = target.map.types().map_err(|error| error.to_string());
        let read = types.and_then(|types| {
            types.map(|types| Typed::read(&target.map, &types).map(Rc::new)).transpose()
        });
        Ok(match read {
            Ok(typed) => typed,
            Err(why) => {
                let label = target.label();
                session.complain(&crate::failure::clean(&format!(
                    "Warning: the types of map {label} cannot be used: {why}\n"
                )))?;
                None
            }
        })
    }

    /// Reads types, which must have the sizes of this map's key and value.
    pub fn read(map: &Map, types: &MapTypes) -> std::result::Result<Typed, String> {
        let btf = Btf::parse(types.btf()).map_err(|error| error.to_string())?;
        let (spec, key) = (map.spec(), types.key());
        let check = |what, id: u32, size: u32| match btf.size_of(id) {
            Some(found) if found == u64::from(size) => Ok(()),
            Some(found) => Err(format!("the {what}'s type has {found} bytes, the {what} {size}")),
            None => Err(format!("the {what}'s type {id} has no size")),
        };
        let key = (key != 0 && spec.key_size != 0).then_some(key);
        if let Some(key) = key {
            check("key", key, spec.key_size)?;
        }
        check("value", types.value(), spec.value_size)?;
        Ok(Typed { btf, key, value: types.value() })
    }

    /// An entry as an object. `slots` says whether the values are a list of CPU slots'; `plain`,
    /// that it is read by people: hexadecimal numbers are no strings then.
    pub fn entry<'a, W: Write>(
        &self,
        json: &mut Json<W>,
        key: &[u8],
        values: impl Iterator<Item = (u32, &'a [u8])>,
        slots: bool,
        plain: bool,
    ) -> io::Result<()> {
        let mut writer = Writer { btf: &self.btf, json, plain };
        writer.json.object()?;
        if let Some(id) = self.key {
            writer.json.name("key")?;
            writer.value(id, &self.btf.format(id, key))?;
        }
        if slots {
            writer.json.name("values")?;
            writer.json.array()?;
        }
        for (cpu, value) in values {
            if slots {
                writer.json.object()?;
                writer.json.name("cpu")?;
                writer.json.number(cpu)?;
            }
            writer.json.name("value")?;
            writer.value(self.value, &self.btf.format(self.value, value))?;
            if slots {
                writer.json.end()?;
            }
        }
        if slots {
            writer.json.end()?;
        }
        writer.json.end()
    }
}

/// Writes values as bpftool's `btf_dumper` does.
struct Writer<'w, W: Write> {
    btf: &'w Btf,
    json: &'w mut Json<W>,
    plain: bool,
}

impl<W: Write> Writer<'_, W> {
    fn value(&mut self, id: u32, value: &Value) -> io::Result<()> {
        let btf = self.btf;
        match (value, btf.resolved(id)) {
            (Value::Struct(values), Kind::Section { variables, .. }) => {
                let types = variables.iter().map(|variable| variable.type_id);
                self.section(btf.name(btf.resolve(id)), types, values)
            }
            // Not a variable's variable and so on: damaged types go round in a circle.
            (_, Kind::Variable { type_id, .. })
                if !matches!(btf.resolved(*type_id), Kind::Variable { .. }) =>
            {
                self.value(*type_id, value)
            }
            (Value::Struct(values), kind) => {
                let members = match kind {
                    Kind::Struct(composite) | Kind::Union(composite) => &composite.members[..],
                    _ => &[],
                };
                self.json.object()?;
                for ((name, value), member) in values.iter().zip(members) {
                    self.json.name(name)?;
                    self.member(member, value)?;
                }
                self.json.end()
            }
            (Value::Array(values), kind) => {
                let element = if let Kind::Array { element, .. } = kind { *element } else { 0 };
                self.json.array()?;
                for value in values {
                    self.value(element, value)?;
                }
                self.json.end()
            }
            (Value::Int { value, .. }, Kind::Int(int)) => self.int(*int, *value),
            (Value::Enum { name: None, value }, Kind::Enum(kind)) => {
                // With a sign, whether the enum has one or not.
                let unused = 128 - (kind.size * 8).clamp(1, 128);
                self.json.number(value << unused >> unused)
            }
            (value, _) => self.scalar(value),
        }
    }

    /// `{".data": [{"first": 1},{"second": 2}]}`
    fn section(
        &mut self,
        name: &str,
        types: impl Iterator<Item = u32>,
        values: &[(String, Value)],
    ) -> io::Result<()> {
        self.json.object()?;
        self.json.name(name)?;
        self.json.array()?;
        for ((name, value), id) in values.iter().zip(types) {
            self.json.object()?;
            self.json.name(name)?;
            self.value(id, value)?;
            self.json.end()?;
        }
        self.json.end()?;
        self.json.end()
    }

    fn member(&mut self, member: &Member, value: &Value) -> io::Result<()> {
        let bits = match (member.bits, self.btf.resolved(member.type_id)) {
            (0, Kind::Int(int)) if !member.bit_offset.is_multiple_of(8) => u32::from(int.bits),
            (bits, _) => bits,
        };
        match value {
            Value::Int { value, .. } | Value::Enum { value, .. } if bits != 0 => {
                self.hexadecimal(*value, bits)
            }
            value => self.value(member.type_id, value),
        }
    }

    fn int(&mut self, int: Int, value: i128) -> io::Result<()> {
        let bits = u32::from(int.bits);
        if int.offset != 0 || bits % 8 != 0 || bits == 128 {
            return self.hexadecimal(value, bits);
        }
        match int.encoding {
            Encoding::Bool => self.json.number(value != 0),
            Encoding::Char => {
                let byte = value as u8;
                match byte {
                    0x20..=0x7e => self.json.string(char::from(byte).encode_utf8(&mut [0; 4])),
                    _ if self.plain => self.json.number(format_args!("{byte:#x}")),
                    _ => self.json.string(char::from(byte).encode_utf8(&mut [0; 4])),
                }
            }
            _ if !matches!(bits, 8 | 16 | 32 | 64) => self.hexadecimal(value, bits),
            _ => self.json.number(value),
        }
    }

    /// The lowest bits of a number.
    fn hexadecimal(&mut self, value: i128, bits: u32) -> io::Result<()> {
        let mask = u128::MAX >> (128 - bits.clamp(1, 128));
        self.hex(format_args!("{:#x}", value as u128 & mask))
    }

    fn hex(&mut self, number: impl Display) -> io::Result<()> {
        if self.plain { self.json.number(number) } else { self.json.string(&number.to_string()) }
    }

    /// What has no parts, and needs nothing of its type.
    fn scalar(&mut self, value: &Value) -> io::Result<()> {
        match value {
            Value::Enum { name: Some(name), .. } => self.json.string(name),
            Value::Enum { value, .. } | Value::Int { value, .. } => self.json.number(value),
            Value::Text(text) => self.json.string(text),
            Value::Pointer(0) if self.plain => self.json.number("(nil)"),
            Value::Pointer(address) if self.plain => self.json.number(format_args!("{address:#x}")),
            Value::Pointer(address) => self.json.number(address),
            Value::Float(number) if number.is_finite() => self.json.number(number),
            Value::Float(number) => self.json.string(&number.to_string()),
            Value::Bytes(bytes) => self.json.bytes(bytes),
            Value::Struct(_) | Value::Array(_) => self.json.null(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::cells::Cells;
    use proptest::prelude::*;

    /// The BTF of the tests' object, and a struct in it with one of everything.
    fn sample() -> (Vec<u8>, u32) {
        let object = include_bytes!("../../tests/data/typed.bpf.o");
        let object = usermap_vm::Object::from_bytes(object, "typed.bpf.o").unwrap();
        let btf = object.btf().unwrap();
        let value = btf.find("value", |kind| matches!(kind, Kind::Struct(_))).unwrap();
        (btf.bytes().to_vec(), value)
    }

    /// A key or value in JSON, and the columns of a table.
    fn shown(btf: Btf, id: u32, bytes: &[u8]) -> (String, usize) {
        let typed = Rc::new(Typed { btf, key: Some(id), value: id });
        let mut json = Json::new(Vec::new(), false);
        let values = std::iter::once((0, bytes));
        typed.entry(&mut json, bytes, values, true, false).unwrap();
        json.finish().unwrap();
        let cells = Cells::new(None, bytes.len(), "value", Some((typed, id))).unwrap();
        let columns = cells.columns("VALUE").len();
        assert_eq!(cells.show(bytes).len(), columns);
        cells.add(bytes, &mut Vec::new());
        (String::from_utf8(json.writer().clone()).unwrap(), columns)
    }

    /// A struct whose member is a variable that is its own type.
    #[test]
    fn variables_in_a_circle() {
        const STRUCT: u32 = 4 << 24 | 1;
        const VARIABLE: u32 = 14 << 24;
        let types = [[1, STRUCT, 4, 3, 2, 0, 3, VARIABLE, 2, 1]].concat();
        let strings = b"\0s\0v\0";
        let length = types.len() as u32 * 4;
        let header = [24, 0, length, length, strings.len() as u32];
        let mut blob = vec![0x9f, 0xeb, 1, 0];
        blob.extend(header.iter().chain(&types).flat_map(|word| word.to_le_bytes()));
        blob.extend(strings);
        let btf = Btf::parse(&blob).unwrap();
        for id in [1, 2] {
            let (json, columns) = shown(btf.clone(), id, &[1, 2, 3, 4]);
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
            assert_eq!(columns, 1);
        }
    }

    proptest! {
        /// Types may be anything that another process wrote: what is shown is JSON.
        #[test]
        fn damaged_types_give_json(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            other: u8,
        ) {
            let (mut blob, value) = sample();
            for (at, byte) in changes {
                let at = at.index(blob.len());
                blob[at] = byte;
            }
            let Ok(btf) = Btf::parse(&blob) else { return Ok(()) };
            for id in [value, u32::from(other)] {
                let (text, _) = shown(btf.clone(), id, &bytes);
                prop_assert!(text.len() < 1 << 20);
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
            }
        }
    }
}
