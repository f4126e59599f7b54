//! Results as plots (SVG): a file for each setting with a peer in it, bars on a logarithmic scale.
use crate::report::{Row, Setting};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

const WIDTH: f64 = 900.0;
/// Where bars begin and end.
const LEFT: f64 = 130.0;
const RIGHT: f64 = 840.0;
const BAR: f64 = 11.0;
/// Between one operation's bars and the next's.
const GAP: f64 = 12.0;
const COLOURS: [&str; 10] = [
    "#1f4e9c", "#6fa8dc", "#9fc5e8", "#e69138", "#cc4125", "#8e7cc3", "#6aa84f", "#bf9000",
    "#45818e", "#666666",
];

/// Writes a plot of every setting in which others than usermap took part; gives their files' names.
pub fn write(folder: &Path, rows: &[Row]) -> std::io::Result<Vec<String>> {
    std::fs::create_dir_all(folder)?;
    let settings: BTreeSet<&Setting> = rows.iter().map(|row| &row.setting).collect();
    let mut files = Vec::new();
    for setting in settings {
        // Functions of the untyped map have no peers but the kernel's.
        let of = |row: &&Row| row.setting == *setting && !row.op.starts_with("map.");
        let rows: Vec<&Row> = rows.iter().filter(of).collect();
        if rows.iter().all(|row| row.name.starts_with("usermap")) {
            continue;
        }
        let file = setting.id().trim_end_matches('/').replace('/', "-") + ".svg";
        std::fs::write(folder.join(&file), draw(&setting.title(), &rows))?;
        files.push(file);
    }
    Ok(files)
}

/// What differs, in the order of its first row.
fn in_order<'r>(rows: &[&'r Row], of: impl Fn(&'r Row) -> &'r str) -> Vec<&'r str> {
    rows.iter().fold(Vec::new(), |mut found, row| {
        if !found.contains(&of(row)) {
            found.push(of(row));
        }
        found
    })
}

fn draw(title: &str, rows: &[&Row]) -> String {
    let (ops, names) = (in_order(rows, |row| &row.op), in_order(rows, |row| &row.name));
    let all = || rows.iter().map(|row| row.timing.ns.max(0.1));
    let least = all().fold(f64::MAX, f64::min).log10().floor();
    let most = all().fold(0.1, f64::max).log10().ceil().max(least + 1.0);
    let x = |ns: f64| LEFT + (ns.max(0.1).log10() - least) / (most - least) * (RIGHT - LEFT);
    let top = 58.0 + 16.0 * names.len().div_ceil(5) as f64;
    let group = BAR * names.len() as f64 + GAP;
    let bottom = top + group * ops.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        bottom + 26.0
    );
    let mut text = |x: f64, y: f64, anchor: &str, size: u32, text: &str| {
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>"
        );
    };
    text(10.0, 22.0, "start", 15, &format!("{title}: ns an operation (less is better)"));
    let legend = |at: usize| (LEFT + (at % 5) as f64 * 150.0, 44.0 + (at / 5) as f64 * 16.0);
    for (at, name) in names.iter().enumerate() {
        let (x, y) = legend(at);
        text(x + 15.0, y, "start", 12, name);
    }
    for (at, op) in ops.iter().enumerate() {
        let middle = top + group * at as f64 + (group - GAP) / 2.0 + 4.0;
        text(LEFT - 8.0, middle, "end", 12, op);
    }
    for power in least as i32..=most as i32 {
        let ns = 10f64.powi(power);
        text(x(ns), bottom + 16.0, "middle", 12, &format!("{ns}"));
    }
    for row in rows {
        let [op, name] = [(&ops, &row.op), (&names, &row.name)]
            .map(|(all, one)| all.iter().position(|other| other == one).unwrap_or(0));
        let y = top + group * op as f64 + BAR * name as f64;
        let ns = row.timing.ns;
        let digits = if ns < 99.95 { 1 } else { 0 };
        text(x(ns) + 3.0, y + 9.0, "start", 9, &format!("{ns:.digits$}"));
    }
    let mut shape = |x: f64, y: f64, width: f64, height: f64, colour: &str| {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    };
    for power in least as i32..=most as i32 {
        shape(x(10f64.powi(power)), top - 4.0, 0.5, bottom - top + 4.0, "#bbbbbb");
    }
    for (at, colour) in COLOURS.iter().cycle().take(names.len()).enumerate() {
        let (x, y) = legend(at);
        shape(x, y - 9.0, 11.0, 11.0, colour);
    }
    for row in rows {
        let [op, name] = [(&ops, &row.op), (&names, &row.name)]
            .map(|(all, one)| all.iter().position(|other| other == one).unwrap_or(0));
        let y = top + group * op as f64 + BAR * name as f64;
        let width = (x(row.timing.ns) - LEFT).max(0.5);
        shape(LEFT, y, width, BAR - 1.0, COLOURS[name % COLOURS.len()]);
    }
    svg + "</svg>\n"
}
