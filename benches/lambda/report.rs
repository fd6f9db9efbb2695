//! The tables of the figures: target, measured value, met or not; and what each is computed from.

use std::time::Duration;

/// A row. Its target is met if the figure isn't above it.
pub struct Row {
    pub what: &'static str,
    pub target: f64,
    pub figure: f64,
    /// The ratios to the lean hello-world and to the limit, if the figure is the ratio to
    /// cargo-lambda's template.
    pub ratios: Option<[f64; 2]>,
    pub unit: &'static str,
    pub detail: String,
}

pub fn print(rows: &[Row]) {
    println!("| Figure | Target | Measured | To the lean hello-world | To the limit | Met |");
    println!("|---|---|---|---|---|---|");
    for Row {
        what,
        target,
        figure,
        ratios,
        unit,
        ..
    } in rows
    {
        let met = if figure <= target { "yes" } else { "**no**" };
        let [lean, limit] = ratios.map_or_else(Default::default, |ratios| {
            ratios.map(|ratio| format!("{ratio:.2}{unit}"))
        });
        println!("| {what} | {target}{unit} | {figure:.2}{unit} | {lean} | {limit} | {met} |");
    }
    println!("\n| Figure | Parts; times are the fastest, the median and p99 |");
    println!("|---|---|");
    for Row { what, detail, .. } in rows.iter().filter(|row| !row.detail.is_empty()) {
        println!("| {what} | {detail} |");
    }
}

/// Repeated measurements of one thing.
#[derive(Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn push(&mut self, time: Duration) {
        let place = self.0.partition_point(|other| *other < time);
        self.0.insert(place, time);
    }

    pub fn p50(&self) -> f64 {
        self.percentile(50)
    }

    /// In milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let place = (self.0.len() * percent / 100).min(self.0.len() - 1);
        self.0[place].as_secs_f64() * 1000.0
    }

    /// The fastest, p50 and p99, as text.
    pub fn text(&self) -> String {
        format!(
            "{:.3}, {:.3}, {:.3} ms",
            self.percentile(0),
            self.p50(),
            self.percentile(99)
        )
    }
}
