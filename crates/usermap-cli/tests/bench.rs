//! `usermap bench`: its three forms of output. What it measures is this machine's, so only that it
//! measured is looked at.

mod common;

use common::Maps;

#[test]
fn rows_ratios_and_plot() {
    let maps = Maps::new();
    let plot = maps.folder().join("plot.svg");
    let (json, code) = maps.json(&format!("bench --plot {}", plot.display()));
    assert_eq!(code, 0);
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 26);
    let svg = std::fs::read_to_string(plot).unwrap();
    for row in rows {
        let time = |name: &str| row[name].as_f64();
        let usermap = time("usermap_ns").unwrap();
        assert!(usermap > 0.0 && time("limit_ns").unwrap() > 0.0, "{row}");
        assert_eq!(time("kernel_ns").is_some(), time("kernel_ratio").is_some(), "{row}");
        if let Some(kernel) = time("kernel_ns") {
            assert!((kernel / usermap / time("kernel_ratio").unwrap() - 1.0).abs() < 0.1, "{row}");
        }
        assert!(svg.contains(row["operation"].as_str().unwrap()), "{row}");
    }
    let kernel = rows.iter().any(|row| row["kernel_ns"].is_number());
    assert_ne!(kernel, json["no_kernel"].is_string(), "the kernel's, or why not");
    assert_eq!(maps.folder().read_dir().unwrap().count(), 1, "maps are left");
}

#[test]
fn operands_and_options_that_do_not_fit() {
    let maps = Maps::new();
    maps.fails("bench fast", 255, "unknown operand 'fast'");
    maps.fails("map show --plot x.svg", 255, "option '--plot' is one of 'usermap bench'");
    maps.fails("bench --pcap x", 255, "option '--pcap' is one of 'usermap prog'");
    let rest =
        maps.fails("bench --plot /nowhere/plot.svg", 255, "writing the plot /nowhere/plot.svg");
    assert!(rest.contains("No such file"), "{rest}");
}
