use plotters::{
    coord::{Shift, ranged1d::SegmentValue},
    prelude::*,
};

use crate::GenerateError;

/// A plot with what it tells.
#[derive(Debug)]
pub(super) struct Figure {
    /// Of its file, without extension.
    pub(super) name: &'static str,
    pub(super) title: String,
    pub(super) caption: String,
    pub(super) chart: Chart,
}

#[derive(Debug)]
pub(super) enum Chart {
    /// One line a series over common places.
    Lines { x_labels: Vec<String>, shaded: Vec<bool>, series: Vec<Series> },
    /// Longest first from the top.
    Bars { unit: &'static str, bars: Vec<Bar> },
}

#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) values: Vec<f64>,
    pub(super) is_planted: bool,
}

#[derive(Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) is_planted: bool,
}

const SIZE: (u32, u32) = (1_000, 420);
const PLANTED: RGBColor = RGBColor(200, 40, 40);
const SHADE: RGBColor = RGBColor(236, 236, 228);
const OTHERS: [RGBColor; 6] =
    [RGBColor(70, 110, 160), RGBColor(110, 150, 90), RGBColor(150, 120, 170), RGBColor(160, 140, 90), RGBColor(90, 150, 160), RGBColor(120, 120, 120)];

impl Figure {
    /// # Errors
    /// When the plot cannot be drawn, which only an empty one can cause.
    pub(super) fn svg(&self) -> Result<String, GenerateError> {
        let mut svg = String::new();
        self.draw(&mut svg).map_err(|reason| GenerateError::Plot { name: self.name, reason: reason.to_string() })?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error + '_>> {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        match &self.chart {
            Chart::Lines { x_labels, shaded, series } => draw_lines(&area, x_labels, shaded, series)?,
            Chart::Bars { unit, bars } => draw_bars(&area, unit, bars)?,
        }
        area.present()?;
        Ok(())
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw_lines(area: &Area<'_>, x_labels: &[String], shaded: &[bool], series: &[Series]) -> Result<(), Box<dyn std::error::Error>> {
    let highest = series.iter().flat_map(|series| &series.values).copied().fold(1.0, f64::max) * 1.06;
    let last = x_labels.len().saturating_sub(1).max(1) as f64;
    let mut chart = ChartBuilder::on(area).margin(12).x_label_area_size(34).y_label_area_size(76).build_cartesian_2d(-0.5..last + 0.5, 0.0..highest)?;
    let shades = shaded.iter().enumerate().filter(|(_, is_shaded)| **is_shaded).map(|(place, _)| place as f64);
    chart.draw_series(shades.map(|place| Rectangle::new([(place - 0.5, 0.0), (place + 0.5, highest)], SHADE.filled())))?;
    let x_label = |place: &f64| x_labels.get(place.round().max(0.0) as usize).cloned().unwrap_or_default();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(13)
        .x_label_formatter(&x_label)
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    for (place, series) in series.iter().enumerate() {
        let colour = if series.is_planted { PLANTED } else { OTHERS[place % OTHERS.len()] };
        let style = colour.stroke_width(if series.is_planted { 2 } else { 1 });
        let points = series.values.iter().enumerate().map(|(place, value)| (place as f64, *value));
        let drawn = chart.draw_series(LineSeries::new(points, style))?;
        drawn.label(series.name.as_str()).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8)).border_style(SHADE).draw()?;
    Ok(())
}

fn draw_bars(area: &Area<'_>, unit: &str, bars: &[Bar]) -> Result<(), Box<dyn std::error::Error>> {
    let highest = bars.iter().map(|bar| bar.value).fold(1e-9, f64::max) * 1.06;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(230)
        .build_cartesian_2d(0.0..highest, (0..bars.len().max(1)).into_segmented())?;
    let place_of = |segment: &SegmentValue<usize>| match segment {
        SegmentValue::Exact(place) | SegmentValue::CenterOf(place) => Some(bars.len().checked_sub(1 + *place)?),
        SegmentValue::Last => None,
    };
    let y_label = |segment: &SegmentValue<usize>| place_of(segment).and_then(|place| bars.get(place)).map(|bar| bar.name.clone()).unwrap_or_default();
    let mesh = &mut chart.configure_mesh();
    mesh.disable_y_mesh()
        .light_line_style(WHITE)
        .x_desc(unit)
        .y_labels(bars.len())
        .y_label_formatter(&y_label)
        .x_label_formatter(&|value| short(*value))
        .draw()?;
    chart.draw_series(bars.iter().rev().enumerate().map(|(place, bar)| {
        let colour = if bar.is_planted { PLANTED } else { OTHERS[0] };
        let mut drawn = Rectangle::new([(0.0, SegmentValue::Exact(place)), (bar.value, SegmentValue::Exact(place + 1))], colour.filled());
        drawn.set_margin(2, 2, 0, 0);
        drawn
    }))?;
    Ok(())
}

/// `1.2k`, `35`, `0.4`.
fn short(value: f64) -> String {
    match value {
        1_000_000.0.. => format!("{:.1}M", value / 1e6),
        1_000.0.. => format!("{:.1}k", value / 1e3),
        10.0.. => format!("{value:.0}"),
        _ => format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}
