use super::{agents, complaints, delivery, dwell, figure::Chart, index, kpi_drop};
use crate::{Options, generate};

fn planted_leads(chart: &Chart) -> bool {
    match chart {
        Chart::Bars { bars, .. } => bars.first().is_some_and(|bar| bar.is_planted),
        Chart::Lines { series, .. } => {
            let peak = |is_planted: bool| {
                series.iter().filter(|series| series.is_planted == is_planted).flat_map(|series| &series.values).copied().fold(0.0, f64::max)
            };
            peak(true) > peak(false)
        }
    }
}

#[test]
fn the_files_themselves_show_what_is_planted() {
    let out = tempfile::tempdir().expect("a folder");
    let options = Options { customers: 4_000, ..Options::default() };
    generate(&options, out.path(), &mut |_| {}).expect("the province is written");
    for figure in [complaints::figure(out.path()), agents::figure(out.path()), dwell::figure(out.path()), delivery::figure(out.path())] {
        let figure = figure.expect("the files can be read back");
        assert!(planted_leads(&figure.chart), "{}: {:?}", figure.name, figure.chart);
    }
    let Chart::Lines { shaded, series, .. } = kpi_drop::figure(out.path()).expect("the files can be read back").chart else {
        panic!("the drop is a line");
    };
    let planted = series.iter().find(|series| series.is_planted).expect("one brand is the driver");
    let mean = |during: bool| {
        let values = planted.values.iter().zip(&shaded).filter(|(_, shaded)| **shaded == during).map(|(value, _)| *value).collect::<Vec<_>>();
        values.iter().sum::<f64>() / values.len() as f64
    };
    assert!(mean(true) < mean(false) / 2.0, "{} against {}", mean(true), mean(false));

    index::write(out.path()).expect("the report is written");
    let page = std::fs::read_to_string(out.path().join("report/index.html")).expect("the page is there");
    assert_eq!(page.matches("<img").count(), 8);
    assert!(std::fs::read_to_string(out.path().join("report/dwell.svg")).expect("the plot is there").starts_with("<svg"));
}
