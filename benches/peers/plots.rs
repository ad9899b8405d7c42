//! The two plots of the manual.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plotters::prelude::{BLACK, IntoFont, RGBColor, SVGBackend, TextStyle, WHITE};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters_backend::DrawingBackend;

use crate::contest::{Outcome, Peer};
use crate::durable::{Inserts, Kind};

const SIZE: (u32, u32) = (720, 400);
const WIDTH: i32 = 720;
const GREY: RGBColor = RGBColor(0xd8, 0xd8, 0xd8);

/// A canvas in SVG with little on it.
struct Canvas<'a>(SVGBackend<'a>);

impl Canvas<'_> {
    fn rectangle(&mut self, from: (i32, i32), to: (i32, i32), colour: RGBColor) {
        (self.0.draw_rect(from, to, &colour, true)).expect("in memory");
    }

    fn line(&mut self, from: (i32, i32), to: (i32, i32)) {
        self.0.draw_line(from, to, &GREY).expect("in memory");
    }

    fn text(&mut self, text: &str, size: i32, at: (i32, i32), across: HPos, down: VPos) {
        // The backend writes a size that is smaller by this.
        let style = TextStyle::from(("sans-serif", f64::from(size) * 1.24).into_font())
            .color(&BLACK)
            .pos(Pos::new(across, down));
        self.0.draw_text(text, &style, at).expect("in memory");
    }
}

fn draw(on: impl FnOnce(&mut Canvas<'_>)) -> String {
    let mut svg = String::new();
    let mut canvas = Canvas(SVGBackend::with_string(&mut svg, SIZE));
    // A page with a dark theme shows it, too.
    canvas.rectangle((0, 0), (WIDTH, 400), WHITE);
    on(&mut canvas);
    canvas.0.present().expect("in memory");
    drop(canvas);
    svg
}

/// The plot for readers of the repository, and in the form in which rustdoc takes it.
pub(crate) fn write(directory: &Path, name: &str, svg: &str) {
    fs::create_dir_all(directory).expect("a directory");
    fs::write(directory.join(format!("{name}.svg")), svg).expect("written");
    let data = STANDARD.encode(svg);
    let definition = format!("[plot: {name}]: data:image/svg+xml;base64,{data}\n");
    fs::write(directory.join(format!("{name}.md")), definition).expect("written");
}

fn colour(peer: Peer) -> RGBColor {
    match peer {
        Peer::Strongroom => RGBColor(0x1f, 0x5f, 0xa8),
        Peer::StrongroomAwsLc => RGBColor(0x6a, 0xa5, 0xde),
        Peer::RustCrypto => RGBColor(0xb8, 0x73, 0x2e),
        Peer::AwsLc => RGBColor(0xe3, 0xa8, 0x57),
        Peer::OpenSsl => RGBColor(0x5b, 0x8c, 0x5a),
        Peer::Secp256k1 => RGBColor(0xa3, 0xc4, 0x8f),
        Peer::Tink => RGBColor(0x8a, 0x6f, 0xa8),
    }
}

fn rounded(value: f64) -> i32 {
    value.round() as i32
}

/// How long each operation takes each peer.
pub(crate) fn operations(outcomes: &[Outcome]) -> String {
    let (left, right, top, bottom) = (44, WIDTH - 8, 62, 362);
    let all = || outcomes.iter().flat_map(|outcome| &outcome.taken);
    let low = all().map(|taken| taken.median).fold(f64::MAX, f64::min) / 2.0;
    let high = all().map(|taken| taken.median).fold(0.0, f64::max) * 1.3;
    let height = |micros: f64| {
        let part = (micros / low).ln() / (high / low).ln();
        bottom - rounded(part * f64::from(bottom - top))
    };
    draw(|canvas| {
        let title = "One call, microseconds, logarithmic (less is better)";
        canvas.text(title, 15, (WIDTH / 2, 8), HPos::Center, VPos::Top);
        let mut at = 14;
        for peer in Peer::ALL {
            canvas.rectangle((at, 36), (at + 10, 46), colour(peer));
            canvas.text(peer.label(), 13, (at + 14, 41), HPos::Left, VPos::Center);
            at += 26 + rounded(7.0 * peer.label().len() as f64);
        }
        for decade in -1..=5 {
            let micros = 10_f64.powi(decade);
            if (low..=high).contains(&micros) {
                let level = height(micros);
                canvas.line((left, level), (right, level));
                canvas.text(
                    &micros.to_string(),
                    12,
                    (left - 4, level),
                    HPos::Right,
                    VPos::Center,
                );
            }
        }
        let group = f64::from(right - left) / outcomes.len() as f64;
        for (place, outcome) in outcomes.iter().enumerate() {
            let middle = f64::from(left) + group * (place as f64 + 0.5);
            let present = Peer::ALL.iter().filter_map(|peer| outcome.of(*peer));
            let bar = 8;
            let mut at =
                rounded(middle) - bar * i32::try_from(outcome.taken.len()).unwrap_or(0) / 2;
            for taken in present {
                let top = height(taken.median);
                canvas.rectangle((at, top), (at + bar - 1, bottom), colour(taken.peer));
                at += bar;
            }
            let short = outcome.name.split(',').next().unwrap_or_default();
            let (verb, algorithm) = short.split_once(' ').unwrap_or((short, ""));
            let at = rounded(middle);
            canvas.text(verb, 12, (at, bottom + 6), HPos::Center, VPos::Top);
            let size = match algorithm.len() {
                ..7 => 12,
                7..9 => 11,
                _ => 10,
            };
            canvas.text(algorithm, size, (at, bottom + 20), HPos::Center, VPos::Top);
        }
    })
}

/// How long a durable insert takes, and how many 32 threads make in a second.
pub(crate) fn inserts(inserts: &[Inserts]) -> String {
    let longest = inserts
        .iter()
        .map(|insert| insert.median)
        .fold(0.0, f64::max);
    let rates = inserts.iter().filter_map(|insert| insert.rate);
    let highest = rates.fold(0.0, f64::max);
    let step = 340 / i32::try_from(inserts.len().max(1)).unwrap_or(1);
    draw(|canvas| {
        canvas.text(
            "One durable insert, ms",
            15,
            (210, 8),
            HPos::Left,
            VPos::Top,
        );
        canvas.text("32 threads, inserts/s", 15, (500, 8), HPos::Left, VPos::Top);
        for (place, insert) in (0..).zip(inserts) {
            let top = 44 + place * step;
            let middle = top + (step - 6) / 2;
            let colour = match insert.kind {
                Kind::Disk => RGBColor(0x80, 0x80, 0x80),
                Kind::Vault if insert.label.contains("aws-lc") => colour(Peer::StrongroomAwsLc),
                Kind::Vault => colour(Peer::Strongroom),
                Kind::OwnEngine => colour(Peer::RustCrypto),
                Kind::OtherEngine => colour(Peer::OpenSsl),
            };
            let label = insert.label.replace('`', "");
            canvas.text(&label, 13, (202, middle), HPos::Right, VPos::Center);
            let mut bar = |from: i32, length: f64, text: String| {
                let to = from + rounded(length).max(1);
                canvas.rectangle((from, top), (to, top + step - 6), colour);
                canvas.text(&text, 13, (to + 5, middle), HPos::Left, VPos::Center);
            };
            let millis = format!("{:.2}", insert.median / 1e3);
            bar(210, 230.0 * insert.median / longest, millis);
            if let Some(rate) = insert.rate {
                bar(500, 160.0 * rate / highest, format!("{rate:.0}"));
            }
        }
    })
}
