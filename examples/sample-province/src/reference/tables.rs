use std::path::Path;

use super::{PROVINCE, table};
use crate::{FileTotal, GenerateError, city::TAXONOMY_VERSION, feeds, portal, public, ticket_text, world::World};

pub(super) fn write(world: &World, out: &Path) -> Result<Vec<FileTotal>, GenerateError> {
    let catalogue = &world.catalogue;
    Ok(vec![
        table(world, out, &feeds::REF_CITY, cities())?,
        table(
            world,
            out,
            &feeds::REF_CHANNEL,
            catalogue.channels.iter().map(|it| format!("{},{},{},{},{}", it.id, it.name_zh, it.family, it.kind, it.cost_fen)),
        )?,
        table(
            world,
            out,
            &feeds::REF_OPERATION,
            catalogue.operations.iter().map(|it| format!("{},{},{},{},{}", it.id, it.name_zh, it.kind, it.standardised, it.risk)),
        )?,
        table(world, out, &feeds::REF_CHANNEL_OFFER, offers(world))?,
        table(world, out, &feeds::REF_SERVICE_PROVIDER, catalogue.providers.iter().map(|it| format!("{},{},{}", it.id, it.name_zh, it.grade)))?,
        table(world, out, &feeds::REF_TAXONOMY, taxonomy())?,
        table(world, out, &feeds::REF_DEVICE, devices())?,
        table(world, out, &feeds::REF_FLOW, flows())?,
        table(world, out, &feeds::REF_CAMPAIGN, campaigns(world))?,
    ])
}

fn cities() -> impl Iterator<Item = String> {
    let province = format!("{PROVINCE},{PROVINCE},广东省,Guangdong,23.1322,113.2665");
    let cities = public::cities().iter().map(|it| format!("{},{PROVINCE},{},{},{:.4},{:.4}", it.code, it.name_zh, it.name_en, it.latitude, it.longitude));
    std::iter::once(province).chain(cities)
}

/// People do everything; machines what needs no person; a text message or a menu nothing that asks for a form.
fn offers(world: &World) -> impl Iterator<Item = String> {
    let catalogue = &world.catalogue;
    catalogue.channels.iter().flat_map(move |channel| {
        catalogue.operations.iter().map(move |operation| {
            let is_narrow = matches!(channel.kind, "sms" | "ussd" | "stk" | "ivr");
            let available = match channel.family {
                "electronic" if is_narrow => !operation.manual_only && !matches!(operation.id, "tariff_change" | "itemised" | "points" | "complaint"),
                "electronic" => !operation.manual_only,
                _ => channel.id != "hotline" || !operation.manual_only,
            };
            format!("{},{},{}", channel.id, operation.id, u8::from(available))
        })
    })
}

/// Whoever answers for a business acts on all of its codes.
fn taxonomy() -> impl Iterator<Item = String> {
    ticket_text::taxonomy().iter().map(|node| {
        let owner = match node.code.as_bytes().first() {
            Some(b'V') => "data-services",
            Some(b'P') => "marketing",
            Some(b'N') => "network",
            _ => "customer-service",
        };
        format!("{},{TAXONOMY_VERSION},{},{},{},{},{owner}", node.code, node.parent.unwrap_or(""), node.level, node.name_zh, node.name_en)
    })
}

fn devices() -> impl Iterator<Item = String> {
    public::devices().iter().map(|it| {
        let [mms, wap, java, streaming] = [it.mms, it.wap, it.java, it.streaming].map(u8::from);
        format!("{},{},{},{},{},{mms},{wap},{java},{streaming}", it.model, it.brand, it.os, it.screen_width, it.screen_height)
    })
}

fn flows() -> impl Iterator<Item = String> {
    portal::flows()
        .iter()
        .map(|it| format!("{},{},{},{},{},{},{},{}", it.flow_id, it.version, it.step, it.operation_id, it.name_zh, it.page, u8::from(it.decides), it.owner))
}

fn campaigns(world: &World) -> impl Iterator<Item = String> {
    include_str!("../../data/campaigns.csv").lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let [id, name_zh, stage, starts, months, goal, budget] = *fields.as_slice() else { return None };
        let starts: i32 = starts.parse().ok()?;
        let last = starts + months.parse::<i32>().ok()? - 1;
        Some(format!("{id},{name_zh},{stage},{},{},{goal},{budget}", world.month(starts).first_day(), world.month(last).last_day()))
    })
}
