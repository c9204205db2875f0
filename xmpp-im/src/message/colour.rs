//! Consistent colours (XEP-0392): the same name has the same colour in all clients.

use sha1::{Digest, Sha1};

/// The hue of a name, in degrees from 0 to below 360 (§5.1). An address is given as it is compared, bare for people.
///
/// ```
/// assert!((xmpp_im::message::colour::hue("Romeo") - 327.255249).abs() < 1e-6);
/// ```
pub fn hue(name: &str) -> f64 {
    let [first, second, ..] = <[u8; 20]>::from(Sha1::digest(name.as_bytes()));
    f64::from(u16::from_le_bytes([first, second])) / 65536.0 * 360.0
}

/// Red, green and blue, each from 0 to 1, of a name (§5.3), with saturation and lightness from 0 to 100: those fit the
/// background. 100 and 50 are what most use.
pub fn rgb(name: &str, saturation: f64, lightness: f64) -> [f64; 3] {
    hsluv_to_rgb(hue(name), saturation, lightness)
}

/// From linear XYZ to linear sRGB.
const RGB: [[f64; 3]; 3] = [
    [3.240_969_941_904_521_4, -1.537_383_177_570_093_5, -0.498_610_760_293],
    [-0.969_243_636_280_87, 1.875_967_501_507_72, 0.041_555_057_407_175],
    [0.055_630_079_696_993, -0.203_976_958_888_97, 1.056_971_514_242_878_6],
];
/// The white point, in u′ and v′.
const WHITE: (f64, f64) = (0.197_830_006_642_83, 0.468_319_994_938_79);
/// The two constants of the CIE's lightness.
const KAPPA: f64 = 903.296_296_2;
const EPSILON: f64 = 0.008_856_451_6;

/// A colour of HSLuv: hue in degrees, saturation and lightness from 0 to 100. Values beyond are cut to the range.
pub fn hsluv_to_rgb(hue: f64, saturation: f64, lightness: f64) -> [f64; 3] {
    let (saturation, lightness) = (saturation.clamp(0.0, 100.0), lightness.clamp(0.0, 100.0));
    if lightness > 99.999_999_9 {
        return [1.0; 3];
    }
    if lightness < 0.000_000_01 {
        return [0.0; 3];
    }
    let angle = hue.to_radians();
    let chroma = most_chroma(lightness, angle) * saturation / 100.0;
    let u = angle.cos() * chroma / (13.0 * lightness) + WHITE.0;
    let v = angle.sin() * chroma / (13.0 * lightness) + WHITE.1;
    let y = if lightness <= 8.0 { lightness / KAPPA } else { ((lightness + 16.0) / 116.0).powi(3) };
    let x = 9.0 * y * u / (4.0 * v);
    let z = (9.0 * y - 15.0 * v * y - v * x) / (3.0 * v);
    RGB.map(|[a, b, c]| gamma(a * x + b * y + c * z).clamp(0.0, 1.0))
}

/// The most chroma that a screen can show at this lightness and angle: the distance to the nearest of the six lines in
/// which a channel is empty or full.
fn most_chroma(lightness: f64, angle: f64) -> f64 {
    let cube = (lightness + 16.0).powi(3) / 1_560_896.0;
    let light = if cube > EPSILON { cube } else { lightness / KAPPA };
    let lines = RGB.into_iter().flat_map(|[m1, m2, m3]| {
        [0.0, 1.0].map(|full| {
            let top = (284_517.0 * m1 - 94_839.0 * m3) * light;
            let side = (838_422.0 * m3 + 769_860.0 * m2 + 731_718.0 * m1) * lightness * light;
            let bottom = (632_260.0 * m3 - 126_452.0 * m2) * light + 126_452.0 * full;
            let (slope, intercept) = (top / bottom, (side - 769_860.0 * full * lightness) / bottom);
            intercept / (angle.sin() - slope * angle.cos())
        })
    });
    lines.filter(|length| *length >= 0.0).fold(f64::INFINITY, f64::min)
}

fn gamma(linear: f64) -> f64 {
    if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xep0392_test_vectors() {
        for (name, angle, colour) in [
            ("Romeo", 327.255_249, [0.865, 0.000, 0.686]),
            ("juliet@capulet.lit", 209.410_400, [0.000, 0.515, 0.573]),
            ("😺", 331.199_341, [0.872, 0.000, 0.659]),
            ("council", 359.994_507, [0.918, 0.000, 0.394]),
            ("Board", 171.430_664, [0.000, 0.527, 0.457]),
        ] {
            assert!((hue(name) - angle).abs() < 1e-6, "{name}: {}", hue(name));
            let found = rgb(name, 100.0, 50.0);
            let near = found.iter().zip(colour).all(|(a, b)| (a - b).abs() < 0.0006);
            assert!(near, "{name}: {found:?}");
        }
    }

    #[test]
    fn greys_have_no_hue_and_all_colours_are_colours() {
        for step in 0..360 {
            let [r, g, b] = hsluv_to_rgb(f64::from(step), 0.0, 40.0);
            assert!((r - g).abs() < 1e-6 && (g - b).abs() < 1e-6, "{step}: {r} {g} {b}");
            for lightness in [-1.0, 0.0, 3.0, 50.0, 99.0, 100.0, 200.0] {
                let colour = hsluv_to_rgb(f64::from(step) * 7.3, 1000.0, lightness);
                assert!(colour.iter().all(|part| (0.0..=1.0).contains(part)), "{step} {lightness}: {colour:?}");
            }
        }
    }
}
