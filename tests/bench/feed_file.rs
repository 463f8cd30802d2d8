use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// A feed into `usage` in one of the ways in which platforms write, as a contract and a writer of its lines.
pub(crate) struct Form {
    pub(crate) name: &'static str,
    contract: &'static str,
    write: fn(&mut dyn Write, u64) -> io::Result<()>,
}

/// What every contract here maps, after its own first lines.
const COLUMNS: &str = "columns:
  - {column: customer_id, from: customer, rule: integer}
  - {column: product_id, from: product, rule: text}
  - {column: day, from: day, rule: compact_day}
  - {column: source_feed, rule: constant, value: bench.usage}
  - {column: events, from: times, rule: integer}
  - {column: quantity, from: items, rule: integer}
  - {column: seconds, from: duration, rule: integer}
  - {column: kb, from: traffic, rule: integer}
  - {column: fee_fen, from: fee, rule: yuan}
  - {column: ok_events, from: succeeded, rule: integer}
  - {column: failed_events, from: failed, rule: integer}
";

const FIELDS: &str = "separator: \"|\"\nfields: [customer, product, day, times, items, duration, traffic, fee, succeeded, failed]\n";

impl Form {
    pub(crate) const SEPARATED: Form = Form { name: "bench.usage", contract: "format: separated\n", write: separated };
    /// A row each customer, product and day: what comes twice is dropped.
    pub(crate) const KEYED: Form = Form { name: "bench.keyed", contract: "format: separated\ndrops_duplicates: true\n", write: keyed };
    pub(crate) const GB18030: Form = Form { name: "bench.gb18030", contract: "format: separated\nencoding: gb18030\n", write: separated_in_gb18030 };
    pub(crate) const JSON: Form = Form { name: "bench.json", contract: "format: json_lines\n", write: json };

    pub(crate) fn contract(&self) -> String {
        let Form { name, contract, .. } = self;
        let fields = if contract.contains("separated") { FIELDS } else { "" };
        format!(
            "name: {name}\nplatform: bench\ndataset: usage\nfile_name: \"{name}.{{city}}.{{period}}.txt\"\nbad_rows_permille_max: 1\n{contract}{fields}{COLUMNS}"
        )
    }

    /// Writes so many rows of a city, the same each time, and says where and how many bytes.
    pub(crate) fn file(&self, folder: &Path, city: &str, rows: u64) -> io::Result<(PathBuf, u64)> {
        let path = folder.join(format!("{}.{city}.202610.txt", self.name));
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        for row in 0..rows {
            (self.write)(&mut file, row)?;
        }
        file.flush()?;
        Ok((path.clone(), path.metadata()?.len()))
    }
}

/// Values of one row, as unlike each other as use is: customers and amounts vary, products and days repeat.
struct Row {
    customer: u64,
    product: u64,
    day: u64,
    times: u64,
    items: u64,
    seconds: u64,
    kb: u64,
    fee_fen: u64,
    failed: u64,
}

impl Row {
    fn of(row: u64) -> Row {
        let mut mixed = row.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^= mixed >> 32;
        let draw = |shift: u64, below: u64| (mixed >> shift) % below;
        let times = 1 + draw(0, 40);
        Row {
            customer: 30_000_000 + row / 3,
            product: row % 3 * 13 + draw(40, 13),
            day: 1 + draw(8, 31),
            times,
            items: draw(12, 900),
            seconds: draw(20, 7_200),
            kb: draw(24, 400_000),
            fee_fen: draw(30, 3_000),
            failed: times / 20,
        }
    }

    fn fee(&self) -> (u64, u64) {
        (self.fee_fen / 100, self.fee_fen % 100)
    }
}

fn separated(to: &mut dyn Write, row: u64) -> io::Result<()> {
    let row = Row::of(row);
    let (yuan, fen) = row.fee();
    let Row { customer, product, day, times, items, seconds, kb, failed, .. } = row;
    writeln!(to, "{customer}|P{product:04}|202610{day:02}|{times}|{items}|{seconds}|{kb}|{yuan}.{fen:02}|{}|{failed}", times - failed)
}

/// Each row has a customer of its own.
fn keyed(to: &mut dyn Write, row: u64) -> io::Result<()> {
    let (yuan, fen) = Row::of(row).fee();
    let Row { product, day, times, items, seconds, kb, failed, .. } = Row::of(row);
    writeln!(to, "{}|P{product:04}|202610{day:02}|{times}|{items}|{seconds}|{kb}|{yuan}.{fen:02}|{}|{failed}", 1_000_000_000 + row, times - failed)
}

/// The product's code in Chinese, as BOSS would have it: 产品, `b2fa c6b7`.
fn separated_in_gb18030(to: &mut dyn Write, row: u64) -> io::Result<()> {
    let row = Row::of(row);
    let (yuan, fen) = row.fee();
    let Row { customer, product, day, times, items, seconds, kb, failed, .. } = row;
    write!(to, "{customer}|")?;
    to.write_all(&[0xb2, 0xfa, 0xc6, 0xb7])?;
    writeln!(to, "{product:04}|202610{day:02}|{times}|{items}|{seconds}|{kb}|{yuan}.{fen:02}|{}|{failed}", times - failed)
}

fn json(to: &mut dyn Write, row: u64) -> io::Result<()> {
    let row = Row::of(row);
    let (yuan, fen) = row.fee();
    let Row { customer, product, day, times, items, seconds, kb, failed, .. } = row;
    writeln!(
        to,
        r#"{{"customer":{customer},"product":"P{product:04}","day":"202610{day:02}","times":{times},"items":{items},"duration":{seconds},"traffic":{kb},"fee":"{yuan}.{fen:02}","succeeded":{},"failed":{failed}}}"#,
        times - failed
    )
}
