//! A small chart for a terminal, in Braille dots: two by four to a character.

/// How many rows of characters a chart has.
const ROWS: usize = 8;

/// Draws values over time: `points` are (time in ms, value), ascending; `columns` characters wide.
/// Empty for fewer than two points or a time span of nothing.
pub fn chart(points: &[(i64, f64)], columns: usize) -> String {
    let finite: Vec<(i64, f64)> = points.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    let (Some(first), Some(last)) = (finite.first(), finite.last()) else { return String::new() };
    if last.0 <= first.0 || columns < 16 {
        return String::new();
    }
    let low = finite.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let high = finite.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    let labels = [short(high), short(low)];
    let margin = labels.iter().map(String::len).max().unwrap_or(0);
    let width = columns.saturating_sub(margin + 2).max(8);

    let mut canvas = Canvas::new(width);
    let span = (last.0 - first.0) as f64;
    let mut before: Option<(usize, usize)> = None;
    for (time, value) in &finite {
        let x = ((time - first.0) as f64 / span * (width * 2 - 1) as f64).round() as usize;
        let height = if high > low { (value - low) / (high - low) } else { 0.5 };
        let y = ((1.0 - height) * (ROWS * 4 - 1) as f64).round() as usize;
        canvas.line(before.unwrap_or((x, y)), (x, y));
        before = Some((x, y));
    }
    let [high_label, low_label] = labels;
    canvas.render(|row| match row {
        0 => format!("{high_label:>margin$} ┤"),
        row if row == ROWS - 1 => format!("{low_label:>margin$} ┤"),
        _ => format!("{:>margin$} │", ""),
    })
}

/// A number for the margin: at most four digits behind the point.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

struct Canvas {
    width: usize,
    cells: Vec<u8>,
}

impl Canvas {
    fn new(width: usize) -> Self {
        Self { width, cells: vec![0; width * ROWS] }
    }

    fn dot(&mut self, x: usize, y: usize) {
        // Unicode numbers the dots 1–3 and 7 down the left side, 4–6 and 8 down the right.
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        if let Some(cell) = self.cells.get_mut((y / 4) * self.width + x / 2) {
            *cell |= BITS[y % 4][x % 2];
        }
    }

    /// The step from one point to the next: along, then a vertical stroke, as a held value looks.
    fn line(&mut self, from: (usize, usize), to: (usize, usize)) {
        let steps = to.0.saturating_sub(from.0).max(1);
        let rise = to.1 as f64 - from.1 as f64;
        let mut before = from.1;
        for step in 0..=steps {
            let y = (from.1 as f64 + rise * step as f64 / steps as f64).round() as usize;
            let x = (from.0 + step).min(to.0);
            for between in before.min(y)..=before.max(y) {
                self.dot(x, between);
            }
            before = y;
        }
    }

    fn render(&self, margin: impl Fn(usize) -> String) -> String {
        let mut out = String::new();
        for (row, cells) in self.cells.chunks(self.width).enumerate() {
            out.push_str(&margin(row));
            let dots: String =
                cells.iter().map(|cell| char::from_u32(0x2800 + u32::from(*cell)).unwrap_or(' ')).collect();
            out.push_str(dots.trim_end_matches('\u{2800}'));
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rising_line_rises_from_the_low_label_to_the_high_one() {
        let points: Vec<(i64, f64)> = (0..100).map(|i| (i * 1000, i as f64)).collect();
        let drawn = chart(&points, 60);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines.len(), ROWS);
        assert!(lines[0].starts_with("99 ┤") && lines[ROWS - 1].starts_with(" 0 ┤"), "{drawn}");
        assert!(lines[0].chars().count() > lines[ROWS - 1].chars().count(), "{drawn}");
        assert!(lines.iter().all(|line| line.chars().count() <= 60));
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(chart(&[], 60), "");
        assert_eq!(chart(&[(1, 1.0)], 60), "");
        assert_eq!(chart(&[(1, f64::NAN), (2, f64::NAN)], 60), "");
        assert_eq!(chart(&[(1, 1.0), (2, 1.0)], 60).lines().count(), ROWS);
    }
}
