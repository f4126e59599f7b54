//! What may be set between reading an object and loading it.

use super::{Global, Object, text};
use crate::error::{Error, Result};
use std::path::PathBuf;

impl Object {
    /// Sets how many entries a map takes.
    ///
    /// # Errors
    ///
    /// There is no such map, or it holds the data of a section.
    ///
    /// ```no_run
    /// # let mut object = usermap_vm::Object::open("flow.bpf.o")?;
    /// object.max_entries("flows", 4096)?;
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn max_entries(&mut self, map: &str, entries: u32) -> Result<()> {
        let index = self.map_index(map)?;
        if let Some(definition) = self.maps.get_mut(index) {
            if definition.is_data() {
                let what = format!("max_entries of map {map}");
                let rule = "the data of a section are one entry".into();
                return Err(Error::Invalid { what, rule });
            }
            definition.max_entries = entries;
        }
        Ok(())
    }

    /// Keeps a map in a file: uses the map that is there, or creates it there.
    ///
    /// # Errors
    ///
    /// There is no such map.
    ///
    /// ```no_run
    /// # let mut object = usermap_vm::Object::open("flow.bpf.o")?;
    /// object.pin("flows", "/run/flows")?;
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn pin(&mut self, map: &str, path: impl Into<PathBuf>) -> Result<()> {
        let index = self.map_index(map)?;
        self.pins.retain(|(pinned, _)| *pinned != index);
        self.pins.push((index, path.into()));
        Ok(())
    }

    /// Sets a global variable, to all of its bytes.
    ///
    /// # Errors
    ///
    /// There is no such variable, or it has another size.
    ///
    /// ```no_run
    /// # let mut object = usermap_vm::Object::open("flow.bpf.o")?;
    /// object.set_global("limit", &5u32.to_le_bytes())?;
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn set_global(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let (map, offset, size) = {
            let global = self.global(name)?;
            (global.map, global.offset, global.size)
        };
        if bytes.len() != size as usize {
            let rule = format!("has {size} bytes, and {} were given", bytes.len());
            return Err(Error::Invalid { what: format!("global {name}"), rule });
        }
        self.write(map, offset, bytes);
        Ok(())
    }

    /// Sets a global variable to a value as text, by its type: a number (decimal or `0x…`), `true`
    /// or `false`, a name of an enum, a character in quotes, or text for an array of `char`.
    ///
    /// # Errors
    ///
    /// There is no such variable, the text is no value of its type, or its type is none of these.
    ///
    /// ```no_run
    /// # let mut object = usermap_vm::Object::open("flow.bpf.o")?;
    /// object.set_global_text("limit", "5")?;
    /// object.set_global_text("verdict", "XDP_DROP")?;
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn set_global_text(&mut self, name: &str, value: &str) -> Result<()> {
        let global = self.global(name)?;
        let types = self.btf.as_ref().zip(global.type_id);
        let (map, offset) = (global.map, global.offset);
        let bytes = text::parse(types, global.size, value).map_err(|rule| Error::Invalid {
            what: format!("value {value:?} of global {name}"),
            rule,
        })?;
        self.write(map, offset, &bytes);
        Ok(())
    }

    /// Gives a variable of the kernel's configuration its value, written as in a kernel's
    /// `.config`: `y`, `n`, `m`, a number, or text in quotes.
    ///
    /// # Errors
    ///
    /// The object asks for no such variable, or the text is no value of its type.
    ///
    /// ```no_run
    /// # let mut object = usermap_vm::Object::open("flow.bpf.o")?;
    /// object.set_kconfig("CONFIG_HZ", "1000")?;
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn set_kconfig(&mut self, name: &str, value: &str) -> Result<()> {
        let Some(index) = self.externs.iter().position(|one| one.name == name) else {
            let known = self.externs.iter().map(|one| one.name.clone()).collect();
            return Err(Error::Unknown { kind: "extern", name: name.to_owned(), known });
        };
        let Some(one) = self.externs.get_mut(index) else { return Ok(()) };
        let types = self.btf.as_ref().map(|btf| (btf, one.type_id));
        let bytes = text::parse_kconfig(types, one.size, value).map_err(|rule| Error::Invalid {
            what: format!("value {value:?} of extern {name}"),
            rule,
        })?;
        one.given = true;
        let offset = one.offset;
        if let Some(map) = self.kconfig {
            self.write(map, offset, &bytes);
        }
        Ok(())
    }

    fn global(&self, name: &str) -> Result<&Global> {
        let found = self.globals.iter().find(|global| global.name == name);
        found.ok_or_else(|| Error::Unknown {
            kind: "global",
            name: name.to_owned(),
            known: self.globals.iter().map(|global| global.name.clone()).collect(),
        })
    }

    /// Writes into a section's data.
    fn write(&mut self, map: usize, offset: u32, bytes: &[u8]) {
        let map = self.maps.get_mut(map).and_then(|map| map.initial.as_mut());
        let place = map.and_then(|data| data.get_mut(offset as usize..));
        if let Some(place) = place.and_then(|data| data.get_mut(..bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }
}
