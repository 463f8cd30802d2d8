use std::path::Path;

use super::table;
use crate::{
    FileTotal, GenerateError, feeds, mix,
    places::{self, agent_id, hotline_id, own_stores, star_store_id, star_stores, store_id},
    public::{self, City, districts},
    world::World,
};

/// 77 experience halls, as the operator counted (DOMAIN N22).
const HALLS: u32 = 77;
const ROADS: [&str; 12] = ["人民路", "解放路", "中山路", "建设路", "文明路", "东风路", "新华街", "环城路", "迎宾大道", "朝阳路", "滨江路", "育才路"];
const SIGNS: [&str; 10] = ["通达", "联信", "恒讯", "鸿运", "新视讯", "金信", "易通", "讯捷", "百盛", "天域"];
const SURNAMES: [&str; 15] = ["陈", "李", "黄", "张", "梁", "林", "刘", "吴", "罗", "何", "谢", "邓", "曾", "钟", "郑"];

pub(super) fn write(world: &World, out: &Path) -> Result<Vec<FileTotal>, GenerateError> {
    Ok(vec![table(world, out, &feeds::REF_AGENT, agents())?, table(world, out, &feeds::REF_STORE, stores())?, table(world, out, &feeds::REF_HALL, halls())?])
}

fn agents() -> impl Iterator<Item = String> {
    let dealers = public::cities().iter().flat_map(|city| {
        (1..=places::agents(city)).map(move |number| {
            let name = format!("{}{}通讯店", district(city, number), pick(&SIGNS, city, number));
            format!("{},{},{name},agent,{}", city.code, agent_id(city.code, number), 1 + draw(city, number, 6) % 6)
        })
    });
    let staff = (1..=places::HOTLINE_STAFF).map(|number| {
        let city = &public::cities()[0];
        format!("{},{},{}座席{number:03},hotline,", places::HOTLINE_CITY, hotline_id(number), pick(&SURNAMES, city, number))
    });
    dealers.chain(staff)
}

fn stores() -> impl Iterator<Item = String> {
    public::cities().iter().flat_map(|city| {
        let own = (1..=own_stores(city))
            .map(move |number| format!("{},{},{}{}营业厅,store,", city.code, store_id(city.code, number), district(city, number), pick(&ROADS, city, number)));
        let starred = (1..=star_stores(city)).map(move |number| {
            let name = format!("{}{}授权店", district(city, number + 3), pick(&ROADS, city, number + 5));
            format!("{},{},{name},star_store,{}", city.code, star_store_id(city.code, number), 1 + draw(city, number, 7) % 6)
        });
        own.chain(starred)
    })
}

fn halls() -> impl Iterator<Item = String> {
    let cities = public::cities();
    (0..HALLS).map(move |place| {
        let city = &cities[place as usize % cities.len()];
        let number = place / cities.len() as u32 + 1;
        let name = format!("{}{}体验厅", district(city, number + 1), pick(&ROADS, city, number + 2));
        format!("{},T{}{number:02},{name},store,{}", city.code, city.code, 3 + draw(city, number, 8) % 4)
    })
}

fn district(city: &City, number: u32) -> &'static str {
    let districts = districts(city.code);
    districts.get(number as usize % districts.len().max(1)).copied().unwrap_or("")
}

fn pick(from: &[&'static str], city: &City, number: u32) -> &'static str {
    from[draw(city, number, from.len() as u64) as usize % from.len()]
}

/// Places have the same names whatever the seed.
fn draw(city: &City, number: u32, salt: u64) -> u64 {
    mix(city.code.parse::<u64>().unwrap_or(0) << 32 | u64::from(number) << 8 | salt) >> 8
}
