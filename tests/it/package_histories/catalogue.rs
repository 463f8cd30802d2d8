//! Packages, components and tariffs as a province might have them, with all that a valuation can stumble over.

use backplane_tests::{Columns, Kernel};
use sample_province::Draw;

use super::{APRIL_10, FIRSTS, LONG_AGO};

const PROVINCE: &str = "440000";
const PACKAGES: u32 = 12;
/// In which column of use each product is mostly counted.
const MEASURES: [&str; 5] = ["events", "quantity", "seconds", "kb", "events"];
const ROLES: [&str; 4] = ["paid", "paid", "gift", "voice"];

/// The reference rows that the histories of some cities are about. What names them begins with a prefix, so that there may be several catalogues.
pub(super) struct Catalogue {
    prefix: &'static str,
    components: Vec<Component>,
    tariffs: Vec<Tariff>,
}

struct Component {
    component_id: String,
    validity: Validity,
    package_id: String,
    product_id: String,
    role: &'static str,
    list_price_fen: i64,
    entitlement: Option<i64>,
    measure: &'static str,
}

struct Tariff {
    tariff_id: String,
    validity: Validity,
    permille: i64,
}

/// The first day, and the first one after it.
type Validity = (i32, Option<i32>);

impl Catalogue {
    pub(super) fn random(draw: &mut Draw, prefix: &'static str) -> Catalogue {
        let mut catalogue = Catalogue { prefix, components: Vec::new(), tariffs: Vec::new() };
        // The first package has no components.
        for package in 1..PACKAGES {
            for _ in 0..*draw.pick(&[1, 1, 2, 3, 3, 4, 5]) {
                catalogue.add_component(draw, package);
            }
        }
        catalogue.add_tariffs(draw);
        // One component of the planted package is never used, one is voice, and one has terms only since the 10th of April, as has the planted tariff.
        catalogue.components.extend([
            catalogue.planted("L1", (APRIL_10, None), "X0", "paid", 1_000),
            catalogue.planted("L2", (LONG_AGO, None), "never", "paid", 1_000),
            catalogue.planted("L3", (LONG_AGO, None), "X4", "voice", 2_000),
        ]);
        catalogue.tariffs.push(Tariff { tariff_id: catalogue.tariff("TL"), validity: (APRIL_10, None), permille: 0 });
        catalogue
    }

    /// What is corrected later: the terms since the 10th of April ended on the 20th, and others followed. On no 1st of a month are there more than before, or fewer.
    pub(super) fn late(&self) -> Catalogue {
        let (before, after) = ((APRIL_10, Some(APRIL_10 + 10)), (APRIL_10 + 10, None));
        let tariff = |validity, permille| Tariff { tariff_id: self.tariff("TL"), validity, permille };
        Catalogue {
            prefix: self.prefix,
            components: vec![self.planted("L1", before, "X0", "paid", 1_000), self.planted("L1", after, "X0", "paid", 3_000)],
            tariffs: vec![tariff(before, 0), tariff(after, 500)],
        }
    }

    pub(super) fn some_package(&self, draw: &mut Draw) -> String {
        self.package(draw.below(PACKAGES))
    }

    pub(super) fn package_without_components(&self) -> String {
        self.package(0)
    }

    pub(super) fn planted_package(&self) -> String {
        format!("{}PL", self.prefix)
    }

    fn package(&self, number: u32) -> String {
        format!("{}{number:02}", self.prefix)
    }

    /// What customers use.
    pub(super) fn products(&self) -> impl Iterator<Item = String> {
        (0..MEASURES.len()).map(|product| self.product(product))
    }

    fn product(&self, number: usize) -> String {
        format!("{}X{number}", self.prefix)
    }

    /// T0 to T3, and T5, which gives half; of T9 there are no terms.
    pub(super) fn tariff(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn add_component(&mut self, draw: &mut Draw, package: u32) {
        // As text C10 comes before C9, and c1 and k2 after both.
        let component_id = format!("{}{}{}", self.prefix, draw.pick(&["C", "c", "k"]), self.components.len());
        let change = *draw.pick(&FIRSTS) + *draw.pick(&[0, 9, 14]);
        let ended = change + *draw.pick(&[5, 20, 60]);
        let other = 1 + draw.below(PACKAGES - 1);
        let terms: Vec<(Validity, u32)> = match draw.weighted(&[50, 15, 10, 5, 8, 6, 3, 3]) {
            0 => vec![((LONG_AGO, None), package)],
            // A new price on the 1st, the 10th or the 15th.
            1 => vec![((LONG_AGO, Some(change)), package), ((change, None), package)],
            // Terms that overlap, for ever or for a time.
            2 => vec![((LONG_AGO, None), package), ((change, None), package)],
            3 => vec![((LONG_AGO, None), package), ((change, Some(ended)), package)],
            // It ends, or it begins.
            4 => vec![((LONG_AGO, Some(change)), package)],
            5 => vec![((change, None), package)],
            // It goes to another package, which its old terms may not know.
            6 => vec![((LONG_AGO, Some(change)), package), ((change, None), other)],
            _ => vec![((LONG_AGO, None), package), ((change, None), other)],
        };
        for (validity, package) in terms {
            let product = draw.below(MEASURES.len() as u32) as usize;
            let price = *draw.pick(&[0, 1, 7, 100, 333, 500, 800, 999, 1_500, 2_417]);
            self.components.push(Component {
                component_id: component_id.clone(),
                validity,
                package_id: self.package(package),
                product_id: self.product(product),
                role: draw.pick::<&str>(&ROLES),
                // What the second package has costs nothing.
                list_price_fen: if package == 1 { 0 } else { price },
                entitlement: *draw.pick(&[None, Some(0), Some(1), Some(3), Some(8), Some(10), Some(20), Some(37), Some(60)]),
                measure: if draw.chance(0.85) { MEASURES[product] } else { "kb" },
            });
        }
    }

    /// T1 changes on the 10th of March; the terms of T2 overlap; T3 has none before April.
    fn add_tariffs(&mut self, draw: &mut Draw) {
        let (february, march_10, april) = (FIRSTS[1], FIRSTS[2] + 9, FIRSTS[3]);
        let terms = [
            ("T0", (LONG_AGO, None), Some(0)),
            ("T1", (LONG_AGO, Some(march_10)), None),
            ("T1", (march_10, None), None),
            ("T2", (LONG_AGO, None), None),
            ("T2", (february, Some(april + 1)), None),
            ("T3", (april, None), None),
            ("T5", (LONG_AGO, None), Some(500)),
        ];
        for (name, validity, permille) in terms {
            let drawn = *draw.pick(&[0, 5, 50, 125, 300, 500, 1_000]);
            self.tariffs.push(Tariff { tariff_id: self.tariff(name), validity, permille: permille.unwrap_or(drawn) });
        }
    }

    fn planted(&self, component_id: &str, validity: Validity, product: &str, role: &'static str, list_price_fen: i64) -> Component {
        Component {
            component_id: format!("{}{component_id}", self.prefix),
            validity,
            package_id: self.planted_package(),
            product_id: format!("{}{product}", self.prefix),
            role,
            list_price_fen,
            entitlement: None,
            measure: "events",
        }
    }

    /// What a city makes of some packages: of one from April on, of one until March, of one for a time in between. Before and after, they are what the province makes of them.
    pub(super) async fn append_of_city(&self, kernel: &Kernel, city: &str) {
        let terms = [(2, (FIRSTS[3], None), 700), (3, (LONG_AGO, Some(FIRSTS[2])), 1_300), (4, (FIRSTS[1] + 9, Some(APRIL_10)), 0)];
        let own = |(package, validity, price): (u32, Validity, i64)| Component {
            component_id: format!("{}O{package}-{city}", self.prefix),
            validity,
            package_id: self.package(package),
            product_id: self.product(0),
            role: "paid",
            list_price_fen: price,
            entitlement: Some(10),
            measure: "events",
        };
        append_components(kernel, city, &format!("{}-own", self.prefix), &terms.map(own)).await;
    }

    pub(super) async fn append(&self, kernel: &Kernel, key: &str) {
        append_components(kernel, PROVINCE, &format!("{}-components-{key}", self.prefix), &self.components).await;
        let province = kernel.call.in_city(PROVINCE);
        let tariffs = Columns::of(&self.tariffs)
            .text("tariff_id", |row| &row.tariff_id)
            .day("valid_from", |row| row.validity.0)
            .optional_day("valid_to", |row| row.validity.1)
            .text("name_zh", |_| "资费")
            .integer("monthly_fee_fen", |_| 0)
            .integer("ordinary_voice_discount_permille", |row| row.permille);
        province.append("tariff", &format!("{}-tariffs-{key}", self.prefix), tariffs).await.unwrap();
    }
}

async fn append_components(kernel: &Kernel, city: &str, key: &str, components: &[Component]) {
    let columns = Columns::of(components)
        .text("component_id", |row| &row.component_id)
        .day("valid_from", |row| row.validity.0)
        .optional_day("valid_to", |row| row.validity.1)
        .text("package_id", |row| &row.package_id)
        .text("product_id", |row| &row.product_id)
        .text("role", |row| row.role)
        .integer("list_price_fen", |row| row.list_price_fen)
        .optional_integer("entitlement", |row| row.entitlement)
        .text("measure", |row| row.measure);
    kernel.call.in_city(city).append("package_component", key, columns).await.unwrap();
}
