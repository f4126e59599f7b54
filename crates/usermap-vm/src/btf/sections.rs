//! Fills in what clang leaves to the loader: the sizes of sections and the offsets of variables,
//! which only the object's symbols say.

use super::types::{Kind, Linkage, SectionVariable};
use super::{Btf, Type};

impl Btf {
    /// Sets the size of each section, and in it the offset of each global variable, to what
    /// `size` and `offset` say of the names; what they do not know stays as it is.
    pub(crate) fn place(
        &mut self,
        size: impl Fn(&str) -> Option<u32>,
        offset: impl Fn(&str, &str) -> Option<u32>,
    ) {
        for id in 0..self.types.len() as u32 {
            let Some(Kind::Section { size: old, variables }) = self.kind(id) else { continue };
            // One that has a size went through a linker, which has placed the variables.
            let section = self.name(id);
            let Some(size) = size(section).filter(|_| *old == 0) else { continue };
            let mut variables = variables.clone();
            for variable in &mut variables {
                if self.is_placed_by_symbol(variable) {
                    let place = offset(section, self.name(variable.type_id));
                    variable.offset = place.unwrap_or(variable.offset);
                }
            }
            variables.sort_by_key(|variable| variable.offset);
            self.set_section(id, size, variables);
        }
    }

    /// Static variables have their offset already, and may share their name with others.
    fn is_placed_by_symbol(&self, variable: &SectionVariable) -> bool {
        let kind = self.kind(variable.type_id);
        matches!(kind, Some(Kind::Variable { linkage, .. }) if *linkage != Linkage::Static)
    }

    fn set_section(&mut self, id: u32, new_size: u32, new: Vec<SectionVariable>) {
        let Some(Type { position, kind: Kind::Section { size, variables }, .. }) =
            self.types.get_mut(id as usize)
        else {
            return;
        };
        let words = new.iter().flat_map(|variable| {
            [variable.type_id, variable.offset, variable.size].map(u32::to_le_bytes)
        });
        let words = std::iter::once(new_size.to_le_bytes()).chain(words);
        let bytes = self.bytes.get_mut(*position + 8..).unwrap_or_default();
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word);
        }
        *size = new_size;
        *variables = new;
    }
}
