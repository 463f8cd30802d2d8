use std::path::Path;

use super::{file, table};
use crate::{
    Feed, FileTotal, GenerateError, RowKind,
    catalogue::{Component, Package, Product, Relation, Tariff},
    compact_day, feeds,
    world::World,
};

/// A row that is valid from a month on; its text lacks the two days.
struct Dated {
    from: i32,
    to: Option<i32>,
    text: String,
}

pub(super) fn write(world: &World, out: &Path) -> Result<Vec<FileTotal>, GenerateError> {
    let catalogue = &world.catalogue;
    let packages = catalogue.packages.iter().map(|package| dated(package.sold_from.min(0), None, package_text(world, package)));
    let components = catalogue.packages.iter().flat_map(|package| package.components.iter().map(move |component| (package, component)));
    let components = components.map(|(package, component)| dated(component.from, component.to, component_text(world, package, component)));
    let relations = catalogue.relations.iter().map(|relation| dated(relation.from, relation.to, relation_text(world, relation)));
    let tariffs = catalogue.tariffs.iter().map(|tariff| dated(tariff.from, tariff.to, tariff_text(tariff)));
    let mut files = vec![table(world, out, &feeds::BOSS_PRODUCT, catalogue.products.iter().map(|product| product_row(world, product)))?];
    files.extend(by_month(world, out, &feeds::BOSS_PACKAGE, &packages.collect::<Vec<_>>())?);
    files.extend(by_month(world, out, &feeds::BOSS_COMPONENT, &components.collect::<Vec<_>>())?);
    files.extend(by_month(world, out, &feeds::BOSS_RELATION, &relations.collect::<Vec<_>>())?);
    files.extend(by_month(world, out, &feeds::BOSS_TARIFF, &tariffs.collect::<Vec<_>>())?);
    Ok(files)
}

fn dated(from: i32, to: Option<i32>, text: String) -> Dated {
    Dated { from, to, text }
}

/// The first file has all that is known at the beginning; a later month's has what began in it, and once more what ended.
fn by_month(world: &World, out: &Path, feed: &'static Feed, rows: &[Dated]) -> Result<Vec<FileTotal>, GenerateError> {
    let mut files = Vec::new();
    for month in 0..world.months {
        let mut sent = Vec::new();
        for row in rows {
            let begins = row.from == month || (month == 0 && row.from < 0);
            let ends = row.to == Some(month);
            let from = compact_day(world.month(row.from).first_day());
            if begins {
                sent.push((RowKind::Good, format!("{}|{from}|\\N", row.text)));
            } else if ends {
                let to = compact_day(world.month(month).first_day());
                sent.push((RowKind::Replacing, format!("{}|{from}|{to}", row.text)));
            }
        }
        if !sent.is_empty() {
            files.push(file(out, feed, &world.month(month).period(), &sent)?);
        }
    }
    Ok(files)
}

fn product_row(world: &World, product: &Product) -> String {
    format!(
        "{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|\\N",
        product.id,
        product.name_zh,
        product.platform,
        product.category,
        product.provider.unwrap_or("\\N"),
        product.service_code,
        product.monthly_fee_fen,
        product.unit,
        product.list_price_fen,
        compact_day(world.month(-60).first_day()),
    )
}

fn package_text(world: &World, package: &Package) -> String {
    format!(
        "{}|{}|{}|{}|{}|{}|{}|{}|{}",
        package.id,
        package.name_zh,
        package.kind,
        compact_day(world.month(package.sold_from).first_day()),
        compact_day(world.month(package.sold_to - 1).last_day()),
        package.price_fen,
        package.months,
        package.gift_fen,
        package.gift_months,
    )
}

fn component_text(world: &World, package: &Package, component: &Component) -> String {
    format!(
        "{}|{}|{}|{}|{}|{}|{}",
        component.id,
        package.id,
        world.catalogue.products[component.product].id,
        component.role,
        component.list_price_fen,
        component.entitlement.map_or("\\N".to_owned(), |entitlement| entitlement.to_string()),
        component.measure.code(),
    )
}

fn relation_text(world: &World, relation: &Relation) -> String {
    let packages = &world.catalogue.packages;
    let kind = if relation.exclusive { "0" } else { "1" };
    format!("{}|{}|{kind}|{}", packages[relation.package].id, packages[relation.other].id, relation.reason)
}

fn tariff_text(tariff: &Tariff) -> String {
    format!("{}|{}|{}|{}", tariff.id, tariff.name_zh, tariff.monthly_fee_fen, tariff.voice_discount_permille)
}
