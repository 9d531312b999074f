//! Which numbers survive in a JSON document: Cosmos DB keeps every number as an IEEE 754 double
//! (Azure Cosmos DB, "Item" and "Working with JSON").

/// Decimal digits that every double keeps exactly (`DBL_DIG` of IEEE 754 binary64).
const SAFE_DIGITS: usize = 15;
/// Decimal exponents within which those digits are neither infinite nor subnormal.
const SAFE_EXPONENT: i64 = 290;

/// Whether every number of a JSON text comes back from the store with the value it had.
///
/// The text must be valid JSON. Numbers with more than 15 significant digits count as lost, although
/// some of them would survive: the answer is only used to choose how a text is stored.
pub(crate) fn survive(json: &str) -> bool {
    let mut bytes = json.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(inside) = bytes.next() {
                    match inside {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'-' | b'0'..=b'9' => {
                let mut number = Number::default();
                number.push(byte);
                while let Some(&next) = bytes.peek() {
                    if !matches!(next, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') {
                        break;
                    }
                    number.push(next);
                    bytes.next();
                }
                if !number.survives() {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

#[derive(Default)]
struct Number {
    /// Digits from the first to the last that isn't zero.
    significant: usize,
    /// Zeros that count only if another digit follows.
    zeros: usize,
    /// Digits before the decimal point, from the first that isn't zero.
    whole: i64,
    /// Zeros between the decimal point and the first digit that isn't zero.
    leading: i64,
    fraction: bool,
    exponent: Option<i64>,
    negative_exponent: bool,
}

impl Number {
    fn push(&mut self, byte: u8) {
        if let Some(exponent) = &mut self.exponent {
            match byte {
                b'-' => self.negative_exponent = true,
                b'0'..=b'9' => *exponent = exponent.saturating_mul(10).saturating_add(i64::from(byte - b'0')),
                _ => {}
            }
            return;
        }
        match byte {
            b'.' => self.fraction = true,
            b'e' | b'E' => self.exponent = Some(0),
            b'0' if self.significant == 0 => self.leading += i64::from(self.fraction),
            b'0'..=b'9' => {
                self.whole += i64::from(!self.fraction);
                if byte == b'0' {
                    self.zeros += 1;
                } else {
                    self.significant += self.zeros + 1;
                    self.zeros = 0;
                }
            }
            _ => {}
        }
    }

    fn survives(&self) -> bool {
        let exponent = self.exponent.unwrap_or(0);
        let exponent = if self.negative_exponent { -exponent } else { exponent };
        let magnitude = exponent.saturating_add(self.whole).saturating_sub(self.leading);
        self.significant == 0 || (self.significant <= SAFE_DIGITS && magnitude.abs() <= SAFE_EXPONENT)
    }
}

#[cfg(test)]
mod tests {
    use super::survive;

    #[test]
    fn everyday_numbers_survive() {
        let json = r#"{"quantity":6,"price":2.55,"id":536365,"tiny":1e-10,"none":0,"text":"12345678901234567890",
                       "escaped":"\"99999999999999999999","zeros":100000000000000000000,"money":-13979.43}"#;
        assert!(survive(json));
    }

    #[test]
    fn numbers_that_a_double_would_round_do_not() {
        for json in [
            "9007199254740993",
            "[0.1234567890123456789]",
            r#"{"a":-12345678901234567}"#,
            "1e308",
            "1e-310",
            "1e999999999999999999999",
        ] {
            assert!(!survive(json), "{json}");
        }
    }
}
