use super::*;
use std::collections::BTreeSet;

#[test]
fn grants_name_their_component_once() {
    let text = for_component("name = 'x'\ncomponent = \"sha256:00\"\n[procedure.p]\nsummary = 's'\n", b"c");
    let digest = Digest::of(b"c");
    assert_eq!(text, format!("component = \"{digest}\"\nname = 'x'\n[procedure.p]\nsummary = 's'\n"));
}

#[test]
fn what_belongs_to_a_policy_is_exchanged_and_removed() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().canonicalize().unwrap().join("policies");
    let name: Name = "mine".parse().unwrap();
    let provenance = Provenance { publisher: None, added: Timestamp::UNIX_EPOCH, source: None, artifact: None };
    let signed = SignedManifest { manifest: "m".to_owned(), signature: "s".to_owned() };
    let text = |component: &[u8]| {
        format!("component = \"{}\"\nname = 'mine'\n[procedure.p]\nsummary = 's'\n", Digest::of(component))
    };
    let store = |component: &[u8]| {
        store(&directory, (&name, &text(component)), component, Some(&signed), &provenance).unwrap();
    };
    let names = || -> BTreeSet<String> {
        fs::read_dir(&directory).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect()
    };
    let of = |components: &[&[u8]]| -> BTreeSet<String> {
        let each = components.iter().flat_map(|component| {
            let digits = digits(&Digest::of(component));
            ["grants", "manifest", "origin", "signature", "wasm"].map(|ending| format!("mine-{digits}.{ending}"))
        });
        each.chain(["mine.toml".to_owned()]).collect()
    };
    let now = || fs::read_to_string(directory.join("mine.toml")).unwrap();
    let roll_back = || {
        let text = fs::read_to_string(before(&directory, &name).unwrap()).unwrap();
        roll_back(&directory, &name, &text).unwrap();
    };
    let narrowed = text(b"three").replace("'s'", "'Less'");
    store(b"one");
    assert_eq!(names(), of(&[b"one"]));
    assert!(before(&directory, &name).is_err());
    store(b"two");
    store(b"three");
    // The last two versions stay, and the text that granted to the first.
    let mut left = of(&[b"two", b"three"]);
    left.insert(format!("mine-{}.grants", digits(&Digest::of(b"one"))));
    assert_eq!((names(), now()), (left, text(b"three")));
    let file = directory.join("mine.toml");
    assert_eq!(super::provenance(&file, &Digest::of(b"two")), Some(provenance.clone()));
    assert_eq!(super::provenance(&file, &Digest::of(b"one")), None);
    assert_eq!(super::signed(&file, &Digest::of(b"two")).unwrap(), Some(signed.clone()));
    assert_eq!(super::signed(&file, &Digest::of(b"one")).unwrap(), None);
    roll_back();
    assert_eq!(now(), text(b"two"));
    roll_back();
    assert_eq!(now(), text(b"three"));
    // A change of the grants alone keeps the version before.
    super::store(&directory, (&name, &narrowed), b"three", Some(&signed), &provenance).unwrap();
    assert_eq!(now(), narrowed);
    // Earlier accepted texts stay known, and so does what an administrator wrote into the policy file.
    let known = |text: &str| earlier(&file, &name).iter().any(|(of, _)| *of == Digest::of(text.as_bytes()));
    let by_hand = narrowed.replace("'Less'", "'Least'");
    fs::write(&file, &by_hand).unwrap();
    roll_back();
    assert_eq!(now(), text(b"two"));
    roll_back();
    assert_eq!(now(), by_hand);
    for text in [&text(b"one"), &text(b"two"), &text(b"three"), &narrowed, &by_hand] {
        assert!(known(text), "{text}");
    }
    // Files of another policy, and a file that is not a component.
    let others = ["mine-2.toml", "mine-2.wasm", "mine-0123456789abcdef-2.wasm", "mine.txt"];
    others.iter().for_each(|other| fs::write(directory.join(other), "x").unwrap());
    fs::write(directory.join("mine.wasm"), "x").unwrap();
    remove(&directory, &name).unwrap();
    assert_eq!(names(), others.iter().map(|other| (*other).to_owned()).collect());
}

/// `store` was interrupted before it tidied up.
#[test]
fn of_several_versions_the_newest_is_the_one_before() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().canonicalize().unwrap().join("policies");
    let name: Name = "mine".parse().unwrap();
    let text = |component: &[u8]| {
        format!("component = \"{}\"\nname = 'mine'\n[procedure.p]\nsummary = 's'\n", Digest::of(component))
    };
    let add = |component: &[u8], second: i64| {
        let added = Timestamp::from_second(second).unwrap();
        let provenance = Provenance { publisher: None, added, source: None, artifact: None };
        store(&directory, (&name, &text(component)), component, None, &provenance).unwrap();
    };
    let of_one = |ending| named(&directory.join("mine.toml"), &Digest::of(b"one"), ending);
    // In the order of their digests, the first version comes last.
    assert!(digits(&Digest::of(b"one")) > digits(&Digest::of(b"two")));
    add(b"one", 1);
    let left = ["wasm", "origin"].map(|ending| (of_one(ending), fs::read(of_one(ending)).unwrap()));
    add(b"two", 2);
    add(b"three", 3);
    left.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    assert_eq!(fs::read_to_string(before(&directory, &name).unwrap()).unwrap(), text(b"two"));
}
