//! The rows as a plot (SVG): bars on a logarithmic scale, three to a row.

use super::Row;
use plotters::prelude::*;
use std::path::Path;

const WIDTH: u32 = 1000;
const ROW: u32 = 42;
const HEAD: u32 = 170;

/// How far from its row's middle a bar's edges are.
const BARS: [(f64, f64); 3] = [(0.16, 0.40), (-0.12, 0.12), (-0.40, -0.16)];

/// Writes the plot to a file.
pub fn write(file: &Path, rows: &[Row]) -> Result<(), String> {
    let mut svg = String::new();
    draw(&mut svg, rows).map_err(|error| error.to_string())?;
    std::fs::write(file, svg).map_err(|error| error.to_string())
}

fn draw(svg: &mut String, rows: &[Row]) -> Result<(), Box<dyn std::error::Error>> {
    let series = [("usermap", BLUE), ("the kernel's map, by bpf(2)", RED), ("the limit", BLACK)];
    let times = |row: &Row| [Some(row.usermap), row.kernel, Some(row.limit)];
    let all = || rows.iter().flat_map(times).flatten();
    let least = all().fold(1.0, f64::min) / 2.0;
    let most = all().fold(10.0, f64::max) * 2.0;
    let root = SVGBackend::with_string(svg, (WIDTH, HEAD + ROW * rows.len() as u32));
    let root = root.into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Nanoseconds an operation (less is better)", ("sans-serif", 20))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(330)
        .build_cartesian_2d((least..most).log_scale(), 0.5..rows.len() as f64 + 2.1)?;
    // Row 1 is the lowest; above the highest there is room for the legend.
    let name = |place: &f64| {
        let from_below = place.round() as usize;
        let row = rows.len().checked_sub(from_below).and_then(|at| rows.get(at));
        row.filter(|_| (place - place.round()).abs() < 1e-9).map_or(String::new(), Row::name)
    };
    chart
        .configure_mesh()
        .y_labels(rows.len() + 3)
        .y_label_formatter(&name)
        .x_label_formatter(&|time| format!("{time}"))
        .disable_y_mesh()
        .draw()?;
    for (number, (label, colour)) in series.into_iter().enumerate() {
        let (low, high) = BARS[number];
        let bars = rows.iter().rev().enumerate().filter_map(|(at, row)| {
            let (middle, time) = ((at + 1) as f64, times(row)[number]?);
            let corners = [(least, middle + low), (time, middle + high)];
            Some(Rectangle::new(corners, colour.filled()))
        });
        chart
            .draw_series(bars)?
            .label(label)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_named_and_has_its_bars() {
        let row = |operation, kernel| Row {
            kind: "hash",
            entries: 1000,
            threads: 1,
            operation,
            usermap: 9.0,
            kernel,
            limit: 1.5,
        };
        let mut svg = String::new();
        draw(&mut svg, &[row("lookup", Some(400.0)), row("inc", None)]).unwrap();
        assert!(svg.contains("hash of 1k: lookup") && svg.contains("hash of 1k: inc"), "{svg}");
        let red = svg.matches("fill=\"#FF0000\"").count();
        let blue = svg.matches("fill=\"#0000FF\"").count();
        assert_eq!(red + 1, blue, "one row without the kernel: {svg}");
    }
}
