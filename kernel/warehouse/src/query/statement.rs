use std::sync::LazyLock;

use datafusion::{
    execution::SessionState,
    logical_expr::LogicalPlan,
    prelude::SQLOptions,
    sql::{
        parser::{DFParserBuilder, Statement},
        sqlparser::{
            ast::{SetExpr, Statement as SqlStatement},
            dialect::GenericDialect,
            parser::ParserError,
            tokenizer::{Token, TokenWithSpan, Tokenizer},
        },
    },
};

use kernel_base::ORIGIN_COLUMNS;

use super::errors;
use crate::error::WarehouseError;

// Limit: nesting of the SQL. Deeper text is machine-made by mistake, and every level costs stack in the planner.
const NESTING_MAX: usize = 50;

static DIALECT: LazyLock<GenericDialect> = LazyLock::new(GenericDialect::default);

/// SQL that was read, and not planned yet.
pub(super) struct Parsed {
    pub(super) statement: Statement,
    /// Whether it names a column that says where a row came from. Tables show these to queries that ask for them, and so does a `*` there.
    pub(super) names_origin: bool,
}

/// Parses exactly one query.
///
/// # Errors
/// SQL_INVALID with line and column, SQL_REFUSED for anything that is no SELECT.
pub(super) fn parse(sql: &str) -> Result<Parsed, WarehouseError> {
    let mut tokens = Tokenizer::new(&*DIALECT, sql).tokenize_with_location().map_err(|error| errors::while_parsing(ParserError::from(error).into()))?;
    number_places(&mut tokens)?;
    let names_origin = tokens.iter().any(|token| matches!(&token.token, Token::Word(word) if is_origin(&word.value)));
    let mut parser = DFParserBuilder::new(tokens).with_dialect(&*DIALECT).with_recursion_limit(NESTING_MAX).build().map_err(errors::while_parsing)?;
    let mut statements = parser.parse_statements().map_err(errors::while_parsing)?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) if is_select(&statement) => Ok(Parsed { statement, names_origin }),
        (Some(_), true) => Err(WarehouseError::SqlRefused {
            problem:
                "only SELECT is served here (with WITH, UNION and the like): rows are written by backplane.ingest.v1, and nothing else can be changed by SQL"
                    .to_owned(),
        }),
        (Some(_), false) => Err(WarehouseError::SqlRefused { problem: "one statement at a time: send the others as queries of their own".to_owned() }),
        (None, _) => Err(WarehouseError::SqlInvalid { problem: "there is no statement in it".to_owned(), line: None, column: None }),
    }
}

/// Makes `$1`, `$2` … of each `?`, which JDBC, ODBC and Python's databases write.
fn number_places(tokens: &mut [TokenWithSpan]) -> Result<(), WarehouseError> {
    let (mut places, mut numbered) = (0, false);
    for token in tokens {
        match &token.token {
            Token::Question => {}
            Token::Placeholder(name) if name == "?" => {}
            Token::Placeholder(_) => {
                numbered = true;
                continue;
            }
            _ => continue,
        }
        places += 1;
        token.token = Token::Placeholder(format!("${places}"));
    }
    if places > 0 && numbered {
        let problem = "places for values are '?' or '$1', '$2' …, not both".to_owned();
        return Err(WarehouseError::SqlInvalid { problem, line: None, column: None });
    }
    Ok(())
}

fn is_origin(word: &str) -> bool {
    ORIGIN_COLUMNS.iter().any(|name| name.eq_ignore_ascii_case(word))
}

fn is_select(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => matches!(&**statement, SqlStatement::Query(query) if reads(&query.body)),
        _ => false,
    }
}

/// A query may be an INSERT or UPDATE in disguise (`WITH … INSERT`).
fn reads(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => reads(&query.body),
        SetExpr::SetOperation { left, right, .. } => reads(left) && reads(right),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        _ => false,
    }
}

/// Plans the query within the session's catalog; what is hidden deeper in it is refused here once more.
pub(super) async fn plan(state: &SessionState, statement: Statement) -> Result<LogicalPlan, WarehouseError> {
    let plan = state.statement_to_plan(statement).await.map_err(errors::while_planning)?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(|error| WarehouseError::SqlRefused { problem: errors::text(&error) })?;
    Ok(plan)
}
