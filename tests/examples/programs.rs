//! Programs of one's own.

use super::own_program;

#[test]
fn players_find_each_other_unless_a_symmetric_nat_meets_one_that_filters_by_port() {
    // What filters by address and port: from a symmetric NAT another port comes than the lobby saw.
    let filters = ["port-restricted-cone", "symmetric", "linux-masquerade"];
    for home in own_program::NATS {
        for office in own_program::NATS {
            let took = own_program::play_between(home, office).expect("it runs");
            let hopeless = |one: &str, other: &str| one == "symmetric" && filters.contains(&other);
            let expected = !hopeless(home, office) && !hopeless(office, home);
            assert_eq!(took.is_some(), expected, "{home} - {office}");
        }
    }
}
