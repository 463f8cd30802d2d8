use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use serde::Serialize;

use crate::{
    GenerateError,
    catalogue::Measure,
    city::Used,
    life::{Enrolment, Life},
    world::World,
};

/// Under-used is what is used to less than three tenths.
const THETA_TENTHS: i64 = 3;

/// How the components of a city's enrolments were used in a month.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct MonthSilence {
    pub(crate) enrolments_in_force: u64,
    pub(crate) enrolments_without_components: u64,
    pub(crate) components: u64,
    pub(crate) components_silent: u64,
    pub(crate) components_under_used: u64,
    /// Enrolments of which nothing at all was used.
    pub(crate) enrolments_silent: u64,
}

/// The silent and under-used components of a city, row by row, in a file of their own.
#[derive(Debug)]
pub(super) struct Silence {
    path: PathBuf,
    rows: Option<GzEncoder<BufWriter<File>>>,
    pub(super) months: Vec<MonthSilence>,
}

/// What of a package stands ready to take use.
struct Claim<'a> {
    enrolment: &'a Enrolment,
    enrolment_id: String,
    component_id: &'static str,
    product: usize,
    measure: Measure,
    entitlement: Option<i64>,
    used: i64,
}

impl Silence {
    pub(super) fn create(city_code: &str, out: &Path) -> Result<Silence, GenerateError> {
        let path = out.join("answer-key").join(format!("silent.{city_code}.csv.gz"));
        let file = fs::create_dir_all(out.join("answer-key")).and_then(|()| File::create(&path));
        let file = file.map_err(|source| GenerateError::Write { path: path.clone(), source })?;
        let mut rows = GzBuilder::new().mtime(0).write(BufWriter::new(file), Compression::new(4));
        let header = b"enrolment_id,month,component_id,used,entitlement,verdict\n";
        rows.write_all(header).map_err(|source| GenerateError::Write { path: path.clone(), source })?;
        Ok(Silence { path, rows: Some(rows), months: Vec::new() })
    }

    pub(super) fn finish(&mut self) -> Result<(), GenerateError> {
        let closed = self.rows.take().map_or(Ok(()), |rows| rows.finish().and_then(|mut file| file.flush()));
        closed.map_err(|source| GenerateError::Write { path: self.path.clone(), source })
    }

    /// Judges a customer's month by rule 3 of the value of an enrolment: use fills the claims in order, the rest goes to the last.
    pub(super) fn judge(&mut self, world: &World, life: &Life, city: usize, month: i32, used: &[Used]) -> Result<(), GenerateError> {
        let period = world.month(month);
        self.months.resize(world.months as usize, MonthSilence::default());
        let held = || life.enrolments.iter().filter(|held| held.city == city && held.is_in_force_in(period));
        let mut claims: Vec<Claim<'_>> = held()
            .flat_map(|enrolment| {
                let enrolment_id = enrolment.id(life.person.id);
                world.catalogue.packages[enrolment.package].valid_in(month).map(move |component| Claim {
                    enrolment,
                    enrolment_id: enrolment_id.clone(),
                    component_id: component.id,
                    product: component.product,
                    measure: component.measure,
                    entitlement: component.entitlement.filter(|entitlement| *entitlement > 0),
                    used: 0,
                })
            })
            .collect();
        claims
            .sort_by(|one, other| (one.enrolment.at, &one.enrolment_id, one.component_id).cmp(&(other.enrolment.at, &other.enrolment_id, other.component_id)));
        share(&mut claims, used);
        let sums = &mut self.months[month as usize];
        for enrolment in held() {
            sums.enrolments_in_force += 1;
            let mut own = claims.iter().filter(|claim| claim.enrolment.number == enrolment.number).peekable();
            if own.peek().is_none() {
                sums.enrolments_without_components += 1;
            } else if own.all(|claim| claim.used == 0) {
                sums.enrolments_silent += 1;
            }
        }
        for claim in &claims {
            sums.components += 1;
            let verdict = match claim.entitlement {
                _ if claim.used == 0 => "silent",
                Some(entitlement) if claim.used * 10 < entitlement * THETA_TENTHS => "under_used",
                _ => continue,
            };
            match verdict {
                "silent" => sums.components_silent += 1,
                _ => sums.components_under_used += 1,
            }
            if let Some(rows) = &mut self.rows {
                let entitlement = claim.entitlement.map_or(String::new(), |entitlement| entitlement.to_string());
                writeln!(rows, "{},{period},{},{},{entitlement},{verdict}", claim.enrolment_id, claim.component_id, claim.used)
                    .map_err(|source| GenerateError::Write { path: self.path.clone(), source })?;
            }
        }
        Ok(())
    }
}

fn share(claims: &mut [Claim<'_>], used: &[Used]) {
    for place in 0..claims.len() {
        let (product, measure) = (claims[place].product, claims[place].measure);
        let is_same = |claim: &Claim<'_>| claim.product == product && claim.measure == measure;
        if claims[..place].iter().any(is_same) {
            continue;
        }
        let mut left = used.iter().find(|used| used.product == product).map_or(0, |used| used.of(measure));
        let mut last = place;
        for claimant in (place..claims.len()).filter(|claimant| is_same(&claims[*claimant])).collect::<Vec<_>>() {
            let taken = claims[claimant].entitlement.map_or(left, |entitlement| entitlement.min(left));
            claims[claimant].used = taken;
            left -= taken;
            last = claimant;
        }
        claims[last].used += left;
    }
}
