use std::{collections::BTreeMap, process::Command};

use anyhow::{Context, bail};

use super::{
    findings::Findings,
    province::Province,
    setup::{DONGGUAN, FOSHAN, Setup, WITHOUT_RIGHT},
};
use crate::output::say;

/// A command that the demo prints, and what the demo-check holds it to.
pub(super) struct DemoCommand {
    what: &'static str,
    shell: String,
    /// Program that a machine may lack.
    needs: Option<&'static str>,
    expected: Expected,
    /// Whose figures it answers, all of them.
    figures_of: Option<&'static str>,
}

enum Expected {
    /// The answer contains this.
    Answer(String),
    /// The command is refused, and says this.
    Refusal(String),
}

/// The commands for what was set up. Tokens stand in shell variables, so that what is copied stays short.
pub(super) async fn commands(setup: &Setup, province: &Province, findings: &Findings) -> anyhow::Result<Vec<DemoCommand>> {
    let (late_feed, late_period) = province.late_file()?;
    let late_month: String = late_period.chars().take(6).collect();
    let late = province.late.display();
    let administrator = setup.administrator.token.as_deref().unwrap_or_default();
    let (from, to) = setup.period().await?;
    let request = format!(r#"{{"from": "{from}", "to": "{to}"}}"#);
    let address = &setup.administrator.address;
    let authority = address.trim_start_matches("http://");
    let method = "portal_traffic.v1.PortalTraffic/GetSummary";
    let binary = std::env::current_exe().context("the path of this program is unknown")?;
    let binary = binary.display();
    let curl = |token: &str| format!(r#"curl -sS -H "Authorization: Bearer {token}" -H 'Content-Type: application/json' -d '{request}' {address}/{method}"#);
    let (foshan, dongguan, reader) = (setup.token(&FOSHAN), setup.token(&DONGGUAN), setup.token(&WITHOUT_RIGHT));
    let sql =
        format!("select page, count(*) as requests from interaction where at >= '{from}' and at < '{to}' group by page order by requests desc, page limit 5");
    let mut commands = vec![
        DemoCommand {
            what: "Foshan's traffic, with curl (Connect JSON)",
            shell: curl(foshan),
            needs: Some("curl"),
            expected: Expected::Answer("\"requests\"".to_owned()),
            figures_of: Some(FOSHAN.city),
        },
        DemoCommand {
            what: "the same with grpcurl (reflection needs the token too)",
            shell: format!(
                r#"grpcurl -plaintext -reflect-header "authorization: Bearer {foshan}" -rpc-header "authorization: Bearer {foshan}" -d '{request}' {authority} {method}"#
            ),
            needs: Some("grpcurl"),
            expected: Expected::Answer("\"requests\"".to_owned()),
            figures_of: Some(FOSHAN.city),
        },
        DemoCommand {
            what: "the same with backplane",
            shell: format!(r#"{binary} plugin call --address {address} --token {foshan} {method} '{request}'"#),
            needs: None,
            expected: Expected::Answer("\"requests\"".to_owned()),
            figures_of: Some(FOSHAN.city),
        },
        DemoCommand {
            what: "Dongguan's token gets Dongguan's figures",
            shell: curl(dongguan),
            needs: Some("curl"),
            expected: Expected::Answer("\"requests\"".to_owned()),
            figures_of: Some(DONGGUAN.city),
        },
        DemoCommand {
            what: "a token without the right is refused, and told what is missing",
            shell: curl(reader),
            needs: Some("curl"),
            expected: Expected::Refusal("portal_traffic.read".to_owned()),
            figures_of: None,
        },
        DemoCommand {
            what: "SQL on the same rows",
            shell: format!(r#"{binary} query --address {address} --token {foshan} "{sql}""#),
            needs: None,
            expected: Expected::Answer("requests".to_owned()),
            figures_of: None,
        },
        DemoCommand {
            what: "one city's file of a day is late: that month is not complete",
            shell: format!(r#"{binary} feed completeness --address {address} --token {administrator} {late_month} {late_feed}"#),
            needs: None,
            expected: Expected::Answer(late_period),
            figures_of: None,
        },
        DemoCommand {
            what: "it comes: load it, and ask again",
            shell: format!(r#"{binary} feed load --address {address} --token {administrator} {late}"#),
            needs: None,
            expected: Expected::Answer(late_feed),
            figures_of: None,
        },
    ];
    commands.extend(of_packages(setup, findings, &format!("{binary} plugin call --address {address}")));
    Ok(commands)
}

/// What package-monitor is asked; `call` is how a plugin is called.
fn of_packages(setup: &Setup, findings: &Findings, call: &str) -> Vec<DemoCommand> {
    let (foshan, dongguan) = (setup.token(&FOSHAN), setup.token(&DONGGUAN));
    let command = |what, token: &str, method: &str, request: String, answer: &str| DemoCommand {
        what,
        shell: format!("{call} --token {token} package_monitor.v1.PackageMonitor/{method} '{request}'"),
        needs: None,
        expected: Expected::Answer(answer.to_owned()),
        figures_of: None,
    };
    let month = findings.month();
    let mut commands = vec![command(
        "what Foshan's marketing packages are worth, those first of which most was paid for and never used (package-monitor)",
        foshan,
        "ListPackages",
        format!(r#"{{"month": "{month}", "pageSize": 3}}"#),
        "\"virtualFen\"",
    )];
    if let Some([month, customer, package, day]) = findings.forbidden() {
        let held = format!(r#"{{"month": "{month}", "customerId": "{customer}"}}"#);
        commands.push(command("packages that exclude each other, held together by one customer", foshan, "ListConflicts", held, "\"since\""));
        let wished = format!(r#"{{"customerId": "{customer}", "packageId": "{package}", "enrolsOn": "{day}"}}"#);
        commands.push(command("may this customer take this package, and why not", foshan, "CheckEnrolment", wished, "\"FINDING_KIND_EXCLUSIVE\""));
    }
    if let Some(month) = findings.abnormal_month() {
        let request = format!(r#"{{"month": "{month}"}}"#);
        commands.push(command(
            "who took far more enrolments than usual in Dongguan, with the evidence",
            dongguan,
            "ListSourceAnomalies",
            request,
            "\"expected\"",
        ));
    }
    commands
}

pub(super) fn print(commands: &[DemoCommand], setup: &Setup) {
    say(format!("\nBackplane is ready on {}. Type in another terminal:\n", setup.administrator.address));
    for command in commands {
        let missing = command.needs.filter(|program| !is_installed(program)).map(|program| format!(" (needs {program}, which is not installed here)"));
        say(format!("# {}{}\n{}\n", command.what, missing.unwrap_or_default(), command.shell));
    }
    let administrator = setup.administrator.token.as_deref().unwrap_or_default();
    say(format!("The administrator's token, for everything else ('backplane --help'):\nexport BACKPLANE_TOKEN={administrator}"));
}

/// Runs each command as a person would, and compares.
///
/// # Errors
/// When one answers something else, or Foshan and Dongguan get the same figures.
pub(super) fn check(commands: &[DemoCommand]) -> anyhow::Result<()> {
    let (mut foshan, mut dongguan) = (Vec::new(), Vec::new());
    for command in commands {
        if let Some(program) = command.needs.filter(|program| !is_installed(program)) {
            say(format!("not run, {program} is not installed: {}", command.what));
            continue;
        }
        let output = Command::new("sh").arg("-c").arg(&command.shell).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (Expected::Answer(expected) | Expected::Refusal(expected)) = &command.expected;
        let refused = text.contains("permission_denied");
        if !text.contains(expected) || refused != matches!(command.expected, Expected::Refusal(_)) {
            bail!("{}: expected {expected}, got: {text}{}", command.what, String::from_utf8_lossy(&output.stderr));
        }
        say(format!("ok: {}", command.what));
        match command.figures_of {
            Some(city) if city == FOSHAN.city => foshan.push(figures(&text)?),
            Some(_) => dongguan.push(figures(&text)?),
            None => {}
        }
    }
    let (Some(of_foshan), Some(of_dongguan)) = (foshan.first(), dongguan.first()) else {
        bail!("neither city's figures were asked for: install curl");
    };
    if foshan.iter().any(|figures| figures != of_foshan) {
        bail!("the ways to ask for Foshan's figures give different ones: {foshan:?}");
    }
    if of_foshan == of_dongguan || of_foshan.contains_key("requests") != of_dongguan.contains_key("requests") {
        bail!("Foshan and Dongguan were given the same figures: {of_foshan:?}");
    }
    Ok(())
}

/// The figures of an answer that are not zero, as text: programs differ in whether they write zeros, and numbers of 64 bits as texts.
fn figures(answer: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let answer: BTreeMap<String, serde_json::Value> = serde_json::from_str(answer).with_context(|| format!("no JSON: {answer}"))?;
    let text = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let figures = answer.into_iter().map(|(name, value)| (name, text(value)));
    Ok(figures.filter(|(_, value)| !matches!(value.as_str(), "0" | "0.0" | "" | "[]" | "null")).collect())
}

fn is_installed(program: &str) -> bool {
    Command::new("sh").arg("-c").arg(format!("command -v {program}")).output().is_ok_and(|output| output.status.success())
}
