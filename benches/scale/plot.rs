//! Plots for the manual, on logarithmic scales.

use std::ops::Range;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plotters::prelude::*;

use crate::table::{Measured, separated};

const SIZE: (u32, u32) = (720, 400);
/// Right of this stands what the colours mean.
const CHART_WIDTH: i32 = 520;
const FONT: &str = "sans-serif";
/// Which the library makes 12 pixels.
const FONT_SIZE: u32 = 15;
/// Of a plot's file.
const MOST_BYTES: usize = 20_000;
const BACKGROUND: RGBColor = WHITE;
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(222, 222, 222);
/// To be told apart with any sight (after Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(150, 110, 0),
    RGBColor(90, 90, 90),
    RGBColor(230, 159, 0),
];

struct Plot<'a> {
    file: &'a str,
    axis: &'a str,
    factor: f64,
    /// Under which name it was measured, and what it is called.
    lines: &'a [(&'a str, &'a str)],
}

const PLOTS: [Plot<'static>; 2] = [
    Plot {
        file: "scale_time.svg",
        axis: "microseconds",
        factor: 1e6,
        lines: &[
            ("compact", "compact"),
            ("check", "check"),
            ("list all", "list all keys"),
            ("open, cold", "open, from the disk"),
            ("open", "open, page cache"),
            ("create", "create_key, durable"),
            ("page, middle", "a page of 25 keys"),
            ("get", "get_key, uncached"),
        ],
    },
    Plot {
        file: "scale_memory.svg",
        axis: "megabytes",
        factor: 1e-6,
        lines: &[
            ("files", "files, after import"),
            ("files, compacted", "files, after compact"),
            ("read: memory", "memory, all keys read"),
            ("compact: memory", "memory, compacting"),
            ("memory", "memory, changing"),
            ("open: memory", "memory, after open"),
        ],
    },
];

/// Writes the plots into `directory`.
pub(crate) fn draw(directory: &Path, counts: &[usize], measured: &Measured) {
    let (Some(&first), Some(&last)) = (counts.first(), counts.last()) else {
        return;
    };
    std::fs::create_dir_all(directory).expect("a directory");
    for plot in &PLOTS {
        let path = directory.join(plot.file);
        plot.draw(&path, first as f64..last as f64, measured)
            .expect("a plot");
        for_rustdoc(&path);
    }
}

/// Beside it the definition with which the manual embeds it.
fn for_rustdoc(path: &Path) {
    let svg = std::fs::read(path).expect("the plot");
    assert!(
        svg.len() <= MOST_BYTES,
        "{} has {} bytes",
        path.display(),
        svg.len()
    );
    let name = path.file_stem().expect("a name").to_string_lossy();
    let text = format!(
        "[plot: {name}]: data:image/svg+xml;base64,{}\n",
        STANDARD.encode(svg)
    );
    std::fs::write(path.with_extension("md"), text).expect("written");
}

impl Plot<'_> {
    fn draw(
        &self,
        path: &Path,
        counts: Range<f64>,
        measured: &Measured,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&BACKGROUND)?;
        let (left, right) = root.split_horizontally(CHART_WIDTH);
        let lines: Vec<Vec<(f64, f64)>> = self
            .lines
            .iter()
            .map(|(name, _)| {
                let points = measured.all(name).into_iter();
                points
                    .map(|(count, value)| (count as f64, value * self.factor))
                    .collect()
            })
            .collect();
        let values = || lines.iter().flatten().map(|(_, value)| *value);
        let lowest = decade(values().fold(f64::MAX, f64::min)).floor();
        let highest = decade(values().fold(f64::MIN_POSITIVE, f64::max)).ceil();
        let heights = 10_f64.powf(lowest)..10_f64.powf(highest);

        let mut chart = ChartBuilder::on(&left)
            .margin(10)
            .margin_top(16)
            .x_label_area_size(40)
            .y_label_area_size(76)
            .build_cartesian_2d(counts.log_scale(), heights.log_scale())?;
        let number = |value: &f64| match *value {
            value if value < 1.0 => format!("{value}"),
            value => separated(value.round() as u64),
        };
        chart
            .configure_mesh()
            .x_desc("keys in the vault")
            .y_desc(self.axis)
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .bold_line_style(GRID)
            .max_light_lines(1)
            .axis_style(INK)
            .label_style((FONT, FONT_SIZE).into_font().color(&INK))
            .draw()?;
        for (line, colour) in lines.iter().zip(COLOURS) {
            let style = colour.stroke_width(2);
            chart.draw_series(LineSeries::new(line.iter().copied(), style))?;
            let dots = line
                .iter()
                .map(|point| Circle::new(*point, 3, colour.filled()));
            chart.draw_series(dots)?;
        }
        for (((_, what), colour), row) in self.lines.iter().zip(COLOURS).zip(1..) {
            let height = 8 + row * 26;
            let line = [(4, height), (24, height)];
            right.draw(&PathElement::new(line, colour.stroke_width(2)))?;
            right.draw(&Circle::new((14, height), 3, colour.filled()))?;
            let style = (FONT, FONT_SIZE).into_font().color(&INK);
            right.draw(&Text::new(*what, (32, height - 7), style))?;
        }
        root.present()?;
        Ok(())
    }
}

fn decade(value: f64) -> f64 {
    value.log10()
}
