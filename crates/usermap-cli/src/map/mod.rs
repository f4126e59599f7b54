//! The `usermap map` commands, one table for all that is made of them.

mod check;
mod count;
mod create;
mod dump;
mod element;
mod inc;
pub mod operands;
mod range;
mod ring;
pub mod show;
mod state;
mod sum;

use crate::args::Subcommand;

const fn command(
    name: &'static str,
    operands: &'static str,
    about: &'static str,
    more: &'static str,
    run: crate::session::Run,
) -> Subcommand {
    Subcommand { group: "map", name, operands, about, more, run }
}

/// All commands, in the order in which a shortened word is looked for: bpftool's order first, so
/// that its short forms stay what they are.
pub const MAP_COMMANDS: &[Subcommand] = &[
    command(
        "show",
        "[MAP | FOLDER]",
        "Show a map, or all maps of the default or another folder",
        "",
        show::run,
    ),
    command("list", "[MAP | FOLDER]", "The same as show", "", show::run),
    command(
        "help",
        "[COMMAND]",
        "Print this help, or that of a command",
        "",
        crate::session::map_help,
    ),
    command(
        "dump",
        "MAP [range [first] DATA [last] DATA]",
        "Print all entries, or those of a range of keys",
        "Queues and stacks have no keys to go by: peek, pop and drain read them.",
        dump::run,
    ),
    command(
        "update",
        "MAP [key DATA] [value VALUE] [UPDATE_FLAGS]",
        "Create or replace an entry",
        "",
        element::update,
    ),
    command(
        "lookup",
        "MAP [key DATA] [cpu N]",
        "Print an entry",
        "With cpu, a per-CPU map's value of that slot only.",
        element::lookup,
    ),
    command(
        "getnext",
        "MAP [key DATA]",
        "Print the key after a key, or the first",
        "",
        element::getnext,
    ),
    command("delete", "MAP key DATA", "Remove an entry", "", element::delete),
    command("pin", "MAP FILE", "Give a map another file, or its first", "", state::pin),
    command(
        "create",
        "FILE type KIND key KEY_SIZE value VALUE_SIZE entries MAX_ENTRIES \\
           name NAME [flags FLAGS] [cpus N] [numa_node N] [map_extra N] [pages 4K|2M]",
        "Create a map",
        "FLAGS is a number, or names: no_prealloc, numa_node, rdonly, wronly, zero_seed, \
         rdonly_prog, wronly_prog, mmapable, with commas between. cpus is the number of slots of \
         a per-CPU map; as many as the machine can have, if it is not given. pages 2M makes large \
         maps faster and takes all their memory at once; show says how much of it is in such pages.",
        create::run,
    ),
    command(
        "peek",
        "MAP [cpu N]",
        "Print the value that would be popped next",
        "With cpu, of that slot's queue or stack; else of the slot that it runs on.",
        element::lookup,
    ),
    command(
        "push",
        "MAP value DATA [cpu N] [UPDATE_FLAGS]",
        "Push a value to a queue or stack",
        "exist makes room in a full one by dropping the oldest value.",
        element::update,
    ),
    command(
        "enqueue",
        "MAP value DATA [cpu N] [UPDATE_FLAGS]",
        "The same as push",
        "",
        element::update,
    ),
    command(
        "pop",
        "MAP [cpu N] [key DATA]",
        "Print and remove the next value of a queue or stack, or a hash's entry",
        "",
        ring::pop,
    ),
    command("dequeue", "MAP [cpu N] [key DATA]", "The same as pop", "", ring::pop),
    command(
        "freeze",
        "MAP",
        "Make a map read-only for good, except to programs",
        "",
        state::freeze,
    ),
    command(
        "inc",
        "MAP key DATA [by N] [UPDATE_FLAGS]",
        "Add to a value atomically, and print the new one",
        "N is 1 if it is not given, and may be negative. An absent key starts at 0, unless exist \
         is given. Per-CPU maps: the slot that it runs on.",
        inc::run,
    ),
    command(
        "count",
        "MAP [cpu N]",
        "Print the number of entries",
        "With cpu, that of one slot's queue or stack.",
        count::count,
    ),
    command("clear", "MAP", "Remove all entries", "", count::clear),
    command(
        "check",
        "MAP [--repair]",
        "Look for damage in a map; exit status 1 if there is some",
        "Others may use the map meanwhile. With --repair nobody else may have it open: sound entries \
         stay, what nothing leads to any more is brought back or freed, and the exit status is 1 if \
         some damage is left.",
        check::run,
    ),
    command(
        "sum",
        "MAP [key DATA]",
        "Print sum, least and greatest of each entry's slots, and of all entries",
        "",
        sum::run,
    ),
    command(
        "range",
        "{ lookup | update | delete } MAP [first] DATA [last] DATA [value VALUE]",
        "Print, set or remove the entries between two keys, both included",
        "Arrays go by index, and delete sets to 0. Hashes go by the keys' bytes: numbers sort \
         well if they are big endian (be32). update sets entries that are there, and creates none.",
        range::run,
    ),
    command(
        "drain",
        "MAP",
        "Print and remove all values of a queue or stack, of all slots",
        "What is pushed meanwhile may stay.",
        ring::drain,
    ),
];
