use crate::{Draw, Month, world::World};

use super::{
    PLANTED_DWELL,
    flow::{self, FlowStep},
    journal::{Click, Journal, Request},
    landing::landing,
    page,
    visitor::Visitor,
};

/// Limit: who goes to and fro longer than this leaves.
const ACTIONS_MAX: usize = 24;

/// Limit: a visit is one session to the reader as long as no gap is longer than half an hour.
const DWELL_MS_MAX: f64 = 25.0 * 60_000.0;

/// One visit: what was asked of the server and clicked on the pages, in order.
pub(super) struct Session<'a> {
    visitor: Visitor,
    id: String,
    at_ms: i64,
    /// The page before, with its host.
    referrer: Option<String>,
    product_id: &'static str,
    product_name_zh: &'static str,
    campaign: Option<&'static str>,
    draw: &'a mut Draw,
    journal: &'a mut Journal,
}

impl<'a> Session<'a> {
    pub(super) fn begin(world: &World, city: usize, at_ms: i64, draw: &'a mut Draw, journal: &'a mut Journal) -> Session<'a> {
        let visitor = Visitor::one_of(world, city, draw);
        let product = draw.pick(&world.catalogue.products);
        Session {
            visitor,
            id: format!("{:016x}", draw.bits()),
            at_ms,
            referrer: None,
            product_id: product.id,
            product_name_zh: product.name_zh,
            campaign: None,
            draw,
            journal,
        }
    }

    /// Lands, logs in perhaps, looks around, and goes through a flow, as far as patience lasts.
    pub(super) fn walk(mut self, month: Month, first_month: Month) {
        let landing = landing(self.visitor.is_wap, self.product_id, self.product_name_zh, (month, first_month), self.draw);
        self.campaign = landing.campaign;
        self.referrer = landing.referrer;
        self.view(&landing.path);
        for _ in 0..self.draw.poisson(0.8) {
            let path = page::browsed(self.visitor.is_wap, self.product_id, self.product_name_zh, self.draw);
            self.look_around(&path);
        }
        if self.draw.chance(0.24) {
            self.log_in();
        }
        if self.draw.chance(0.7) {
            let offered = flow::offered(self.visitor.is_wap, month, first_month);
            let weights = offered.iter().map(|(_, weight)| *weight).collect::<Vec<_>>();
            let chosen = self.draw.weighted(&weights);
            if let Some((steps, _)) = offered.get(chosen) {
                self.go_through(steps);
            }
        }
    }

    fn look_around(&mut self, path: &str) {
        let dwell_ms = self.wait(15_000.0);
        if self.draw.chance(0.75) {
            self.click(None, Some(path.to_owned()), "click", true, dwell_ms);
        }
        self.view(path);
    }

    fn log_in(&mut self) {
        let path = if self.visitor.is_wap { "/wap/login" } else { "/login" };
        let dwell_ms = self.wait(6_000.0);
        self.click(None, Some(path.to_owned()), "click", true, dwell_ms);
        self.view(path);
        self.wait(18_000.0);
        self.ask("POST", path, 302);
    }

    fn go_through(&mut self, steps: &'static [FlowStep]) {
        let mut place = 0;
        let dwell_ms = self.wait(12_000.0);
        self.click(None, Some(steps[place].page.to_owned()), "click", true, dwell_ms);
        self.view(&self.address_of(&steps[place]));
        for _ in 0..ACTIONS_MAX {
            let step = &steps[place];
            let dwell_ms = self.wait(PLANTED_DWELL.dwell_ms(step));
            if place + 1 == steps.len() {
                return self.click(Some(step), None, "view", true, dwell_ms);
            }
            let exits = PLANTED_DWELL.exit_permille(step);
            let chance = self.draw.below(1_000);
            if chance < exits {
                return self.click(Some(step), None, "exit", true, dwell_ms);
            } else if chance < exits + 35 {
                self.click(Some(step), Some("help".to_owned()), "help", true, dwell_ms);
                self.view(&format!("/help/{}.html", step.operation_id.replace('_', "-")));
            } else if chance < exits + 85 && place > 0 {
                self.click(Some(step), Some("back".to_owned()), "back", true, dwell_ms);
                place -= 1;
                self.view(&self.address_of(&steps[place]));
            } else if self.go_on(step, dwell_ms) {
                place += 1;
                self.view(&self.address_of(&steps[place]));
            }
        }
    }

    /// Submits or clicks on; false when the page refuses and is shown again.
    fn go_on(&mut self, step: &'static FlowStep, dwell_ms: i64) -> bool {
        let submits = step.decides && step.step > 1;
        let accepted = !submits || !self.draw.chance(0.03);
        let target = if step.operation_id == "order" && step.step == 1 { self.product_id } else { "next" };
        self.click(Some(step), Some(target.to_owned()), if submits { "submit" } else { "click" }, accepted, dwell_ms);
        if submits {
            self.ask("POST", step.page, if accepted { 302 } else { 200 });
        }
        accepted
    }

    fn address_of(&self, step: &FlowStep) -> String {
        match step.operation_id {
            "order" => format!("{}?id={}", step.page, self.product_id),
            _ => step.page.to_owned(),
        }
    }

    /// Lets time pass; returns how much.
    fn wait(&mut self, median_ms: f64) -> i64 {
        let dwell_ms = self.draw.spread(median_ms, 0.55).clamp(600.0, DWELL_MS_MAX) as i64;
        self.at_ms += dwell_ms;
        dwell_ms
    }

    /// Asks for a page and now and then for what it is made of, which browsers mostly have already.
    fn view(&mut self, path: &str) {
        let status = page::status(self.draw);
        self.ask("GET", path, status);
        self.referrer = Some(format!("{}{path}", self.host()));
        if self.draw.chance(0.07) {
            let part = *self.draw.pick(&["/static/app.css", "/static/app.js", "/static/logo.png", "/static/banner.jpg", "/favicon.ico"]);
            let status = if self.draw.chance(0.7) { 304 } else { 200 };
            self.ask("GET", part, status);
        }
    }

    fn ask(&mut self, method: &str, path: &str, status: u16) {
        let micros = page::latency_micros(path, self.draw);
        let bytes = match status {
            304 => None,
            302 => Some(0),
            400.. => Some(620),
            _ => Some(page::bytes(path, self.draw)),
        };
        self.journal.requests.push(Request {
            at_ms: self.at_ms,
            address: self.visitor.address.clone(),
            agent: self.visitor.agent.to_owned(),
            request: format!("{method} {path} HTTP/1.1"),
            status,
            bytes: bytes.filter(|bytes| *bytes > 0),
            referrer: self.referrer.clone(),
            micros,
        });
        self.at_ms += micros / 1_000;
    }

    fn click(&mut self, step: Option<&'static FlowStep>, target: Option<String>, action: &'static str, ok: bool, dwell_ms: i64) {
        let page = match (step, &self.referrer) {
            (Some(step), _) => step.page.to_owned(),
            (None, Some(at)) => path_of(at),
            (None, None) => "/".to_owned(),
        };
        let cost_ms = page::latency_micros(&page, self.draw) / 1_000;
        let id = format!("{:016x}", self.draw.bits());
        self.journal.clicks.push(Click {
            at_ms: self.at_ms,
            id,
            session: self.id.clone(),
            visitor: self.visitor.cookie.clone(),
            channel: if self.visitor.is_wap { "wap" } else { "web" },
            page,
            target,
            action,
            ok,
            cost_ms,
            referrer: self.referrer.clone(),
            agent: self.visitor.agent,
            operation: step.map(|step| step.operation_id),
            flow: step.map(|step| (step.flow_id, step.version, step.step)),
            dwell_ms,
            campaign: self.campaign,
        });
    }

    fn host(&self) -> &'static str {
        if self.visitor.is_wap { page::WAP_HOST } else { page::WEB_HOST }
    }
}

/// The path of one of our own addresses, without query.
fn path_of(address: &str) -> String {
    let path = address.trim_start_matches(page::WEB_HOST).trim_start_matches(page::WAP_HOST);
    path.split('?').next().unwrap_or("/").to_owned()
}
