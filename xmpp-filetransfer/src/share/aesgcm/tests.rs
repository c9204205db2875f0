use super::*;
use aes_gcm::{
    AeadInPlace, AesGcm, KeyInit,
    aead::consts::{U12, U16},
    aes::Aes256,
};
use proptest::{collection::vec, prelude::*};

fn bytes(hex: &str) -> Vec<u8> {
    octets(hex).unwrap()
}

/// Encrypts in pieces of these sizes, one after the other, again and again.
fn sealed(key: &[u8; 32], iv: &[u8; 12], text: &[u8], pieces: &[usize]) -> Vec<u8> {
    let (mut sealer, mut out, mut rest) = (Sealer::new(key, iv), text.to_vec(), 0);
    for piece in pieces.iter().copied().cycle() {
        let end = (rest + piece).min(out.len());
        sealer.seal(&mut out[rest..end]).unwrap();
        rest = end;
        if rest == out.len() {
            break;
        }
    }
    out.extend(sealer.tag());
    out
}

fn opened(link: &AesGcmLink, text: &[u8], pieces: &[usize]) -> Result<Vec<u8>, Forged> {
    let (mut opener, mut plain, mut rest) = (Opener::new(link), Vec::new(), text);
    for piece in pieces.iter().copied().cycle() {
        let (one, others) = rest.split_at(piece.min(rest.len()));
        opener.open(one, &mut plain)?;
        rest = others;
        if rest.is_empty() {
            break;
        }
    }
    opener.finish().map(|()| plain)
}

fn link(iv: &[u8], key: [u8; 32]) -> AesGcmLink {
    AesGcmLink { url: "https://h.example/a".to_owned(), iv: iv.to_vec(), key }
}

fn oracle(key: &[u8; 32], iv: &[u8], text: &[u8]) -> Vec<u8> {
    let mut out = text.to_vec();
    match iv.len() {
        12 => AesGcm::<Aes256, U12>::new(key.into()).encrypt_in_place(iv.into(), b"", &mut out).unwrap(),
        _ => AesGcm::<Aes256, U16>::new(key.into()).encrypt_in_place(iv.into(), b"", &mut out).unwrap(),
    }
    out
}

#[test]
fn sp800_38d_the_vectors_of_the_algorithm() {
    let twice = "feffe9928665731c6d6a8f9467308308".repeat(2);
    let text = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
        1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
    let cipher = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
        8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
    let zero = "00".repeat(32);
    for (key, iv, text, cipher, tag) in [
        (zero.as_str(), "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
        (
            &zero,
            "000000000000000000000000",
            "00000000000000000000000000000000",
            "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919",
        ),
        (&twice, "cafebabefacedbaddecaf888", text, cipher, "b094dac5d93471bdec1a502270e3cc6c"),
    ] {
        let (key, iv): ([u8; 32], [u8; 12]) = (bytes(key).try_into().unwrap(), bytes(iv).try_into().unwrap());
        let whole = [bytes(cipher), bytes(tag)].concat();
        assert_eq!(sealed(&key, &iv, &bytes(text), &[7]), whole);
        assert_eq!(opened(&link(&iv, key), &whole, &[5]), Ok(bytes(text)));
    }
}

#[test]
fn sizes_at_the_edges_of_blocks_and_pieces() {
    let (key, iv) = ([3; 32], [5; 12]);
    for size in [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 4_095, 4_096, 4_097, 65_535, 65_536, 65_537] {
        let text: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let whole = oracle(&key, &iv, &text);
        for pieces in [&[1 << 20][..], &[64], &[1, 15, 16, 17], &[4_096]] {
            assert_eq!(sealed(&key, &iv, &text, pieces), whole, "{size} in {pieces:?}");
            assert_eq!(opened(&link(&iv, key), &whole, pieces).as_ref(), Ok(&text), "{size} in {pieces:?}");
        }
    }
}

#[test]
fn every_bit_that_is_changed_is_seen_and_every_length() {
    let (key, iv) = ([3; 32], [5; 12]);
    let whole = sealed(&key, &iv, &[0x5a; 50], &[50]);
    let link = link(&iv, key);
    for bit in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(opened(&link, &changed, &[16]), Err(Forged), "bit {bit}");
    }
    for length in 0..whole.len() {
        assert_eq!(opened(&link, &whole[..length], &[16]), Err(Forged), "{length} octets");
        assert_eq!(opened(&link, &whole[whole.len() - length..], &[16]), Err(Forged), "the last {length} octets");
    }
    for more in [&[0][..], &[0; 16], &whole] {
        assert_eq!(opened(&link, &[&whole, more].concat(), &[16]), Err(Forged));
    }
    assert_eq!(opened(&super::tests::link(&[6; 12], key), &whole, &[16]), Err(Forged));
    assert_eq!(opened(&super::tests::link(&iv, [4; 32]), &whole, &[16]), Err(Forged));
}

#[test]
fn nothing_of_the_key_is_shown() {
    let link = link(&[5; 12], [0xab; 32]);
    let media = EncryptedMedia { link: link.clone(), thumbnail: None };
    let shown = format!("{link:?} {media:?} {:?} {:?}", Opener::new(&link), Sealer::new(link.key(), &[5; 12]));
    assert!(!shown.contains("abab") && !shown.contains("171, 171") && !shown.contains("0505"), "{shown}");
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let mut gcm = Sealer::new(&[0; 32], &[0; 12]);
    gcm.0.length = MAX_BYTES - 1;
    assert_eq!(gcm.seal(&mut [0]), Ok(()));
    assert_eq!(gcm.seal(&mut [0]), Err(TooLong));
}

proptest! {
    #[test]
    fn as_others_encrypt(
        key: [u8; 32], iv: [u8; 12], old: [u8; 16], text in vec(any::<u8>(), 0..700), pieces in vec(1_usize..200, 1..8),
    ) {
        let whole = oracle(&key, &iv, &text);
        prop_assert_eq!(&sealed(&key, &iv, &text, &pieces), &whole);
        prop_assert_eq!(opened(&link(&iv, key), &whole, &pieces), Ok(text.clone()));
        // Vectors of older clients.
        let whole = oracle(&key, &old, &text);
        prop_assert_eq!(opened(&link(&old, key), &whole, &pieces), Ok(text));
    }

    #[test]
    fn what_was_changed_anywhere_is_refused(text in vec(any::<u8>(), 0..200), at: prop::sample::Index, with in 1_u8..) {
        let mut whole = sealed(&[1; 32], &[2; 12], &text, &[64]);
        let at = at.index(whole.len());
        whole[at] ^= with;
        prop_assert_eq!(opened(&link(&[2; 12], [1; 32]), &whole, &[33]), Err(Forged));
    }
}
