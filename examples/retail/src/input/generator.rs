//! Made-up days at the shop, always the same ones, with the peculiarities of the real data: repeated
//! lines, missing customers, cancellations, an adjustment, quotes and commas in names.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::row::COLUMNS;

const FIRST_INVOICE: u32 = 600_001;
const SEED: u64 = 20_101_201;

const ARTICLES: [(&str, &str, &str); 12] = [
    ("85123A", "WHITE HANGING HEART T-LIGHT HOLDER", "2.55"),
    ("71053", "WHITE METAL LANTERN", "3.39"),
    ("84406B", "CREAM CUPID HEARTS COAT HANGER", "2.75"),
    ("22752", "\"SET 7 BABUSHKA NESTING BOXES, \"\"LARGE\"\"\"", "7.65"),
    ("21730", "GLASS STAR FROSTED T-LIGHT HOLDER", "4.25"),
    ("22633", "HAND WARMER UNION JACK", "1.85"),
    ("84879", "ASSORTED COLOUR BIRD ORNAMENT ", "1.69"),
    ("22745", "POPPY'S PLAYHOUSE BEDROOM", "2.10"),
    ("POST", "POSTAGE", "18.00"),
    ("21035", "", "0.00"),
    ("22961", "JAM MAKING SET PRINTED", "1.45"),
    ("20725", "LUNCH BAG RED RETROSPOT", "1.65"),
];

const COUNTRIES: [&str; 7] = [
    "United Kingdom",
    "United Kingdom",
    "United Kingdom",
    "France",
    "Germany",
    "Australia",
    "Norway",
];

/// So many `days` of so many `invoices` each, as CSV. An invoice has about 18 lines.
pub fn generate(days: u8, invoices: u32) -> String {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut csv = COLUMNS.join(",") + "\n";
    for day in 1..=days {
        for n in 0..invoices {
            invoice(&mut csv, &mut random, day, n, invoices);
        }
    }
    csv
}

/// One invoice of a day that has `of` of them.
fn invoice(csv: &mut String, random: &mut StdRng, day: u8, n: u32, of: u32) {
    let minute = 8 * 60 + n * 10 * 60 / of;
    let number = FIRST_INVOICE + u32::from(day - 1) * of + n;
    let (invoice, sign) = match n {
        _ if n % 12 == 11 => (format!("C{number}"), -1),
        77 => (format!("A{number}"), 1),
        _ => (number.to_string(), 1),
    };
    let customer = if random.random_bool(0.65) {
        format!("{}.0", random.random_range(12_346..18_288))
    } else {
        String::new()
    };
    let country = COUNTRIES.choose(random).copied().unwrap_or_default();
    let lines = if sign < 0 {
        random.random_range(1..4)
    } else {
        random.random_range(1..40)
    };
    for _ in 0..lines {
        let Some((code, name, price)) = ARTICLES.choose(random) else {
            continue;
        };
        let quantity = sign * random.random_range(1..49);
        let (hour, minute) = (minute / 60, minute % 60);
        let row = format!(
            "{invoice},{code},{name},{quantity},2010-12-{day:02} {hour:02}:{minute:02}:00,{price},{customer},{country}\n"
        );
        csv.push_str(&row);
        if random.random_bool(0.01) {
            csv.push_str(&row);
        }
    }
}
