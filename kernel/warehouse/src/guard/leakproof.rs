use arrow_schema::{DataType, Schema};
use datafusion::{
    common::ScalarValue,
    logical_expr::{Between, BinaryExpr, Expr, Operator, expr::InList},
};

use super::Policy;

/// Whether a predicate of the caller's may be evaluated below the policy, on rows that the caller may not see. Only what can neither fail nor take a time that
/// depends on the value passes: comparisons of an unmasked column with a literal of the very same type, and AND, OR, NOT, IN, BETWEEN and IS NULL of those.
/// Anything else, casts and functions first of all, runs above.
pub(super) fn is_leakproof(policy: &Policy, schema: &Schema, predicate: &Expr) -> bool {
    match predicate {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            is_leakproof(policy, schema, left) && is_leakproof(policy, schema, right)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            is_comparison(*op) && (column_against(policy, schema, left, &[right]) || column_against(policy, schema, right, &[left]))
        }
        Expr::Not(inner) => is_leakproof(policy, schema, inner),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => is_plain_column(policy, schema, inner),
        Expr::Between(Between { expr, low, high, .. }) => column_against(policy, schema, expr, &[low, high]),
        Expr::InList(InList { expr, list, .. }) => column_against(policy, schema, expr, &list.iter().collect::<Vec<_>>()),
        _ => false,
    }
}

fn is_comparison(operator: Operator) -> bool {
    matches!(operator, Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

fn is_plain_column(policy: &Policy, schema: &Schema, expression: &Expr) -> bool {
    shown_type(policy, schema, expression).is_some()
}

fn column_against(policy: &Policy, schema: &Schema, column: &Expr, literals: &[&Expr]) -> bool {
    let Some(data_type) = shown_type(policy, schema, column) else {
        return false;
    };
    literals.iter().all(|literal| matches!(literal, Expr::Literal(value, _) if is_of(value, &data_type)))
}

fn is_of(value: &ScalarValue, data_type: &DataType) -> bool {
    value.data_type() == *data_type
}

/// The type of an unmasked column.
fn shown_type(policy: &Policy, schema: &Schema, expression: &Expr) -> Option<DataType> {
    let Expr::Column(column) = expression else {
        return None;
    };
    let index = schema.index_of(&column.name).ok()?;
    policy.columns[index].mask.is_none().then(|| schema.field(index).data_type().clone())
}
