//! AMQP's decimals, which are those of IEEE 754-2008 in the encoding with a binary integer (AMQP 1.0 sections 1.6.13
//! to 1.6.15), as far as .NET's `Decimal` holds them: 96 bits and up to 28 places.

use rust_decimal::Decimal;

const BIAS: u32 = 6176;
const MOST_PLACES: u32 = Decimal::MAX_SCALE;

/// Reads one of 4, 8 or 16 bytes; `None` for infinities, what is no number, and what .NET has no `Decimal` for.
pub(super) fn decode(bits: &[u8]) -> Option<Decimal> {
    let (exponent_bits, bias) = match bits.len() {
        4 => (8, 101),
        8 => (10, 398),
        16 => (14, BIAS),
        _ => return None,
    };
    let width = bits.len() as u32 * 8;
    let number = bits
        .iter()
        .fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    let field = |from: u32, length: u32| (number >> from) & ((1 << length) - 1);
    let negative = field(width - 1, 1) == 1;
    let (exponent, coefficient) = if field(width - 3, 2) < 3 {
        let rest = width - 1 - exponent_bits;
        (field(rest, exponent_bits), field(0, rest))
    } else if field(width - 5, 4) < 0b1111 {
        let rest = width - 3 - exponent_bits;
        (field(rest, exponent_bits), (0b100 << rest) | field(0, rest))
    } else {
        return None;
    };
    let coefficient = i128::try_from(coefficient).ok()?;
    let signed = if negative { -coefficient } else { coefficient };
    scaled(signed, bias as i32 - exponent as i32, width)
}

fn scaled(mut coefficient: i128, mut places: i32, width: u32) -> Option<Decimal> {
    // Azure's AMQP library for .NET wrote the exponent's upper half two bits too far down until it was mended, and
    // has always read its lowest byte only; see `encode`.
    const OF_DOTNET: i32 = (BIAS - (((BIAS >> 9) << 7) | (BIAS & 0x7f))) as i32;
    if width == 128 && (OF_DOTNET..=OF_DOTNET + MOST_PLACES as i32).contains(&places) {
        places -= OF_DOTNET;
    }
    if coefficient == 0 {
        return Some(Decimal::new(0, places.clamp(0, MOST_PLACES as i32) as u32));
    }
    while places < 0 {
        coefficient = coefficient.checked_mul(10)?;
        places += 1;
    }
    // Zeros at the end may be all that is too much.
    loop {
        match Decimal::try_from_i128_with_scale(coefficient, places as u32) {
            Ok(decimal) => return Some(decimal),
            Err(_) if coefficient % 10 == 0 && places > 0 => {
                coefficient /= 10;
                places -= 1;
            }
            Err(_) => return None,
        }
    }
}

/// As `decimal128`. The exponent lies where Azure's AMQP library for .NET put it (`DecimalEncoding` in azure-amqp),
/// with its upper half two bits too far down: Microsoft's clients for .NET read that and the right form, the one for
/// Python only that.
pub(super) fn encode(number: Decimal) -> [u8; 17] {
    let exponent = BIAS - number.scale();
    let mut out = [0; 17];
    out[0] = 0x94;
    out[1..].copy_from_slice(&number.mantissa().unsigned_abs().to_be_bytes());
    out[1] = (u8::from(number.is_sign_negative()) << 7) | (exponent >> 9) as u8;
    out[2] = ((exponent & 0x7f) << 1) as u8;
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn all_widths_are_read() {
        // 12.50: coefficient 1250, exponent -2.
        let bits = |exponent: u128, place: u32| (exponent << place) + 1250;
        let small = (bits(99, 23) as u32).to_be_bytes();
        let middle = (bits(396, 53) as u64).to_be_bytes();
        let large = bits(6174, 113).to_be_bytes();
        for bytes in [&small[..], &middle, &large] {
            assert_eq!(decode(bytes), Some(decimal("12.50")), "{bytes:x?}");
        }
        let negative = ((1 << 127) | bits(6174, 113)).to_be_bytes();
        assert_eq!(decode(&negative), Some(decimal("-12.50")));
        let hundreds = bits(6178, 113).to_be_bytes();
        assert_eq!(decode(&hundreds), Some(decimal("125000")));
        // A coefficient of 24 bits: its first three are understood.
        let long = ((0b11 << 29) | (101_u32 << 21) | 5).to_be_bytes();
        assert_eq!(decode(&long), Some(Decimal::from((1_u32 << 23) + 5)));
    }

    #[test]
    fn what_dotnet_has_no_decimal_for_is_unknown() {
        let (infinite, none) = (0b01111 << 123_u32, 0b11111 << 122_u32);
        let tiny = ((6176_u128 - 40) << 113) | 1;
        let huge = ((6176_u128 + 40) << 113) | 1;
        for bits in [infinite, none, tiny, huge] {
            assert_eq!(decode(&bits.to_be_bytes()), None, "{bits:x}");
        }
        let padded = ((6176_u128 - 30) << 113) + 100;
        assert_eq!(
            decode(&padded.to_be_bytes()),
            Some(decimal("0.0000000000000000000000000001"))
        );
    }

    #[test]
    fn it_is_written_as_the_clients_read_it() {
        // What azure-servicebus for Python reads as Decimal("13.50").
        let expected = [0x94, 0x0c, 0x3c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x05, 0x46];
        assert_eq!(encode(decimal("13.50")), expected);
    }

    proptest! {
        #[test]
        fn each_is_read_as_it_was_written(coefficient in -79_228_162_514_264_337_593_543_950_335_i128..=79_228_162_514_264_337_593_543_950_335, places in 0..=28_u32) {
            let number = Decimal::from_i128_with_scale(coefficient, places);
            prop_assert_eq!(decode(&encode(number)[1..]), Some(number));
        }

        #[test]
        fn any_bytes_are_read_or_unknown(bytes in proptest::collection::vec(any::<u8>(), 0..18)) {
            let _ = decode(&bytes);
        }
    }
}
