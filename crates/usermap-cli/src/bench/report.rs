//! The rows as a table, or as JSON.

use super::{Row, entries};
use crate::failure::Result;
use crate::output::Output;
use crate::output::table::{Column, Table};

const NOTE: &str = "\
Nanoseconds that a thread spends on one operation: medians of short runs in turn. KERNEL is one bpf(2)
call, or two, an operation. LIMIT is one random read, or atomic add, in an array of as many bytes.
";

/// Writes them in the form that was asked for.
pub fn write(out: &mut Output, rows: &[Row], refusal: Option<&str>) -> Result {
    if out.is_json() {
        return json(out, rows, refusal);
    }
    let mut table = Table::new(vec![
        Column::text("MAP"),
        Column::number("ENTRIES"),
        Column::number("THREADS"),
        Column::text("OPERATION"),
        Column::number("USERMAP"),
        Column::number("KERNEL"),
        Column::number("KERNEL/USERMAP"),
        Column::number("LIMIT"),
        Column::number("USERMAP/LIMIT"),
    ]);
    let nanoseconds = |time: f64| format!("{time:.1}");
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for row in rows {
        let cells = vec![
            row.kind.to_owned(),
            entries(row.entries),
            row.threads.to_string(),
            row.operation.to_owned(),
            nanoseconds(row.usermap),
            or_none(row.kernel.map(nanoseconds)),
            or_none(row.kernel.map(|kernel| format!("{:.1}", kernel / row.usermap))),
            nanoseconds(row.limit),
            format!("{:.1}", row.usermap / row.limit),
        ];
        table.row(out.writer(), cells)?;
    }
    table.end(out.writer())?;
    out.text(&format!("\n{NOTE}"))?;
    if let Some(refusal) = refusal {
        out.text(&format!("The kernel's maps are left out: {refusal}.\n"))?;
    }
    Ok(())
}

fn json(out: &mut Output, rows: &[Row], refusal: Option<&str>) -> Result {
    let json = out.json();
    json.object()?;
    if let Some(refusal) = refusal {
        json.name("no_kernel")?;
        json.string(refusal)?;
    }
    json.name("rows")?;
    json.array()?;
    for row in rows {
        json.object()?;
        json.name("kind")?;
        json.string(row.kind)?;
        json.name("entries")?;
        json.number(row.entries)?;
        json.name("threads")?;
        json.number(row.threads)?;
        json.name("operation")?;
        json.string(row.operation)?;
        let kernel = row
            .kernel
            .map(|kernel| [("kernel_ns", kernel), ("kernel_ratio", kernel / row.usermap)]);
        let limit = [("limit_ns", row.limit), ("limit_ratio", row.usermap / row.limit)];
        let times = [("usermap_ns", row.usermap)].into_iter();
        for (name, time) in times.chain(kernel.into_iter().flatten()).chain(limit) {
            json.name(name)?;
            json.number(format_args!("{time:.2}"))?;
        }
        json.end()?;
    }
    json.end()?;
    Ok(json.end()?)
}
