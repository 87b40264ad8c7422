//! On the code of real builds.

use super::*;

/// Code and its address, in hexadecimal digits.
type Part = (u64, &'static str);

/// PyContext_CopyCurrent of CPython 3.11.7, built by GCC 12 as a library without link-time optimisation.
const COPY_3_11: &[Part] = &[(
    0x26adf0,
    "415455488b2d368f1d0053488b9d40020000488b83e00000004885c00f84ce0000004c8b6018488b8540020000488b40\
         108b90d01b000085d20f8581000000488b3dc28c1d00e8c5c8e8ff4889c34885c00f84b900000048c743100000000048\
         8d4bf0c743280000000048c743200000000049830424014c896318488b8540020000488b4010488b90e8020000488b43\
         f8488b720883e00366480f6ec24809f048890e66480f6ec8660f6cc10f1143f048894a084889d85b5d415cc30f1f4000\
         488b98c81b000083ea018990d01b0000488b53204889df488990c81b000048c7432000000000e8c5e7e8ffe967ffffff\
         e8fbf8ffff4885c07416488983e0000000e91cffffff662e0f1f84000000000031dbeba0",
)];

/// That of CPython 3.12.1.
const COPY_3_12: &[Part] = &[(
    0x29d620,
    "4154555366488d3dc4682a00666648e8acafe6ff4c8b204889c3498b8424d00000004885c00f84e5000000488b681849\
         8b4424108b90f02b040085d20f8596000000488b3d6f642a00e8e2b1e6ff4889c34885c00f84d60000008b450048c743\
         1000000000c743280000000048c743200000000083c001740389450048896b1866488d3d48682a00666648e830afe6ff\
         488d4bf0488b00488b4010488b90d0000000488b43f8488b720883e00366480f6ec24809f048890e66480f6ec8660f6c\
         c10f1143f048894a084889d85b5d415cc30f1f8000000000488b98e82b040083ea018990f02b0400488b53204889df48\
         8990e82b040048c7432000000000e87dd1e6ffe952ffffff0f1f840000000000e84bedffff4885c0741649898424d000\
         00004c8b23e901ffffff660f1f44000031dbeb95",
)];

/// That of CPython 3.13.0.
const COPY_3_13: &[Part] = &[(
    0x24dfe0,
    "4154555366488d3dd4ce2900666648e83ca3e3ff4c8b204889c3498b8424d00000004885c00f84dd000000488b681849\
         8b4424108b907033000085d20f8ea6000000488b986833000083ea01899070330000488b53204889df48899068330000\
         48c7432000000000e8a3c3e3ff8b450048c7431000000000c743280000000048c743200000000083c001740389450048\
         896b1866488d3d45ce2900666648e8ada2e3ff488d4bf0488b00488b4010488b90481d0000488b43f8488b720883e003\
         66480f6ec24809f048890e66480f6ec8660f6cc10f1143f048894a084889d85b5d415cc30f1f4000488b3df9c92900e8\
         dca4e3ff4889c34885c00f856dffffff31dbebd80f1f4000e863edffff4885c074ee49898424d00000004c8b23e909ff\
         ffff",
)];

/// That of Debian 12's python3.11, optimised as a whole: it ends in a jump to a function of its own, and has a part elsewhere.
const COPY_DEBIAN: &[Part] = &[
    (0x6936f0, "56e81a0000004885c00f84296ce0ff488b781859e937020000"),
    (0x693940, "554889fd5351e855feffff4889c34885c0741148834500014889c748896818e87c7fe6ff4889d85a5b5dc3"),
    (0x49a328, "31c05ac3"),
];

/// PyContext_Enter of the same.
const ENTER_DEBIAN: &[Part] = &[(0x4f0c4b, "4889fe488b3d2bad5600e9f6501a00")];

/// That of CPython 3.12.1.
const ENTER_3_12: &[Part] = &[(
    0x29d760,
    "534889fb66488d3d84672a00666648e86caee6ff488b38488b055a632a0048394308753c8b532885d27552488b87d000\
         0000c7432801000000488943108b0383c00174028903488387d80000000148899fd000000089d05bc30f1f8000000000\
         488b05f9612a00488d354a2d1300488b38e83ad3e6ffbaffffffffebd8488b05cc642a004889d9488d15522d1300488b\
         3031c0e81899e6ffebdc",
)];

/// `node::HandleWrap::Ref` of the official Node 20.20 for Linux.
const REF: &[Part] = &[(
    0xc3baa0,
    "554889e5534883ec08488b7f08488b4ff8488b41ff0fb7400b89c22d210400003de903000076296681fa100474\
     224883ef08be01000000e8a4d32b004889c34885db7515488b5df8c9c3660f1f440000488b591f4885db74eb48\
     8b034889dfff504084c074de837b380274d8488b7b50488b5df8c9e9c6f5c600",
)];

fn bytes(part: &Part) -> (u64, Vec<u8>) {
    let digits: Vec<u32> = part.1.chars().filter_map(|c| c.to_digit(16)).collect();
    let byte = |pair: &[u32]| u8::try_from(pair.iter().fold(0, |byte, digit| byte << 4 | digit)).unwrap();
    (part.0, digits.chunks(2).map(byte).collect())
}

/// Bytes from an address on, where these parts have some.
fn at(parts: &[(u64, Vec<u8>)], address: u64, most: u64) -> Option<&[u8]> {
    parts.iter().find_map(|(start, bytes)| {
        let rest = bytes.get(usize::try_from(address.checked_sub(*start)?).ok()?..)?;
        let most = usize::try_from(most).ok()?.min(rest.len());
        rest.get(..most).filter(|some| !some.is_empty())
    })
}

fn results_of(parts: &[Part]) -> Option<Vec<(u64, Register)>> {
    let parts: Vec<_> = parts.iter().map(bytes).collect();
    let places = results(parts[0].0, |address, most| at(&parts, address, most))?;
    Some(places.iter().map(|p| (p.address, REGISTERS[usize::from(p.register)])).collect())
}

fn argument_of(parts: &[Part]) -> Option<(u64, Register)> {
    let parts: Vec<_> = parts.iter().map(bytes).collect();
    let place = argument(parts[0].0, |address, most| at(&parts, address, most))?;
    Some((place.address, REGISTERS[usize::from(place.register)]))
}

#[test]
fn a_new_object_is_found_where_a_breakpoint_is_cheap() {
    // At the branch on what the allocator gave, and at the jump back from the list of free ones.
    assert_eq!(results_of(COPY_3_11).unwrap(), [(0x26_ae41, Register::RBX), (0x26_aedb, Register::RBX)]);
    // At a branch that both ways pass by.
    assert_eq!(results_of(COPY_3_12).unwrap(), [(0x29_d697, Register::RBX)]);
    assert_eq!(results_of(COPY_3_13).unwrap(), [(0x24_e06a, Register::RBX)]);
}

#[test]
fn a_function_that_ends_in_another_is_followed() {
    assert_eq!(results_of(COPY_DEBIAN).unwrap(), [(0x69_3951, Register::RBX)]);
    // Without the part elsewhere, what it does is not known.
    assert_eq!(results_of(&COPY_DEBIAN[..2]), None);
}

#[test]
fn an_argument_is_taken_where_it_is_still_there() {
    assert_eq!(argument_of(ENTER_3_12).unwrap(), (0x29_d760, Register::RDI));
    assert_eq!(argument_of(ENTER_DEBIAN).unwrap(), (0x4f_0c55, Register::RSI));
}

#[test]
fn where_nothing_is_cheap_the_end_is_taken() {
    // call f; ret
    let short: &[Part] = &[(0x1000, "e8fb0f0000c3")];
    assert_eq!(results_of(short).unwrap(), [(0x1005, Register::RAX)]);
    // xor eax, eax; ret: nothing is ever returned.
    assert_eq!(results_of(&[(0x1000, "31c0c3")]), None);
    // mov rax, rdi; ret: it was there before.
    assert_eq!(argument_of(&[(0x1000, "4889f8c3")]).unwrap(), (0x1000, Register::RDI));
}

#[test]
fn a_value_that_differs_by_the_way_is_in_no_register() {
    // call f; mov rbx, rax; call f; test edi, edi; je 2f; mov rax, rbx; 2: ret
    let either: &[Part] = &[(0x1000, "e8fb0f00004889c3e8f30f000085ff74034889d8c3")];
    assert_eq!(results_of(either).unwrap(), [(0x1014, Register::RAX)]);
}

#[test]
fn what_is_not_understood_gives_none() {
    // jmp [rip]: a function elsewhere, as the linker calls them.
    assert_eq!(results_of(&[(0x1000, "ff2500000000")]), None);
    // It does not end.
    assert_eq!(results_of(&[(0x1000, "90")]), None);
    assert_eq!(results_of(&[(0x1000, "ebfe")]), None);
    assert_eq!(argument_of(&[(0x1000, "")]), None);
}

#[test]
fn never_panics_on_any_code() {
    for parts in [COPY_3_11, COPY_3_12, COPY_3_13, ENTER_3_12] {
        let whole: Vec<_> = parts.iter().map(bytes).collect();
        for changed in 0..whole[0].1.len() {
            let mut broken = whole.clone();
            broken[0].1[changed] ^= 0x5a;
            let _ = results(broken[0].0, |address, most| at(&broken, address, most));
            let _ = argument(broken[0].0, |address, most| at(&broken, address, most));
        }
    }
}

#[test]
fn a_jump_to_another_function_hands_on_its_argument() {
    let parts: Vec<_> = REF.iter().map(bytes).collect();
    let places = |target| handed_on(REF[0].0, target, |address, most| at(&parts, address, most));
    let [place] = places(0x18a_b0e0)[..] else { panic!("uv_ref is jumped to once") };
    assert_eq!((place.address, REGISTERS[usize::from(place.register)]), (0xc3_bb15, Register::RDI));
    // It is called, not jumped to; and nobody goes there, so that what is there must be known.
    assert_eq!(places(0xef_8e80), []);
    assert_eq!(places(0x18a_b110), []);
}
