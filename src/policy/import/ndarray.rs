//! Small numpy arrays, numpy scalars and lists of numbers out of a pickle.

use super::pickle::{Global, Value};

/// Most numbers an array may hold here; statistics have seven.
const MAX_NUMBERS: usize = 1 << 16;

/// The numbers of an array (row-major or one-dimensional), a scalar, or a list of either, as f64.
///
/// # Errors
/// Says what the object is when it is none of these.
pub fn numbers(value: Value<'_>) -> Result<Vec<f64>, String> {
    if let Some(items) = value.items() {
        if items.len() > MAX_NUMBERS {
            return Err(format!("is a list of {} items", items.len()));
        }
        return items.map(number).collect();
    }
    match value.as_call() {
        Some((Global::NumpyReconstruct, _)) => {
            let unknown = || "is a numpy array of unknown form".to_owned();
            let state = value.state().ok_or_else(unknown)?;
            let part = |index: usize| state.item(index).ok_or_else(unknown);
            array(part(1)?, part(2)?, part(4)?, part(3)?.as_bool() == Some(true))
        }
        Some((Global::NumpyFromBuffer, args)) => {
            let unknown = || "is a numpy array of unknown form".to_owned();
            let part = |index: usize| args.item(index).ok_or_else(unknown);
            array(part(2)?, part(1)?, part(0)?, part(3)?.as_str() == Some("F"))
        }
        _ => Ok(vec![number(value)?]),
    }
}

fn number(value: Value<'_>) -> Result<f64, String> {
    if let Some(number) = value.as_f64() {
        return Ok(number);
    }
    if let Some((Global::NumpyScalar, args)) = value.as_call() {
        let parts = args.item(0).zip(args.item(1));
        let (dtype, data) = parts.ok_or("is a numpy scalar of unknown form")?;
        let numbers = decode(dtype, data)?;
        return numbers.first().copied().ok_or_else(|| "is an empty numpy scalar".into());
    }
    Err(format!("is {}, expected numbers", value.kind()))
}

fn array(shape: Value<'_>, dtype: Value<'_>, data: Value<'_>, fortran: bool) -> Result<Vec<f64>, String> {
    let sides: Option<Vec<usize>> = shape.items().and_then(|items| items.map(Value::as_usize).collect());
    let sides = sides.ok_or("is a numpy array without a shape")?;
    if fortran && sides.iter().filter(|side| **side > 1).count() > 1 {
        return Err(format!("is a column-major array of shape {sides:?}, expected one dimension"));
    }
    let numbers = decode(dtype, data)?;
    let count = sides.iter().try_fold(1_usize, |count, side| count.checked_mul(*side));
    if count != Some(numbers.len()) {
        return Err(format!("is an array of shape {sides:?} with {} numbers", numbers.len()));
    }
    Ok(numbers)
}

/// `numpy.dtype("f4", ...)` with its byte order in the state, and the raw numbers.
fn decode(dtype: Value<'_>, data: Value<'_>) -> Result<Vec<f64>, String> {
    let Some((Global::NumpyDtype, args)) = dtype.as_call() else {
        return Err(format!("has {} where a numpy type was expected", dtype.kind()));
    };
    let code = args.item(0).and_then(Value::as_str).unwrap_or_default();
    let order = dtype.state().and_then(|state| state.item(1)).and_then(Value::as_str).unwrap_or("<");
    let bytes = data.to_bytes().ok_or_else(|| format!("keeps its numbers in {}", data.kind()))?;
    let big = match order {
        "<" | "=" | "|" => false,
        ">" => true,
        other => return Err(format!("has unknown byte order {other:?}")),
    };
    if bytes.len() > MAX_NUMBERS * 8 {
        return Err(format!("holds {} bytes of numbers", bytes.len()));
    }
    match code {
        "f4" => chunks(&bytes, |raw: [u8; 4]| {
            f64::from(if big { f32::from_be_bytes(raw) } else { f32::from_le_bytes(raw) })
        }),
        "f8" => {
            chunks(&bytes, |raw: [u8; 8]| if big { f64::from_be_bytes(raw) } else { f64::from_le_bytes(raw) })
        }
        other => Err(format!("has numpy type {other:?}, expected f4 or f8")),
    }
}

fn chunks<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f64) -> Result<Vec<f64>, String> {
    let (whole, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(format!("holds {} bytes, not a multiple of {N}", bytes.len()));
    }
    Ok(whole.iter().map(|raw| decode(*raw)).collect())
}
