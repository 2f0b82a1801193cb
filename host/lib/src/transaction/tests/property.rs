//! Any small tree, any changes: the result is exactly the old tree, or exactly the new one.

use super::*;
use proptest::{collection::btree_map, option, prelude::*, sample::select};

const NAMES: [&str; 6] = ["d/a", "d/b", "d/c.conf", "e/a", "e/b", "e/.hidden"];
const ORDERS: [Order; 6] = [
    Order::WriteKey,
    Order::WriteCertificate,
    Order::WriteOther,
    Order::RemoveOther,
    Order::RemoveCertificate,
    Order::RemoveKey,
];

type Contents = (Vec<u8>, u32);

fn contents() -> impl Strategy<Value = Contents> {
    (select(vec![b"".to_vec(), b"a".to_vec(), b"ab".to_vec(), b"xyz".to_vec()]), select(vec![0o600, 0o640, 0o644]))
}

fn trees() -> impl Strategy<Value = BTreeMap<&'static str, Contents>> {
    btree_map(select(NAMES.to_vec()), contents(), 0..6)
}

fn edits() -> impl Strategy<Value = BTreeMap<&'static str, (Option<Contents>, Order)>> {
    btree_map(select(NAMES.to_vec()), (option::weighted(0.7, contents()), select(ORDERS.to_vec())), 0..6)
}

fn prepare(
    machine: &Machine,
    tree: &BTreeMap<&'static str, Contents>,
    edits: &BTreeMap<&'static str, (Option<Contents>, Order)>,
) -> Vec<FileChange> {
    for (name, (contents, mode)) in tree {
        machine.put(name, contents, *mode);
    }
    edits
        .iter()
        .map(|(name, (after, order))| {
            machine.change(name, after.as_ref().map(|(contents, mode)| (contents.as_slice(), *mode)), *order)
        })
        .collect()
}

fn expected(tree: &Tree, edits: &BTreeMap<&'static str, (Option<Contents>, Order)>) -> BTreeMap<String, Contents> {
    let mut plain: BTreeMap<String, Contents> =
        tree.iter().map(|(name, file)| (name.clone(), (file.0.clone(), file.1 & 0o7777))).collect();
    for (name, (after, _)) in edits {
        match after {
            Some(after) => plain.insert((*name).to_owned(), after.clone()),
            None => plain.remove(*name),
        };
    }
    plain
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_old_or_exactly_new(
        tree in trees(), edits in edits(), stop in 1_usize..30, base in select(bases()), without_flags: bool,
    ) {
        pretend::set_without_flags(without_flags);
        let machine = Machine::new(&base);
        let changes = prepare(&machine, &tree, &edits);
        let old = machine.tree();
        let new = expected(&old, &edits);

        // Stopped anywhere and then rolled back, the run leaves the old tree; stopped after `keep`, the new one.
        let killed = kill_at(stop, || {
            let mut transaction = machine.begin(changes.clone()).unwrap();
            transaction.commit().unwrap();
            transaction.roll_back(|_, _| StillNamed::nothing()).unwrap();
        });
        machine.recover().unwrap();
        prop_assert_eq!(&machine.tree(), &old, "killed: {}", killed);

        let changes = prepare(&machine, &BTreeMap::new(), &edits);
        machine.apply(changes);
        prop_assert_eq!(expected(&machine.tree(), &BTreeMap::new()), new);
        machine.undo();
        prop_assert_eq!(&machine.tree(), &old);
        pretend::set_without_flags(false);
    }
}
